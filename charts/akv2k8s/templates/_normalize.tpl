{{/* normalize: changes .Values in place to the form that the templates use. It runs before every other template. */}}
{{- define "akv2k8s.normalize" -}}
{{- include "akv2k8s.normalize.shared" . -}}
{{- include "akv2k8s.normalize.choices" . -}}
{{- range $path := splitList "\n" (include "akv2k8s.texts" . | trim) -}}
{{- $map := fromJson (include "akv2k8s.at" (list $ $path)) -}}
{{- if $map.value -}}
{{- $texts := dict -}}
{{- range $key, $value := $map.value -}}
{{- $_ := set $texts $key (include "akv2k8s.text" $value) -}}
{{- end -}}
{{- include "akv2k8s.put" (list $ $path $texts) -}}
{{- end -}}
{{- end -}}
{{- range $path := splitList "\n" (include "akv2k8s.durations" . | trim) -}}
{{- $duration := toString (fromJson (include "akv2k8s.at" (list $ $path))).value -}}
{{- if regexMatch "^[0-9]+d" $duration -}}
{{- $days := regexFind "^[0-9]+" $duration -}}
{{- include "akv2k8s.put" (list $ $path (printf "%dh%s" (mul (int64 $days) 24) (trimPrefix (printf "%sd" $days) $duration))) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* at ROOT PATH: the value at a path, as JSON of an object with the key value */}}
{{- define "akv2k8s.at" -}}
{{- $value := (index . 0).Values -}}
{{- range $step := splitList "." (index . 1) -}}
{{- $value = get (ternary $value dict (kindIs "map" $value)) $step -}}
{{- end -}}
{{- dict "value" $value | toJson -}}
{{- end -}}

{{/* put ROOT PATH VALUE: changes the value at a path that exists */}}
{{- define "akv2k8s.put" -}}
{{- $steps := splitList "." (index . 1) -}}
{{- $map := (index . 0).Values -}}
{{- range $step := initial $steps -}}
{{- $map = get $map $step -}}
{{- end -}}
{{- $_ := set $map (last $steps) (index . 2) -}}
{{- end -}}

{{/* similar WORD WORDS: ", did you mean X?" for the first X of WORDS with the same letters or the same prefix, otherwise empty */}}
{{- define "akv2k8s.similar" -}}
{{- $word := index . 0 -}}{{- $letters := splitList "" (lower $word) | sortAlpha | join "" -}}
{{- $found := "" -}}
{{- range $candidate := index . 1 -}}
{{- if and (not $found) (eq $letters (splitList "" (lower $candidate) | sortAlpha | join "")) -}}{{- $found = $candidate -}}{{- end -}}
{{- end -}}
{{- range $candidate := index . 1 -}}
{{- if and (not $found) (gt (len $word) 3) (or (hasPrefix (lower (trunc 4 $word)) (lower $candidate)) (contains (lower $word) (lower $candidate))) -}}{{- $found = $candidate -}}{{- end -}}
{{- end -}}
{{- with $found -}}, did you mean {{ . }}?{{- end -}}
{{- end -}}

{{/* Helm shares global among the charts of one parent chart, so unknown keys can belong to another chart there: NOTES lists those that are similar to a key of this chart. Without a parent they are misspelt. */}}
{{- define "akv2k8s.normalize.shared" -}}
{{- $similar := list -}}
{{- range $line := splitList "\n" (include "akv2k8s.sharedKeys" . | trim) -}}
{{- $known := splitList " " $line -}}
{{- $path := first $known -}}
{{- $value := (fromJson (include "akv2k8s.at" (list $ $path))).value -}}
{{- range $key, $_ := ternary $value dict (kindIs "map" $value) -}}
{{- if has $key (rest $known) -}}
{{- else if not $.Chart.IsRoot -}}
{{- with include "akv2k8s.similar" (list $key (rest $known)) -}}
{{- $similar = append $similar (printf "%s.%s%s" $path $key .) -}}
{{- end -}}
{{- else -}}
{{- fail (printf "%s.%s is not a value of this chart%s Remove it, or correct its spelling; %s lists all values" $path $key (include "akv2k8s.similar" (list $key (rest $known)) | default ".") (include "akv2k8s.docs" (list $ "reference/values.md"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $_ := set $.Values "similarGlobals" $similar -}}
{{- end -}}

{{/* Unknown choices in global: an error without a parent chart. Below a parent they can be meant for another chart; they get the default, and NOTES lists them. */}}
{{- define "akv2k8s.normalize.choices" -}}
{{- $ignored := list -}}
{{- range $line := splitList "\n" (include "akv2k8s.choices" . | trim) -}}
{{- $words := splitList " " $line -}}
{{- $path := first $words -}}
{{- $value := (fromJson (include "akv2k8s.at" (list $ $path))).value -}}
{{- $word := "" -}}
{{- range $candidate := rest $words -}}
{{- if eq (lower $candidate) (lower (toString $value)) -}}{{- $word = $candidate -}}{{- end -}}
{{- end -}}
{{- if $word -}}
{{- include "akv2k8s.put" (list $ $path $word) -}}
{{- else if not (has (toString $value) (list "" "<nil>")) -}}
{{- if $.Chart.IsRoot -}}
{{- fail (printf "%s is %v, which is not a valid choice%s Use one of: %s" $path $value (include "akv2k8s.similar" (list (toString $value) (rest $words)) | default ".") (rest $words | join ", ")) -}}
{{- end -}}
{{- $ignored = append $ignored (printf "%s=%v" $path $value) -}}
{{- include "akv2k8s.put" (list $ $path (get (dict "global.logLevel" "info" "global.logFormat" "text" "global.keyVaultAuth" "azureCloudConfig") $path)) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $.Values "ignoredGlobals" $ignored -}}
{{- end -}}
