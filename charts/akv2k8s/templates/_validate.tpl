{{/* Rules across fields. Each message says what to set. */}}
{{- define "akv2k8s.validate" -}}
{{- $cloud := .Values.global.customCloud -}}
{{- if ne (empty $cloud.authority) (empty $cloud.vaultDNSSuffix) -}}
{{- fail "global.customCloud is half set: set both authority and vaultDNSSuffix, or neither" -}}
{{- end -}}
{{- $seen := dict -}}
{{- range .Values.identity.serviceAccounts -}}
{{- if or (empty .namespace) (and (empty .names) (empty .default)) -}}
{{- fail "identity.serviceAccounts is half set: each item needs namespace and names (or default), for example {namespace: team, names: [reader]}" -}}
{{- end -}}
{{- if hasKey $seen .namespace -}}
{{- fail (printf "identity.serviceAccounts names namespace %s twice; put its ServiceAccounts into one list" .namespace) -}}
{{- end -}}
{{- $_ := set $seen .namespace true -}}
{{- end -}}
{{- end -}}
