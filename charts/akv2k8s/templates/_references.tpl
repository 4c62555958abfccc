{{/* Expressions (CEL) of the policies that warn about references which nothing injects. */}}

{{/* selects EXPRESSIONS LABELS: whether labels meet the expressions of a label selector */}}
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

{{/* references.variables: why nothing is injected into pods of the namespace; empty if something is. The same as the webhook's namespaceSelector. */}}
{{- define "akv2k8s.references.variables" -}}
{{- $label := .Values.env_injector.namespaceLabelSelector.label -}}
{{- $fixed := list (dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" (list "kube-system")) (dict "key" "control-plane" "operator" "NotIn" "values" (list "true")) (dict "key" "kubernetes.azure.com/managedby" "operator" "NotIn" "values" (list "aks")) -}}
- name: namespaceLabels
  expression: namespaceObject.metadata.?labels.orValue({})
- name: label
  expression: variables.namespaceLabels[?{{ $label.name | toJson }}].orValue("")
# Installations share a cluster by giving the label different values. A namespace with a value that is not this installation's, nor a misspelling of it,
# belongs to another one. That one warns about what is wrong there; this one would tell its users to give the namespace away.
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
    ? "this installation of akv2k8s injects in namespace {{ .Release.Namespace }} alone (value watchAllNamespaces)" :
    {{ end -}}
    !({{ include "akv2k8s.selects" (list $fixed "variables.namespaceLabels") }})
    ? "nothing is injected in namespaces of the system" :
    variables.label != {{ toString $label.value | toJson }}
    ? "namespace " + request.namespace + " does not have the label; run kubectl label namespace " + request.namespace + " {{ $label.name }}={{ $label.value }} --overwrite, then recreate the pods" :
    !({{ include "akv2k8s.selects" (list .Values.env_injector.namespaceSelector.matchExpressions "variables.namespaceLabels") }})
    ? "the labels of namespace " + request.namespace + " do not match the value env_injector.namespaceSelector" : ""
{{- end -}}

{{/* reference TEXT: whether a value is meant as a reference, and one that the kubelet does not change before it is read */}}
{{- define "akv2k8s.reference" -}}
{{ . }}.contains("@azurekeyvault") && {{ . }}.matches("@azurekeyvault([?]|[\\s\"']*$)")
{{- end -}}
