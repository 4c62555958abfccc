{{/* Parts that the pods of both components share. */}}

{{/* credential NAME VALUE: "true" if a variable holds a credential, which readers of the Deployment must not see */}}
{{- define "akv2k8s.credential" -}}
{{- $name := upper (index . 0) -}}{{- $value := toString (index . 1) -}}
{{- $path := regexMatch "_(PATH|FILE|FILEPATH|DIR)$" $name -}}
{{- or (and (regexMatch "SECRET|PASSWORD|TOKEN|CREDENTIAL|_KEY$" $name) (not $path)) (regexMatch "://[^/@]*:[^/@]*@" $value) -}}
{{- end -}}

{{/* text VALUE: a scalar as it was written; numbers are printed without an exponent */}}
{{- define "akv2k8s.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else if not (kindIs "invalid" .) }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* credentials ENV: the data of the Secret for the variables that hold credentials */}}
{{- define "akv2k8s.credentials" -}}
{{- range $name, $value := . }}
{{- if eq (include "akv2k8s.credential" (list $name $value)) "true" }}
{{ $name }}: {{ include "akv2k8s.text" $value | b64enc | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* variable NAME VALUE SECRET */}}
{{- define "akv2k8s.variable" -}}
- name: {{ index . 0 }}
{{- if eq (include "akv2k8s.credential" .) "true" }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 2 }}
      key: {{ index . 0 }}
{{- else }}
  {{- /* The kubelet replaces two dollars by one, so doubled dollars arrive as they were written. */}}
  value: {{ include "akv2k8s.text" (index . 1) | replace "$" "$$" | quote }}
{{- end }}
{{- end -}}

{{/* env ROOT COMPONENT SECRET: variables from the values. The component's override the global ones. Credentials are references to the Secret. */}}
{{- define "akv2k8s.env" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $secret := index . 2 -}}
{{- with get (default dict $component.serviceAccount.annotations) "azure.workload.identity/client-id" }}
{{- if not (hasKey (default dict $component.podLabels) "azure.workload.identity/use") }}
# The pod gets no token of its ServiceAccount without the label; messages can say so.
- name: AKV2K8S_SERVICE_ACCOUNT_CLIENT_ID
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- with $root.Values.global.cloud }}
- name: AZURE_ENVIRONMENT
  value: {{ . }}
{{- end }}
{{- if $root.Values.global.customCloud.authority }}
- name: AZURE_ENVIRONMENT
  value: AzureStackCloud
- name: AZURE_ENVIRONMENT_FILEPATH
  value: /etc/akv2k8s/cloud/cloud.json
{{- end }}
{{- range $name, $value := $root.Values.global.env }}
{{- if not (hasKey (default dict $component.env) $name) }}
{{ include "akv2k8s.variable" (list $name $value (printf "%s-env" (include "akv2k8s.fullname" $root))) }}
{{- end }}
{{- end }}
{{- range $name, $value := $component.env }}
{{ include "akv2k8s.variable" (list $name $value $secret) }}
{{- end }}
{{- with $component.extraEnv }}
{{ tpl (toYaml .) $root }}
{{- end }}
{{- end -}}

{{/* extraArgs ROOT COMPONENT */}}
{{- define "akv2k8s.extraArgs" -}}
{{- with (index . 1).extraArgs }}{{ tpl (toYaml .) (index $ 0) }}{{ end -}}
{{- end -}}

