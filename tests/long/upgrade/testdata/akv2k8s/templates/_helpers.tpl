{{- define "labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}
{{- define "selector" -}}
app.kubernetes.io/name: akv2k8s
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: akv2k8s-{{ index . 1 }}
{{- end -}}
