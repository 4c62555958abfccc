{{/* Rules across fields. Each message says what to set. */}}
{{- define "akv2k8s.validate" -}}
{{- $cloud := .Values.global.customCloud -}}
{{- if ne (empty $cloud.authority) (empty $cloud.vaultDNSSuffix) -}}
{{- fail "global.customCloud is half set: set both authority and vaultDNSSuffix, or neither" -}}
{{- end -}}
{{- end -}}
