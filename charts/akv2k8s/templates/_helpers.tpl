{{- define "akv2k8s.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "akv2k8s.controller.name" -}}{{ include "akv2k8s.fullname" . }}-controller{{- end -}}
{{- define "akv2k8s.injector.name" -}}{{ include "akv2k8s.fullname" . }}-envinjector{{- end -}}

{{- define "akv2k8s.controller.serviceAccount" -}}
{{- default (include "akv2k8s.controller.name" .) .Values.controller.serviceAccount.name -}}
{{- end -}}
{{- define "akv2k8s.injector.serviceAccount" -}}
{{- default (include "akv2k8s.injector.name" .) .Values.env_injector.serviceAccount.name -}}
{{- end -}}

{{/* The selectors are immutable and the predecessor's, so that helm upgrade finds its Deployments. */}}
{{- define "akv2k8s.controller.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ include "akv2k8s.fullname" . }}-controller
{{- end -}}
{{- define "akv2k8s.injector.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ include "akv2k8s.fullname" . }}-webhook
{{- end -}}

{{- define "akv2k8s.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: akv2k8s
{{- end -}}

{{/* image ROOT IMAGE */}}
{{- define "akv2k8s.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}

{{/* setting ROOT COMPONENT NAME: the component's value if it is set, else the global one */}}
{{- define "akv2k8s.setting" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $name := index . 2 -}}
{{- default (index $root.Values.global $name) (index $component $name) -}}
{{- end -}}

{{/* metrics ROOT COMPONENT: "true" or "false"; a component's false overrides a global true */}}
{{- define "akv2k8s.metrics" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}
{{- if kindIs "bool" $component.metrics.enabled -}}{{ $component.metrics.enabled }}{{- else -}}{{ $root.Values.global.metrics.enabled }}{{- end -}}
{{- end -}}

{{/* env ROOT COMPONENT: variables that users give, the component's before the global ones */}}
{{- define "akv2k8s.env" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}
{{- if $root.Values.global.customCloud.authority }}
- name: AZURE_ENVIRONMENT
  value: AzureStackCloud
- name: AZURE_ENVIRONMENT_FILEPATH
  value: /etc/akv2k8s/cloud/cloud.json
{{- end }}
{{- range $name, $value := merge (dict) $component.env $root.Values.global.env }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end -}}

{{- define "akv2k8s.envFrom" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}
{{- range concat $root.Values.global.envFromSecret $component.envFromSecret }}
- secretRef:
    name: {{ . }}
{{- end }}
{{- end -}}

{{/* podSecurity AUTH: restricted, but for the one credential that only root may read, the node's azure.json */}}
{{- define "akv2k8s.podSecurity" -}}
{{- if eq . "azureCloudConfig" -}}
runAsUser: 0
runAsNonRoot: false
{{- else -}}
runAsUser: 65532
runAsGroup: 65532
runAsNonRoot: true
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "akv2k8s.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* volumes and mounts of a component: ROOT AUTH COMPONENT */}}
{{- define "akv2k8s.volumes" -}}
{{- $root := index . 0 -}}{{- $auth := index . 1 -}}
{{- if eq $auth "azureCloudConfig" }}
- name: azure-config
  hostPath:
    path: {{ $root.Values.cloudConfig }}
    type: File
{{- end }}
{{- if $root.Values.global.extraCACertificates }}
- name: extra-ca
  configMap:
    name: {{ include "akv2k8s.fullname" $root }}-extra-ca
{{- end }}
{{- if $root.Values.global.customCloud.authority }}
- name: cloud
  configMap:
    name: {{ include "akv2k8s.fullname" $root }}-cloud
{{- end }}
{{- with (index . 2).extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- define "akv2k8s.mounts" -}}
{{- $root := index . 0 -}}{{- $auth := index . 1 -}}
{{- if eq $auth "azureCloudConfig" }}
- name: azure-config
  mountPath: /etc/akv2k8s/azure.json
  readOnly: true
{{- end }}
{{- if $root.Values.global.extraCACertificates }}
- name: extra-ca
  mountPath: /etc/akv2k8s/extra-ca
  readOnly: true
{{- end }}
{{- if $root.Values.global.customCloud.authority }}
- name: cloud
  mountPath: /etc/akv2k8s/cloud
  readOnly: true
{{- end }}
{{- with (index . 2).extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* identities: "true" if ServiceAccounts of tenants may be used */}}
{{- define "akv2k8s.identities" -}}
{{- or .Values.identity.allNamespaces (not (empty .Values.identity.serviceAccounts)) -}}
{{- end -}}

{{/* accounts: the ServiceAccounts of our own components, as subjects of a binding */}}
{{- define "akv2k8s.accounts" -}}
{{- if .Values.controller.enabled }}
- kind: ServiceAccount
  name: {{ include "akv2k8s.controller.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
{{- if .Values.env_injector.enabled }}
- kind: ServiceAccount
  name: {{ include "akv2k8s.injector.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
{{- end -}}
