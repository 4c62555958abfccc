{{/* Names, labels, images, and settings that a component can override. */}}

{{- define "akv2k8s.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- /* Names of Services begin with a letter and contain no dots. Releases with other names could not be installed with 1.8, so no existing object is renamed. */ -}}
{{- $full = default $full .Values.fullnameOverride | toString | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $full -}}{{- $full = printf "akv-%s" $full -}}{{- end -}}
{{- regexReplaceAll "-+$" (trunc 51 $full) "" -}}
{{- end -}}

{{/* fit NAME LENGTH: the name, truncated to the length; a hash keeps names with the same prefix distinct */}}
{{- define "akv2k8s.fit" -}}
{{- $name := index . 0 -}}{{- $length := index . 1 -}}
{{- if gt (len $name) $length -}}
{{- printf "%s-%s" (regexReplaceAll "[-._]+$" (trunc (sub $length 9 | int) $name) "") (sha256sum $name | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* labelValue TEXT: the text, truncated to a valid label value */}}
{{- define "akv2k8s.labelValue" -}}
{{- regexReplaceAll "[-._]+$" (. | toString | replace "+" "_" | trunc 63) "" -}}
{{- end -}}

{{/* versioned ROOT NAME: the name of a Job that runs once for each version of the chart. Its pods have the name as a label, so it has at most 63 characters. */}}
{{- define "akv2k8s.versioned" -}}
{{- $version := (index . 0).Chart.Version | replace "+" "-" | replace "." "-" | lower -}}
{{- include "akv2k8s.fit" (list (printf "%s-%s" (index . 1) $version) 63) -}}
{{- end -}}

{{- define "akv2k8s.controller.name" -}}{{ include "akv2k8s.fullname" . }}-controller{{- end -}}
{{- define "akv2k8s.injector.name" -}}{{ include "akv2k8s.fullname" . }}-envinjector{{- end -}}

{{/* serviceAccount ACCOUNT DEFAULT: the name of the ServiceAccount. As in 1.8, it is "default" if none is created or named. */}}
{{- define "akv2k8s.serviceAccount" -}}
{{- $account := index . 0 -}}
{{- default (ternary (index . 1) "default" $account.create) $account.name -}}
{{- end -}}
{{- define "akv2k8s.controller.serviceAccount" -}}
{{- include "akv2k8s.serviceAccount" (list .Values.controller.serviceAccount (include "akv2k8s.controller.name" .)) -}}
{{- end -}}
{{- define "akv2k8s.injector.serviceAccount" -}}
{{- include "akv2k8s.serviceAccount" (list .Values.env_injector.serviceAccount (include "akv2k8s.injector.name" .)) -}}
{{- end -}}

{{/* Selectors of Deployments are immutable, so they are the same as in 1.8; helm upgrade then updates the Deployments of 1.8. */}}
{{- define "akv2k8s.selector" -}}
app.kubernetes.io/name: {{ include "akv2k8s.labelValue" (default (default .Chart.Name .Values.name) .Values.nameOverride) | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}
{{- define "akv2k8s.controller.selector" -}}
{{ include "akv2k8s.selector" . }}
app.kubernetes.io/component: {{ include "akv2k8s.fullname" . }}-controller
{{- end -}}
{{- define "akv2k8s.injector.selector" -}}
{{ include "akv2k8s.selector" . }}
app.kubernetes.io/component: {{ include "akv2k8s.fullname" . }}-webhook
{{- end -}}

{{/* commonLabels: the labels of every object without those of selectors, which users' labels cannot override */}}
{{- define "akv2k8s.commonLabels" -}}
helm.sh/chart: {{ include "akv2k8s.labelValue" (printf "%s-%s" .Chart.Name .Chart.Version) | quote }}
app.kubernetes.io/version: {{ include "akv2k8s.labelValue" .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: akv2k8s
{{- range $name, $value := .Values.commonLabels }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}
{{- define "akv2k8s.labels" -}}
{{ include "akv2k8s.selector" . }}
{{ include "akv2k8s.commonLabels" . }}
{{- end -}}
{{- define "akv2k8s.controller.labels" -}}
{{ include "akv2k8s.controller.selector" . }}
{{ include "akv2k8s.commonLabels" . }}
{{- end -}}
{{- define "akv2k8s.injector.labels" -}}
{{ include "akv2k8s.injector.selector" . }}
{{ include "akv2k8s.commonLabels" . }}
{{- end -}}

{{/* image ROOT IMAGE: the image's name. A registry that is set replaces the host in the repository. A tag or digest that is set is used unchanged. */}}
{{- define "akv2k8s.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- $repository := $image.repository -}}
{{- with default $root.Values.global.imageRegistry $image.registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "") -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- $own := printf "%s%s" $root.Chart.AppVersion (ternary "-fips" "" (eq (toString $root.Values.global.fips) "true")) -}}
{{- printf "%s:%s" $repository (default $own $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* nameOf ITEM: the name of an item of a list whose items are names, or objects with a name */}}
{{- define "akv2k8s.nameOf" -}}
{{- if kindIs "map" . }}{{ .name }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{/* setting ROOT COMPONENT NAME: the component's value if it is set, otherwise the global one */}}
{{- define "akv2k8s.setting" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $name := index . 2 -}}
{{- default (index $root.Values.global $name) (index $component $name) -}}
{{- end -}}

{{/* flag COMPONENT'S GLOBAL: "true" or "false"; a component's false overrides a global true */}}
{{- define "akv2k8s.flag" -}}
{{- if kindIs "bool" (index . 0) -}}{{ index . 0 }}{{- else -}}{{ index . 1 }}{{- end -}}
{{- end -}}
{{- define "akv2k8s.metrics" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}
{{- include "akv2k8s.flag" (list $component.metrics.enabled $root.Values.global.metrics.enabled) -}}
{{- end -}}
{{/* monitored ROOT COMPONENT KIND: "true" if the component has a monitor of the kind, serviceMonitor or podMonitor */}}
{{- define "akv2k8s.monitored" -}}
{{- $own := index (index . 1).metrics (index . 2) -}}{{- $global := index (index . 0).Values.global.metrics (index . 2) -}}
{{- and (index . 1).enabled (eq (include "akv2k8s.flag" (list $own.enabled $global.enabled)) "true") -}}
{{- end -}}

{{/* endpoint ROOT COMPONENT KIND: the endpoint of a monitor, with its scrape interval */}}
{{- define "akv2k8s.endpoint" -}}
{{- $own := index (index . 1).metrics (index . 2) -}}{{- $global := index (index . 0).Values.global.metrics (index . 2) -}}
{{- /* honorLabels keeps the label namespace of the metrics, which is the resource's and not the pod's. */ -}}
{{- $base := dict "port" "http" "path" "/metrics" "honorLabels" true -}}
{{- with default $global.interval $own.interval }}{{ $_ := set $base "interval" . }}{{ end -}}
{{- include "akv2k8s.over" (list (toYaml $base) (default $global.endpoint $own.endpoint)) -}}
{{- end -}}

{{/* monitorLabels ROOT COMPONENT KIND */}}
{{- define "akv2k8s.monitorLabels" -}}
{{- $own := index (index . 1).metrics (index . 2) -}}{{- $global := index (index . 0).Values.global.metrics (index . 2) -}}
{{- default $global.additionalLabels $own.additionalLabels | default dict | toYaml -}}
{{- end -}}

{{/* rbac ROOT COMPONENT: "true" if the component is installed and gets roles */}}
{{- define "akv2k8s.rbac" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}
{{- and $component.enabled (eq (include "akv2k8s.flag" (list $component.rbac.create $root.Values.global.rbac.create)) "true") -}}
{{- end -}}

{{/* identities: "true" if ServiceAccounts of tenants may be used */}}
{{- define "akv2k8s.identities" -}}
{{- or .Values.identity.allNamespaces (not (empty .Values.identity.serviceAccounts)) -}}
{{- end -}}

{{/* accounts: the ServiceAccounts of the components that read vaults and get roles, as subjects of a binding */}}
{{- define "akv2k8s.accounts" -}}
{{- if eq (include "akv2k8s.rbac" (list . .Values.controller)) "true" }}
- kind: ServiceAccount
  name: {{ include "akv2k8s.controller.serviceAccount" . }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}
{{- /* Without the auth service the env-injector reads no vaults. */ -}}
{{- if and (eq (include "akv2k8s.rbac" (list . .Values.env_injector)) "true") .Values.env_injector.authService }}
- kind: ServiceAccount
  name: {{ include "akv2k8s.injector.serviceAccount" . }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}
{{- end -}}

{{/* The Job that updates the CustomResourceDefinition, and its ServiceAccount and roles. */}}
{{- define "akv2k8s.crds.name" -}}{{ include "akv2k8s.fullname" . }}-crds{{- end -}}
{{- define "akv2k8s.crds.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: "-5"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end -}}

{{/* The Job that takes over the CA and Secrets of a release of akv2k8s 1.8: "true" if it is rendered. */}}
{{- define "akv2k8s.inherit" -}}
{{- and .Values.env_injector.enabled .Values.env_injector.inherit.enabled .Values.global.rbac.create -}}
{{- end -}}
{{- define "akv2k8s.inherit.name" -}}{{ include "akv2k8s.fit" (list (printf "%s-inherit" (include "akv2k8s.injector.name" .)) 63) }}{{- end -}}
{{- define "akv2k8s.inherit.hook" -}}
helm.sh/hook: pre-upgrade
helm.sh/hook-weight: "-5"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end -}}

{{/* The Secret with the webhook's certificate, empty if the env-injector's own CA signs it. */}}
{{- define "akv2k8s.injector.certificate" -}}
{{- if .Values.env_injector.certificate.custom.enabled -}}{{ include "akv2k8s.injector.name" . }}-tls
{{- else if .Values.env_injector.certificate.useCertManager -}}{{ include "akv2k8s.injector.name" . }}-tls-cm
{{- end -}}
{{- end -}}

{{/* limits: the flags for limits on vault calls, the number of processes that share them, and fallbacks */}}
{{- define "akv2k8s.limits" -}}
{{- $readers := ternary 1 0 .Values.controller.enabled -}}
{{- if and .Values.env_injector.enabled .Values.env_injector.authService -}}
{{- $readers = add $readers .Values.env_injector.replicaCount -}}
{{- end -}}
- --vault-limit={{ .Values.vaultLimits.perVault | int }}
- --subscription-limit={{ .Values.vaultLimits.perSubscription | int }}
- --readers={{ max $readers 1 }}
{{- range $name, $vault := .Values.vaults }}
{{- with $vault.fallback }}
- --vault-fallback={{ $name }}={{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* docs ROOT PAGE: the URL of a page of the documentation for the installed version */}}
{{- define "akv2k8s.docs" -}}
{{ first (index . 0).Chart.Sources }}/blob/v{{ (index . 0).Chart.AppVersion | replace "+" "%2B" }}/docs/{{ index . 1 }}
{{- end -}}
