{{/* CEL expressions of the policies that warn about references that are not injected. */}}

{{/* selects EXPRESSIONS LABELS: a CEL expression, true if the labels match the matchExpressions of a label selector */}}
{{- define "akv2k8s.selects" -}}
{{- $labels := index . 1 -}}
{{- $all := list "true" -}}
{{- range default list (index . 0) -}}
{{- $key := .key | toJson -}}
{{- $has := printf "%s in %s" $key $labels -}}
{{- $in := printf "(%s && %s[%s] in %s)" $has $labels $key (default list .values | toJson) -}}
{{- $one := get (dict "In" $in "NotIn" (print "!" $in) "Exists" (printf "(%s)" $has) "DoesNotExist" (printf "!(%s)" $has)) (toString .operator) -}}
{{- $all = append $all (default "true" $one) -}}
{{- end -}}
{{- join " && " $all -}}
{{- end -}}

{{/* references.variables: CEL variables. excluded is the reason why pods of the namespace are not injected, or empty if they are. It matches the webhook's namespaceSelector. */}}
{{- define "akv2k8s.references.variables" -}}
{{- $label := .Values.env_injector.namespaceLabelSelector.label -}}
{{- $fixed := list (dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" (list "kube-system")) (dict "key" "control-plane" "operator" "NotIn" "values" (list "true")) (dict "key" "kubernetes.azure.com/managedby" "operator" "NotIn" "values" (list "aks")) -}}
- name: namespaceLabels
  expression: namespaceObject.metadata.?labels.orValue({})
- name: label
  expression: variables.namespaceLabels[?{{ $label.name | toJson }}].orValue("")
# Several installations in a cluster use different values of the label. A namespace whose value is neither this installation's nor a misspelling of it belongs
# to another installation, which warns there. A warning of this one would advise to relabel the namespace.
- name: otherInstallation
  expression: >-
    !(variables.label in ["", {{ toString $label.value | toJson }}]) && variables.label.lowerAscii() != {{ toString $label.value | lower | toJson }}
    {{- if eq (toString $label.value) "enabled" }} &&
    !(variables.label.lowerAscii() in ["enable", "true", "yes", "on", "1"])
    {{- end }}
- name: excluded
  expression: >-
    {{ if not .Values.watchAllNamespaces -}}
    request.namespace != {{ .Release.Namespace | toJson }}
    ? "this installation of akv2k8s injects only in namespace {{ .Release.Namespace }} (value watchAllNamespaces)" :
    {{ end -}}
    !({{ include "akv2k8s.selects" (list $fixed "variables.namespaceLabels") }})
    ? "pods in system namespaces are not injected" :
    variables.label != {{ toString $label.value | toJson }}
    ? "namespace " + request.namespace + " does not have the label; run kubectl label namespace " + request.namespace + " {{ $label.name }}={{ $label.value }} --overwrite, then recreate the pods" :
    !({{ include "akv2k8s.selects" (list .Values.env_injector.namespaceSelector.matchExpressions "variables.namespaceLabels") }})
    ? "the labels of namespace " + request.namespace + " do not match the value env_injector.namespaceSelector" : ""
{{- end -}}

{{/* reference TEXT: a CEL expression, true if a value ends in the marker of a reference, with or without blanks and quotes, or has a query after it */}}
{{- define "akv2k8s.reference" -}}
{{ . }}.contains("@azurekeyvault") && {{ . }}.matches("@azurekeyvault([?]|[\\s\"']*$)")
{{- end -}}