{{/* envFrom ROOT COMPONENT */}}
{{- define "akv2k8s.envFrom" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}
{{- range concat (default list $root.Values.global.envFromSecret) (default list $component.envFromSecret) }}
- secretRef:
    name: {{ include "akv2k8s.nameOf" . }}
{{- end }}
{{- end -}}

{{/* podAnnotations ROOT COMPONENT CONTAINER: checksums of configuration, so that a change replaces the pods, and the users' annotations */}}
{{- define "akv2k8s.podAnnotations" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}
kubectl.kubernetes.io/default-container: {{ default (index . 2) $component.name }}
{{- if $root.Values.global.customCloud.authority }}
akv2k8s.io/cloud: {{ $root.Values.global.customCloud | toJson | sha256sum | trunc 16 | quote }}
{{- end }}
{{- if $root.Values.global.extraCACertificates }}
akv2k8s.io/extra-ca: {{ $root.Values.global.extraCACertificates | sha256sum | trunc 16 | quote }}
{{- end }}
{{- if $root.Values.global.userDefinedMSI.enabled }}
akv2k8s.io/azureconfig: {{ $root.Values.global.userDefinedMSI | toJson | sha256sum | trunc 16 | quote }}
{{- end }}
{{- if or (include "akv2k8s.credentials" $root.Values.global.env) (include "akv2k8s.credentials" $component.env) }}
# The programs read variables at start only. A hash would leak information about credentials, so each revision of the release replaces the pods.
akv2k8s.io/revision: {{ $root.Release.Revision | quote }}
{{- end }}
{{- with $component.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* hostFile ROOT AUTH: "true" if the pod reads the node's azure.json */}}
{{- define "akv2k8s.hostFile" -}}
{{- and (eq (index . 1) "azureCloudConfig") (not (index . 0).Values.global.userDefinedMSI.enabled) -}}
{{- end -}}

{{/* cloudConfig ROOT AUTH: the path of azure.json in the container */}}
{{- define "akv2k8s.cloudConfig" -}}
{{- ternary "/etc/akv2k8s/azure.json" "/etc/akv2k8s/azureconfig/azure.json" (eq (include "akv2k8s.hostFile" .) "true") -}}
{{- end -}}

{{/* over BASE FIELDS: the base with each field of FIELDS replaced; null removes a field */}}
{{- define "akv2k8s.over" -}}
{{- $base := fromYaml (index . 0) -}}
{{- range $field, $value := index . 1 }}
{{- if kindIs "invalid" $value }}{{ $_ := unset $base $field }}{{ else }}{{ $_ := set $base $field $value }}{{ end }}
{{- end }}
{{- toYaml $base -}}
{{- end -}}

{{/* podSecurity ROOT COMPONENT AUTH: a restricted security context, or root if the pod reads the node's azure.json, which only root can read */}}
{{- define "akv2k8s.podSecurity" -}}
{{- include "akv2k8s.over" (list (include "akv2k8s.podSecurityBase" .) (index . 1).podSecurityContext) -}}
{{- end -}}
{{- define "akv2k8s.podSecurityBase" -}}
{{- if eq (include "akv2k8s.hostFile" (list (index . 0) (index . 2))) "true" -}}
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
{{- include "akv2k8s.over" (list (include "akv2k8s.containerSecurityBase" .) .securityContext) -}}
{{- end -}}
{{- define "akv2k8s.containerSecurityBase" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* resources RESOURCES MEMORY: the resources if they are set, otherwise small requests and the memory limit. A pod without requests is the first that a busy node
evicts. There is no CPU limit, because it would slow down the start of every pod that waits for a value. */}}
{{- define "akv2k8s.resources" -}}
{{- toYaml (default (dict "requests" (dict "cpu" "50m" "memory" "32Mi") "limits" (dict "memory" (index . 1))) (index . 0)) }}
{{- end -}}

{{/* memoryLimit: the memory limit of the container. The program leaves a tenth of it to memory that Go does not count (src/telemetry). Without a limit it is the node's memory. */}}
{{- define "akv2k8s.memoryLimit" -}}
- name: MEMORY_LIMIT
  valueFrom:
    resourceFieldRef:
      resource: limits.memory
{{- end -}}

{{/* strategy COMPONENT: the Deployment's strategy; rollingUpdate is invalid with another type */}}
{{- define "akv2k8s.strategy" -}}
{{- if and .strategy.type (ne (toString .strategy.type) "RollingUpdate") }}
type: {{ .strategy.type }}
{{- else }}
{{ toYaml .strategy }}
{{- end }}
{{- end -}}

{{/* scheduling ROOT COMPONENT SELECTOR: fields of the pod that values set, node selection, and the spread of replicas */}}
{{- define "akv2k8s.scheduling" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $selector := index . 2 -}}
{{- range $field := list "priorityClassName" "terminationGracePeriodSeconds" "dnsPolicy" "dnsConfig" "affinity" }}
{{- with index $component $field }}
{{ dict $field . | toYaml }}
{{- end }}
{{- end }}
{{- /* The images are for Linux, and clusters can have Windows nodes. An empty value removes a label. */ -}}
{{- $nodes := dict "kubernetes.io/os" "linux" }}
{{- range list $root.Values.global.nodeSelector $component.nodeSelector }}
{{- range $label, $value := . }}
{{- if has (toString $value) (list "" "<nil>") }}{{ $_ := unset $nodes $label }}{{ else }}{{ $_ := set $nodes $label (toString $value) }}{{ end }}
{{- end }}
{{- end }}
{{- with $nodes }}
{{ dict "nodeSelector" . | toYaml }}
{{- end }}
{{- with concat (default list $root.Values.global.tolerations) (default list $component.tolerations) }}
{{ dict "tolerations" . | toYaml }}
{{- end }}
{{- if kindIs "bool" $component.hostUsers }}
hostUsers: {{ $component.hostUsers }}
{{- end }}
{{- $spread := list }}
{{- range $component.topologySpreadConstraints }}
{{- $ours := dict "labelSelector" (dict "matchLabels" (fromYaml $selector)) }}
{{- $spread = append $spread (ternary . (merge $ours .) (hasKey . "labelSelector")) }}
{{- end }}
{{- with $spread }}
{{ dict "topologySpreadConstraints" . | toYaml }}
{{- end }}
{{- end -}}

{{/* disruptions COMPONENT: the fields of a PodDisruptionBudget. By default one pod may be unavailable, so that a drain never waits for a single replica. */}}
{{- define "akv2k8s.disruptions" -}}
{{- $budget := .podDisruptionBudget -}}
{{- if not (has (toString $budget.minAvailable) (list "" "<nil>")) -}}
minAvailable: {{ $budget.minAvailable }}
{{- else if not (has (toString $budget.maxUnavailable) (list "" "<nil>")) -}}
maxUnavailable: {{ $budget.maxUnavailable }}
{{- else -}}
maxUnavailable: 1
{{- end }}
# A pod that is not ready serves nobody, and holds up no drain.
unhealthyPodEvictionPolicy: AlwaysAllow
{{- end -}}

{{/* pullSecrets ROOT COMPONENT */}}
{{- define "akv2k8s.pullSecrets" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}
{{- $names := list -}}
{{- range concat (default list $root.Values.global.imagePullSecrets) (default list $component.imagePullSecrets) (list $component.image.pullSecret | compact) }}
{{- $names = append $names (include "akv2k8s.nameOf" .) }}
{{- end }}
{{- range uniq $names }}
- name: {{ . }}
{{- end }}
{{- end -}}

{{/* podLabels SELECTOR ROOT COMPONENT */}}
{{- define "akv2k8s.podLabels" -}}
{{- $all := merge (dict) (fromYaml (index . 0)) (default dict (index . 2).podLabels) (default dict (index . 1).Values.commonLabels) -}}
{{- toYaml $all -}}
{{- end -}}

{{/* volumes and mounts of a component: ROOT AUTH COMPONENT */}}
{{- define "akv2k8s.volumes" -}}
{{- $root := index . 0 -}}{{- $auth := index . 1 -}}
{{- if eq (include "akv2k8s.hostFile" (list $root $auth)) "true" }}
- name: azure-config
  hostPath:
    path: {{ $root.Values.cloudConfig }}
    type: File
{{- else if eq $auth "azureCloudConfig" }}
- name: azure-config
  configMap:
    name: {{ include "akv2k8s.fullname" $root }}-azureconfig
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
{{ tpl (toYaml .) $root }}
{{- end }}
{{- end -}}
{{- define "akv2k8s.mounts" -}}
{{- $root := index . 0 -}}{{- $auth := index . 1 -}}
{{- if eq $auth "azureCloudConfig" }}
- name: azure-config
  mountPath: {{ ternary "/etc/akv2k8s/azure.json" "/etc/akv2k8s/azureconfig" (eq (include "akv2k8s.hostFile" (list $root $auth)) "true") }}
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
{{ tpl (toYaml .) $root }}
{{- end }}
{{- end -}}

{{/* egress VALUES: the egress rules of a component */}}
{{- define "akv2k8s.egress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
# The API server, Azure, and registries.
- ports:
    - {port: 443, protocol: TCP}
    - {port: 6443, protocol: TCP}
# The metadata service of the node.
- to:
    - ipBlock: {cidr: 169.254.169.254/32}
  ports:
    - {port: 80, protocol: TCP}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}
