{{/* Rules across values. Each message says what to set. */}}
{{- define "akv2k8s.validate" -}}
{{- include "akv2k8s.validate.maps" . -}}
{{- include "akv2k8s.validate.images" . -}}
{{- include "akv2k8s.validate.needed" . -}}
{{- include "akv2k8s.validate.credentials" . -}}
{{- include "akv2k8s.validate.identities" . -}}
{{- include "akv2k8s.validate.components" . -}}
{{- include "akv2k8s.validate.certificate" . -}}
{{- include "akv2k8s.validate.transition" . -}}
{{- include "akv2k8s.validate.idle" . -}}
{{- include "akv2k8s.validate.ports" . -}}
{{- end -}}

{{/* Replaces a map that a null removed by an empty one, so that no template fails on it. All templates share the values, and this one is rendered first. */}}
{{- define "akv2k8s.validate.maps" -}}
{{- range $path := splitList "\n" (include "akv2k8s.maps" . | trim) -}}
{{- $steps := splitList "." $path -}}
{{- $value := $.Values -}}
{{- range $step := initial $steps -}}
{{- $value = get $value $step -}}
{{- end -}}
{{- if or (not (hasKey $value (last $steps))) (kindIs "invalid" (get $value (last $steps))) -}}
{{- $_ := set $value (last $steps) dict -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The programs of akv2k8s 1.x do not support the flags and protocols of this chart. */}}
{{- define "akv2k8s.validate.images" -}}
{{- range $path := list "controller.image" "env_injector.image" "env_injector.envImage" -}}
{{- $component := index $.Values (first (splitList "." $path)) -}}
{{- $image := index $component (last (splitList "." $path)) | default dict -}}
{{- $tag := toString (default "" $image.tag) -}}
{{- /* The first version in a tag is that of the image; others, as in 1.8.4-alpine3.19, are of what it is built from. */ -}}
{{- $first := regexFind "(^|[^0-9.])v?[0-9]+\\.[0-9]" $tag -}}
{{- $newer := regexMatch "(^|[^0-9.])v?([2-9]|[1-9][0-9]+)\\.[0-9]" $first -}}
{{- $older := and (not $newer) (or (regexMatch "^v?1([.-]|$)" $tag) (regexMatch "(^|[^0-9.])v?1\\.[0-9]+(\\.[0-9]+)?($|[^0-9.])" $tag)) -}}
{{- $renamed := and (not $newer) (regexMatch "(^|/)(azure-keyvault-controller|azure-keyvault-webhook|azure-keyvault-env)$" (toString $image.repository)) -}}
{{- if and $component.enabled (or $older $renamed (regexMatch "(^|/)spvest/" (toString $image.repository))) -}}
{{- fail (printf "%s is %v:%v, an image of akv2k8s 1.x, which can't run under this chart: remove %s.repository and %s.tag from your values (helm upgrade --reset-then-reuse-values), or name a copy of this chart's image; see %s" $path $image.repository (default "" $image.tag) $path $path (include "akv2k8s.docs" (list $ "upgrading.md"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A null in a user's values removes a default, and helm upgrade --reuse-values omits the defaults of a newer chart. */}}
{{- define "akv2k8s.validate.needed" -}}
{{- range $path := splitList "\n" (include "akv2k8s.needed" . | trim) -}}
{{- $value := $.Values -}}
{{- range $step := splitList "." $path -}}
{{- $value = get (ternary $value dict (kindIs "map" $value)) $step -}}
{{- end -}}
{{- if has (toString $value) (list "" "<nil>") -}}
{{- fail (printf "%s is missing: give it a value, or remove its line for the default. If you used helm upgrade --reuse-values, which omits the defaults of a newer chart, use --reset-then-reuse-values" $path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Exactly one method to sign in, with all its fields. */}}
{{- define "akv2k8s.validate.credentials" -}}
{{- $cloud := .Values.global.customCloud | default dict -}}
{{- if ne (empty $cloud.authority) (empty $cloud.vaultDNSSuffix) -}}
{{- fail "global.customCloud is incomplete: set both authority and vaultDNSSuffix, or neither" -}}
{{- end -}}
{{- if and $cloud.authority .Values.global.cloud -}}
{{- fail (printf "global.cloud is %s, and global.customCloud is set too: set only one of them" .Values.global.cloud) -}}
{{- end -}}
{{- $msi := .Values.global.userDefinedMSI -}}
{{- if and $msi.enabled (or (empty $msi.msi) (empty $msi.tenantId)) -}}
{{- fail "global.userDefinedMSI is incomplete: set msi (client id or resource id of the identity) and tenantId, or enabled to false" -}}
{{- end -}}
{{- $used := false -}}
{{- range $component := list .Values.controller .Values.env_injector -}}
{{- $used = or $used (and $component.enabled (eq (include "akv2k8s.setting" (list $ $component "keyVaultAuth")) "azureCloudConfig")) -}}
{{- end -}}
{{- if and $msi.enabled (not $used) -}}
{{- fail (printf "global.userDefinedMSI.enabled is true, but global.keyVaultAuth is %s, which does not use it: set keyVaultAuth to azureCloudConfig, or userDefinedMSI.enabled to false" .Values.global.keyVaultAuth) -}}
{{- end -}}
{{- end -}}

{{- define "akv2k8s.validate.identities" -}}
{{- range $name, $vault := .Values.vaults -}}
{{- if not (regexMatch "^[a-zA-Z0-9-]{3,24}$" (toString $vault.fallback)) -}}
{{- fail (printf "vaults.%s.fallback is not the name of a vault; write vaults: {%s: {fallback: other-vault}}" $name $name) -}}
{{- end -}}
{{- end -}}
{{- $seen := dict -}}
{{- range .Values.identity.serviceAccounts -}}
{{- if or (empty .namespace) (and (empty .names) (empty .default)) -}}
{{- fail "identity.serviceAccounts is incomplete: each item needs namespace and names (or default), for example {namespace: team, names: [reader]}" -}}
{{- end -}}
{{- if hasKey $seen .namespace -}}
{{- fail (printf "identity.serviceAccounts names namespace %s twice; put its ServiceAccounts into one list" .namespace) -}}
{{- end -}}
{{- $_ := set $seen .namespace true -}}
{{- end -}}
{{- end -}}

{{- define "akv2k8s.validate.components" -}}
{{- range $name := list "controller" "env_injector" -}}
{{- $component := index $.Values $name -}}
{{- range $kind := list "serviceMonitor" "podMonitor" -}}
{{- if and (eq (include "akv2k8s.monitored" (list $ $component $kind)) "true") (ne (include "akv2k8s.metrics" (list $ $component)) "true") -}}
{{- fail (printf "%s has a %s but no metrics: set %s.metrics.enabled or global.metrics.enabled to true, or metrics.%s.enabled to false" $name (title $kind) $name $kind) -}}
{{- end -}}
{{- end -}}
{{- if and (eq (include "akv2k8s.monitored" (list $ $component "serviceMonitor")) "true") (eq (include "akv2k8s.monitored" (list $ $component "podMonitor")) "true") -}}
{{- fail (printf "%s has a ServiceMonitor and a PodMonitor, so its metrics would be scraped twice: set metrics.serviceMonitor.enabled or metrics.podMonitor.enabled to false" $name) -}}
{{- end -}}
{{- $auth := include "akv2k8s.setting" (list $ $component "keyVaultAuth") -}}
{{- if and $component.enabled (kindIs "bool" $component.hostUsers) (not $component.hostUsers) (eq (include "akv2k8s.hostFile" (list $ $auth)) "true") -}}
{{- fail (printf "%s.hostUsers is false, but only root of the node can read the node's azure.json: use another keyVaultAuth or global.userDefinedMSI, or remove hostUsers" $name) -}}
{{- end -}}
{{- $budget := $component.podDisruptionBudget -}}
{{- if and $component.enabled $budget.enabled (not (has (toString $budget.minAvailable) (list "" "<nil>"))) (not (has (toString $budget.maxUnavailable) (list "" "<nil>"))) -}}
{{- fail (printf "%s.podDisruptionBudget has both minAvailable and maxUnavailable, but Kubernetes accepts only one: remove one of them" $name) -}}
{{- end -}}
{{- end -}}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "helm.sh/chart" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/part-of" -}}
{{- if hasKey (default dict $.Values.commonLabels) $label -}}
{{- fail (printf "commonLabels has %s, which the chart sets itself: remove it (the value name sets app.kubernetes.io/name)" $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "akv2k8s.validate.certificate" -}}
{{- $certificate := .Values.env_injector.certificate -}}
{{- $custom := $certificate.custom -}}
{{- if and $certificate.useCertManager $custom.enabled -}}
{{- fail "env_injector.certificate has two sources: set one of useCertManager and custom.enabled to false" -}}
{{- end -}}
{{- if $custom.enabled -}}
{{- $server := dig "server" "tls" dict $custom -}}
{{- range $path, $value := dict "server.tls.crt" $server.crt "server.tls.key" $server.key "ca.crt" (dig "ca" "crt" "" $custom) -}}
{{- if empty $value -}}
{{- fail (printf "env_injector.certificate.custom.%s is missing: with custom.enabled give server.tls.crt, server.tls.key and ca.crt, each PEM in base64" $path) -}}
{{- end -}}
{{- if not (contains "-----BEGIN " (b64dec $value)) -}}
{{- fail (printf "env_injector.certificate.custom.%s is not PEM in base64: give the output of base64 -w0 FILE, where FILE begins with -----BEGIN" $path) -}}
{{- end -}}
{{- if hasSuffix ".crt" $path -}}
{{- range $i, $block := rest (splitList "-----BEGIN " (b64dec $value)) -}}
{{- if not (regexMatch `^([A-Z0-9 ]+)-----[A-Za-z0-9+/=\s]+-----END [A-Z0-9 ]+-----` $block) -}}
{{- fail (printf "block %d of env_injector.certificate.custom.%s is damaged: its END line is missing, or its content is not base64; copy each certificate unchanged" (add1 $i) $path) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The upgrade from 1.8. */}}
{{- define "akv2k8s.validate.transition" -}}
{{- $injector := .Values.env_injector -}}
{{- if and $injector.enabled $injector.legacyAuthService.enabled -}}
{{- if not $injector.authService -}}
{{- fail "env_injector.legacyAuthService needs the auth service: set env_injector.authService=true, or legacyAuthService.enabled=false" -}}
{{- end -}}
{{- if and .Values.controller.enabled (eq (include "akv2k8s.controller.serviceAccount" .) (include "akv2k8s.injector.serviceAccount" .)) -}}
{{- fail (printf "controller and env_injector share the ServiceAccount %s, and the policy of legacyAuthService restricts its writes of Secrets: give one of them its own ServiceAccount (serviceAccount.create or serviceAccount.name)" (include "akv2k8s.injector.serviceAccount" .)) -}}
{{- end -}}
{{- if .Values.vaultRules -}}
{{- fail "env_injector.legacyAuthService gives pods of akv2k8s 1.8 a token for every vault, which vaultRules can't restrict: remove one of them, or recreate these pods" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Settings without effect, because the feature that they belong to is disabled. */}}
{{- define "akv2k8s.validate.idle" -}}
{{- $measured := false -}}
{{- range $name := list "controller" "env_injector" -}}
{{- $component := index $.Values $name -}}
{{- $measured = or $measured (and $component.enabled (eq (include "akv2k8s.metrics" (list $ $component)) "true")) -}}
{{- if and $component.enabled $component.networkPolicy.egress.enabled (not $component.networkPolicy.enabled) -}}
{{- fail (printf "%s.networkPolicy.egress is enabled, but %s.networkPolicy is not, so egress has no effect: set %s.networkPolicy.enabled=true, or egress.enabled=false" $name $name $name) -}}
{{- end -}}
{{- end -}}
{{- range $object := list "prometheusRule" "grafanaDashboard" -}}
{{- if and (index $.Values.global.metrics $object).enabled (not $measured) -}}
{{- fail (printf "global.metrics.%s is enabled, but no component has metrics: set global.metrics.enabled=true, or %s.enabled=false" $object $object) -}}
{{- end -}}
{{- end -}}
{{- $injector := .Values.env_injector -}}
{{- if and $injector.enabled (eq (int $injector.replicaCount) 0) (eq $injector.failurePolicy "Fail") -}}
{{- fail "env_injector has no replicas, and with failurePolicy Fail no pod with references could be created: set replicaCount to 1 or more, enabled=false, or failurePolicy=Ignore" -}}
{{- end -}}
{{- end -}}

{{- define "akv2k8s.validate.ports" -}}
{{- $service := .Values.env_injector.service -}}
{{- range $side := list "internal" "external" -}}
{{- $seen := dict -}}
{{- range $port := list "TlsPort" "HttpPort" "MtlsPort" -}}
{{- $key := printf "%s%s" $side $port -}}
{{- $number := toString (int (index $service $key)) -}}
{{- if hasKey $seen $number -}}
{{- fail (printf "env_injector.service.%s is %s, the same as %s: give each its own port" $key $number (get $seen $number)) -}}
{{- end -}}
{{- $_ := set $seen $number $key -}}
{{- end -}}
{{- end -}}
{{- end -}}
