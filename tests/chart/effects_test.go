package chart

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/chartvalues"
)

// effect is what a value does to a render.
type effect struct {
	// set is the value, as JSON.
	set string
	// want is in a line that the render has not without it.
	want string
	// with are other values, as PATH=JSON, that are set before and after.
	with []string
}

func with(values ...string) []string { return values }

const metricsOn = `global.metrics.enabled=true`

// ownCertificate are the values of a certificate of one's own.
func ownCertificate() []string {
	const custom = "env_injector.certificate.custom."
	return with(custom+"enabled=true", custom+`server.tls.crt="LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClkzSjAKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="`, custom+`server.tls.key="LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmEyVjUKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="`, custom+`ca.crt="LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClkyRT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="`)
}

// effects are of every value that no component has for itself.
func effects() map[string]effect {
	return map[string]effect{
		"name":                                 {`"vaults"`, "app.kubernetes.io/name: vaults", nil},
		"nameOverride":                         {`"vaults"`, "name: akv2k8s-vaults-controller", nil},
		"fullnameOverride":                     {`"vaults"`, "name: vaults-controller", nil},
		"commonLabels":                         {`{"team": "a"}`, `team: "a"`, nil},
		"extraObjects":                         {`[{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "of-{{ .Release.Name }}"}}, "{apiVersion: v1, kind: ConfigMap, metadata: {name: other}}"]`, "name: of-akv2k8s", nil},
		"crds.upgrade":                         {`true`, "name: akv2k8s-crds", with(`crds.upgrade=false`)},
		"crds.resources":                       {`{"requests": {"cpu": "11m"}}`, "cpu: 11m", nil},
		"env_injector.inherit.enabled":         {`true`, "name: akv2k8s-envinjector-inherit", with(`env_injector.inherit.enabled=false`)},
		"env_injector.inherit.resources":       {`{"requests": {"cpu": "11m"}}`, "cpu: 11m", nil},
		"env_injector.initContainer.resources": {`{"requests": {"cpu": "11m"}}`, `"requests":{"cpu":"11m"}`, nil},
		"env_injector.initContainer.securityContext.runAsUser":              {`7`, `"runAsUser":7`, nil},
		"env_injector.initContainer.securityContext.runAsGroup":             {`7`, `"runAsGroup":7`, nil},
		"env_injector.initContainer.securityContext.readOnlyRootFilesystem": {`false`, `"readOnlyRootFilesystem":false`, nil},
		"env_injector.certificate.useCertManager":                           {`true`, "kind: Certificate", nil},
		"env_injector.certificate.custom.enabled":                           {`true`, "akv2k8s.io/ca: values", with(ownCertificate()[1:]...)},
		"env_injector.certificate.custom.server.tls.crt":                    {`"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmVBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="`, "tls.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmVBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=", with(ownCertificate()...)},
		"env_injector.certificate.custom.server.tls.key":                    {`"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmVBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="`, "tls.key: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmVBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=", with(ownCertificate()...)},
		"env_injector.certificate.custom.ca.crt":                            {`"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmVBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="`, "caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmVBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=", with(ownCertificate()...)},
		"vaultRules":                                                        {`[{"namespaces": ["a"], "vaults": ["b"]}]`, `--vault-rules=[{"namespaces":["a"],"vaults":["b"]}]`, nil},
		"identity.serviceAccounts":                                          {`[{"namespace": "team", "names": ["reader"]}]`, `resourceNames: ["reader"]`, nil},
		"identity.allNamespaces":                                            {`true`, "name: akv2k8s-identity", nil},
		"addAzurePodIdentityException":                                      {`true`, "kind: AzurePodIdentityException", nil},
		"cloudConfig":                                                       {`"/etc/cloud.json"`, "path: /etc/cloud.json", nil},
		"watchAllNamespaces":                                                {`false`, "--watch-all-namespaces=false", nil},
		"azureKeyVaultResyncPeriod":                                         {`60`, "--azure-resync-period=60", nil},
		"kubeResyncPeriod":                                                  {`60`, "--kube-resync-period=60", nil},
		"global.logLevel":                                                   {`"debug"`, "--log-level=debug", nil},
		"global.logFormat":                                                  {`"json"`, "--log-format=json", nil},
		"global.keyVaultAuth":                                               {`"environment"`, `value: "environment"`, nil},
		"global.userDefinedMSI.enabled":                                     {`true`, "--cloud-config=/etc/akv2k8s/azureconfig/azure.json", with(`global.userDefinedMSI.msi="id"`, `global.userDefinedMSI.tenantId="t"`)},
		"global.userDefinedMSI.msi":                                         {`"other"`, `\"userAssignedIdentityID\":\"other\"`, msi()},
		"global.userDefinedMSI.subscriptionId":                              {`"sub"`, `\"subscriptionId\":\"sub\"`, msi()},
		"global.userDefinedMSI.tenantId":                                    {`"other"`, `\"tenantId\":\"other\"`, msi()},
		"global.userDefinedMSI.azureCloudType":                              {`"AzureChinaCloud"`, `\"cloud\":\"AzureChinaCloud\"`, msi()},
		"global.env":                                                        {`{"A": 1.5}`, `value: "1.5"`, nil},
		"global.envFromSecret":                                              {`[{"name": "s"}]`, "name: s", nil},
		"global.extraCACertificates":                                        {`"-----BEGIN CERTIFICATE-----"`, "--extra-ca-file=", nil},
		"global.customCloud.authority":                                      {`"https://other"`, `\"activeDirectoryEndpoint\":\"https://other\"`, ownCloud()},
		"global.customCloud.vaultDNSSuffix":                                 {`"other"`, `\"keyVaultDNSSuffix\":\"other\"`, ownCloud()},
		"global.customCloud.registryDNSSuffix":                              {`"other"`, `\"containerRegistryDNSSuffix\":\"other\"`, ownCloud()},
		"global.customCloud.vaultAudience":                                  {`"https://other"`, `\"keyVault\":\"https://other\"`, ownCloud()},
		"global.fips":                                                       {"true", "image: ghcr.io/akv2k8s/controller:2.0.0-fips", nil},
		"global.imageRegistry":                                              {`"r.example"`, "image: r.example/akv2k8s/controller:2.0.0", nil},
		"global.imagePullSecrets":                                           {`[{"name": "s"}, "t"]`, "- name: t", nil},
		"global.rbac.aggregate":                                             {`true`, "rbac.authorization.k8s.io/aggregate-to-view", nil},
		"global.nodeSelector":                                               {`{"pool": "system"}`, "pool: system", nil},
		"global.tolerations":                                                {`[{"key": "everywhere"}]`, "key: everywhere", nil},
		"env_injector.referenceWarnings":                                    {`true`, "kind: ValidatingAdmissionPolicy", with(`env_injector.referenceWarnings=false`)},
		"env_injector.certificate.keep":                                     {`true`, "helm.sh/resource-policy: keep", nil},
		"global.cloud":                                                      {`"AzureChinaCloud"`, "value: AzureChinaCloud", nil},
		"global.metrics.serviceMonitor.endpoint":                            {`{"scheme": "https"}`, "scheme: https", monitored()},
		"global.metrics.podMonitor.enabled":                                 {`true`, "kind: PodMonitor", with(metricsOn)},
		"global.metrics.podMonitor.interval":                                {`"5s"`, "interval: 5s", podsMonitored()},
		"global.metrics.podMonitor.additionalLabels":                        {`{"release": "p"}`, "release: p", podsMonitored()},
		"global.metrics.podMonitor.endpoint":                                {`{"scheme": "https"}`, "scheme: https", podsMonitored()},
		"global.metrics.prometheusRule.enabled":                             {`true`, "kind: PrometheusRule", with(metricsOn)},
		"global.metrics.prometheusRule.additionalLabels":                    {`{"release": "p"}`, "release: p", with(metricsOn, `global.metrics.prometheusRule.enabled=true`)},
		"global.metrics.prometheusRule.extraRules":                          {`[{"alert": "Mine", "expr": "1"}]`, "alert: Mine", with(metricsOn, `global.metrics.prometheusRule.enabled=true`)},
		"global.metrics.grafanaDashboard.enabled":                           {`true`, "akv2k8s.json: |", with(metricsOn)},
		"global.metrics.grafanaDashboard.labels":                            {`{"board": "yes"}`, "board: ", with(metricsOn, `global.metrics.grafanaDashboard.enabled=true`)},
		"global.metrics.grafanaDashboard.annotations":                       {`{"folder": "a"}`, "folder: a", with(metricsOn, `global.metrics.grafanaDashboard.enabled=true`)},
		"global.metrics.enabled":                                            {`true`, "--metrics=true", nil},
		"global.metrics.serviceMonitor.enabled":                             {`true`, "kind: ServiceMonitor", with(metricsOn)},
		"global.metrics.serviceMonitor.interval":                            {`"5s"`, "interval: 5s", monitored()},
		"global.metrics.serviceMonitor.additionalLabels":                    {`{"release": "p"}`, "release: p", monitored()},
		"global.rbac.create":                                                {`false`, "", nil},
		"vaultLimits.perVault":                                              {`100`, "--vault-limit=100", nil},
		"vaultLimits.perSubscription":                                       {`200`, "--subscription-limit=200", nil},
		"vaults":                                                            {`{"kv-one": {"fallback": "kv-two"}}`, "--vault-fallback=kv-one=kv-two", nil},

		"controller.concurrency":                  {`3`, "--workers=3", nil},
		"controller.expiryWarning":                {`"1h"`, "--expiry-warning=1h", nil},
		"controller.rolloutRestart.enabled":       {`true`, "--rollout-restart=true", nil},
		"controller.watchInjected":                {`false`, "--watch-injected=false", nil},
		"controller.rolloutRestart.maxConcurrent": {`3`, "--rollout-restart-max-concurrent=3", with(`controller.rolloutRestart.enabled=true`)},
		"controller.rolloutRestart.argoRollouts":  {`true`, "--rollout-restart-argo-rollouts=true", with(`controller.rolloutRestart.enabled=true`)},
		"controller.rolloutRestart.window":        {`"5s"`, "--rollout-restart-window=5s", with(`controller.rolloutRestart.enabled=true`)},

		"env_injector.envImage.repository":                {`"r.example/env"`, "--env-image=r.example/env:2.0.0", nil},
		"env_injector.envImage.registry":                  {`"r.example:5000"`, "--env-image=r.example:5000/akv2k8s/env:2.0.0", with(`global.imageRegistry="other.example"`)},
		"env_injector.envImage.digest":                    {digest, "--env-image=ghcr.io/akv2k8s/env@sha256:", nil},
		"env_injector.objectSelector.matchExpressions":    {`[{"key": "team", "operator": "Exists"}]`, "key: team", nil},
		"env_injector.matchConditions":                    {`[{"name": "mine", "expression": "true"}]`, "name: mine", nil},
		"env_injector.webhookAnnotations":                 {`{"a": "b"}`, "a: b", nil},
		"env_injector.envImage.tag":                       {`"t"`, "--env-image=ghcr.io/akv2k8s/env:t", nil},
		"env_injector.envImage.pullPolicy":                {`"Never"`, "--env-image-pull-policy=Never", nil},
		"env_injector.delivery":                           {`"init"`, "--delivery=init", nil},
		"env_injector.watchNodes":                         {`false`, "--watch-nodes=false", nil},
		"env_injector.injectProbes":                       {`true`, "--inject-probes=true", nil},
		"env_injector.authService":                        {`false`, "--auth-service=false", nil},
		"env_injector.legacyAuthService.enabled":          {`true`, "--legacy-auth-service", nil},
		"env_injector.legacyAuthService.namespaces":       {`["team"]`, `namespace: "team"`, with(`env_injector.legacyAuthService.enabled=true`)},
		"env_injector.legacyAuthService.upgradeTime":      {`"1m"`, "--legacy-upgrade-time=1m", with(`env_injector.legacyAuthService.enabled=true`)},
		"env_injector.rbacSubjects":                       {`[{"kind": "User", "name": "u"}]`, "name: u", nil},
		"env_injector.cache.maxAge":                       {`"1s"`, "--cache-max-age=1s", nil},
		"env_injector.timeoutSeconds":                     {`7`, "timeoutSeconds: 7", nil},
		"env_injector.clientCA":                           {`"-----BEGIN CERTIFICATE-----"`, "name: WEBHOOK_CLIENT_CA", nil},
		"env_injector.dockerImageInspection.timeout":      {`7`, "--image-timeout=7s", nil},
		"env_injector.registries.allow":                   {`["a.example"]`, `"allow":["a.example"]`, nil},
		"env_injector.registries.plainHTTP":               {`["a.example"]`, `"plainHTTP":["a.example"]`, nil},
		"env_injector.registries.mirrors":                 {`{"a.example": ["b.example"]}`, `"mirrors":{"a.example":["b.example"]}`, nil},
		"env_injector.registries.local":                   {`["127.0.0.1"]`, `"local":["127.0.0.1"]`, nil},
		"env_injector.registries.clusterNetworks":         {`["10.244.0.0/16"]`, `"clusterNetworks":["10.244.0.0/16"]`, nil},
		"env_injector.registries.tagMaxAge":               {`"1m"`, `"tagMaxAge":"1m"`, nil},
		"env_injector.sourceNamespaces":                   {`["team"]`, `namespace: "team"`, nil},
		"env_injector.namespaceLabelSelector.label.name":  {`"inject"`, `inject: "enabled"`, nil},
		"env_injector.namespaceLabelSelector.label.value": {`"yes"`, `azure-key-vault-env-injection: "yes"`, nil},
		"env_injector.namespaceSelector.matchExpressions": {`[{"key": "team", "operator": "Exists"}]`, "key: team", nil},
		"env_injector.service.externalTlsPort":            {`444`, "port: 444", nil},
		"env_injector.service.internalTlsPort":            {`8444`, "--tls-port=8444", nil},
		"env_injector.service.externalMtlsPort":           {`9444`, "--service-auth-port=9444", nil},
		"env_injector.service.internalMtlsPort":           {`9444`, "--auth-port=9444", nil},
		"env_injector.failurePolicy":                      {`"Ignore"`, "failurePolicy: Ignore", nil},
	}
}

func msi() []string {
	return with(`global.userDefinedMSI.enabled=true`, `global.userDefinedMSI.msi="id"`, `global.userDefinedMSI.tenantId="t"`)
}

func ownCloud() []string {
	return with(`global.customCloud.authority="https://a"`, `global.customCloud.vaultDNSSuffix="v"`)
}

const digest = `"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"`

func podsMonitored() []string { return with(metricsOn, `global.metrics.podMonitor.enabled=true`) }

func monitored() []string { return with(metricsOn, `global.metrics.serviceMonitor.enabled=true`) }

// component are values of the component itself.
func component(values ...string) []string {
	var all []string
	for _, value := range values {
		all = append(all, "COMPONENT."+value)
	}
	return all
}

// common are the effects of values that both components have, by the path in the component. They change objects of that
// component alone.
func common() map[string]effect {
	return map[string]effect{
		"name":                                    {`"boss"`, "name: boss", nil},
		"enabled":                                 {`false`, "", nil},
		"image.repository":                        {`"r.example/i"`, "image: r.example/i:2.0.0", nil},
		"image.registry":                          {`"r.example"`, "image: r.example/akv2k8s/", with(`global.imageRegistry="other.example"`)},
		"image.digest":                            {digest, "@sha256:", nil},
		"imagePullSecrets":                        {`["s", {"name": "t"}]`, "name: t", with(`global.imagePullSecrets=["g"]`)},
		"revisionHistoryLimit":                    {`0`, "revisionHistoryLimit: 0", nil},
		"hostUsers":                               {`false`, "hostUsers: false", with(`global.keyVaultAuth="environment"`)},
		"terminationGracePeriodSeconds":           {`77`, "terminationGracePeriodSeconds: 77", nil},
		"livenessProbe":                           {`{"failureThreshold": 9}`, "failureThreshold: 9", nil},
		"readinessProbe":                          {`{"periodSeconds": 9}`, "periodSeconds: 9", nil},
		"dnsPolicy":                               {`"None"`, "dnsPolicy: None", nil},
		"dnsConfig":                               {`{"nameservers": ["192.0.2.1"]}`, "192.0.2.1", nil},
		"service.ipFamilyPolicy":                  {`"PreferDualStack"`, "ipFamilyPolicy: PreferDualStack", nil},
		"service.ipFamilies":                      {`["IPv6"]`, `ipFamilies: ["IPv6"]`, nil},
		"service.annotations":                     {`{"a": "b"}`, "a: b", nil},
		"service.labels":                          {`{"a": "b"}`, "a: b", nil},
		"metrics.serviceMonitor.endpoint":         {`{"scheme": "https"}`, "scheme: https", monitored()},
		"metrics.podMonitor.enabled":              {`true`, "kind: PodMonitor", with(metricsOn)},
		"metrics.podMonitor.interval":             {`"5s"`, "interval: 5s", podsMonitored()},
		"metrics.podMonitor.additionalLabels":     {`{"release": "p"}`, "release: p", podsMonitored()},
		"metrics.podMonitor.endpoint":             {`{"scheme": "https"}`, "scheme: https", podsMonitored()},
		"extraEnv":                                {`[{"name": "A", "value": "of-{{ .Release.Name }}"}]`, "value: of-akv2k8s", nil},
		"extraArgs":                               {`["--of={{ .Release.Name }}-{{ .Chart.AppVersion }}"]`, "--of=akv2k8s-2.0.0", nil},
		"annotations":                             {`{"a": "b"}`, "a: b", nil},
		"topologySpreadConstraints":               {`[{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]`, "topologyKey: zone", nil},
		"networkPolicy.enabled":                   {`true`, "kind: NetworkPolicy", nil},
		"networkPolicy.egress.enabled":            {`true`, "policyTypes: [Ingress, Egress]", component(`networkPolicy.enabled=true`)},
		"networkPolicy.egress.extra":              {`[{"ports": [{"port": 3128}]}]`, "port: 3128", component(`networkPolicy.enabled=true`, `networkPolicy.egress.enabled=true`)},
		"podDisruptionBudget.enabled":             {`true`, "poddisruptionbudget.yaml", component(`podDisruptionBudget.enabled=false`)},
		"podDisruptionBudget.minAvailable":        {`"50%"`, "minAvailable: 50%", component(`podDisruptionBudget.enabled=true`)},
		"podDisruptionBudget.maxUnavailable":      {`2`, "maxUnavailable: 2", component(`podDisruptionBudget.enabled=true`, `podDisruptionBudget.minAvailable=null`)},
		"image.tag":                               {`"t"`, ":t", nil},
		"image.pullPolicy":                        {`"Always"`, "imagePullPolicy: Always", nil},
		"image.pullSecret":                        {`"registry"`, "name: registry", nil},
		"logLevel":                                {`"trace"`, "--log-level=trace", with(`global.logLevel="debug"`)},
		"logFormat":                               {`"json"`, "--log-format=json", nil},
		"keyVaultAuth":                            {`"environment"`, `value: "environment"`, with(`global.keyVaultAuth="environment-azidentity"`)},
		"replicaCount":                            {`5`, "replicas: 5", nil},
		"serviceAccount.create":                   {`false`, "serviceAccountName: default", nil},
		"serviceAccount.name":                     {`"mine-controller-envinjector"`, "serviceAccountName: mine-controller-envinjector", nil},
		"serviceAccount.annotations":              {`{"a": "b"}`, "a: b", nil},
		"serviceAccount.labels":                   {`{"a": "b"}`, "a: b", nil},
		"rbac.create":                             {`false`, "", nil},
		"automountServiceAccountToken":            {`false`, "automountServiceAccountToken: false", nil},
		"podSecurityContext":                      {`{"fsGroup": 2000}`, "fsGroup: 2000", nil},
		"securityContext":                         {`{"privileged": false}`, "privileged: false", nil},
		"priorityClassName":                       {`"high"`, "priorityClassName: high", nil},
		"service.type":                            {`"NodePort"`, "type: NodePort", nil},
		"service.externalHttpPort":                {`81`, "port: 81", nil},
		"service.internalHttpPort":                {`8081`, "containerPort: 8081", nil},
		"metrics.enabled":                         {`false`, "false", with(metricsOn)},
		"metrics.serviceMonitor.enabled":          {`true`, "kind: ServiceMonitor", with(metricsOn)},
		"metrics.serviceMonitor.interval":         {`"5s"`, "interval: 5s", monitored()},
		"metrics.serviceMonitor.additionalLabels": {`{"release": "p"}`, "release: p", monitored()},
		"env":               {`{"A": 0}`, `value: "0"`, with(`global.env={"A": 1}`)},
		"envFromSecret":     {`["s"]`, "name: s", nil},
		"labels":            {`{"a": "b"}`, "a: b", nil},
		"podLabels":         {`{"a": "b"}`, "a: b", nil},
		"podAnnotations":    {`{"a": "b"}`, "a: b", nil},
		"strategy":          {`{"type": "Recreate"}`, "type: Recreate", nil},
		"resources":         {`{"limits": {"memory": "1Gi"}}`, "memory: 1Gi", nil},
		"nodeSelector":      {`{"a": "b"}`, "a: b", nil},
		"tolerations":       {`[{"key": "a"}]`, "key: a", nil},
		"affinity":          {`{"podAffinity": {}}`, "podAffinity", nil},
		"extraVolumes":      {`[{"name": "v", "emptyDir": {}}]`, "name: v", nil},
		"extraVolumeMounts": {`[{"name": "v", "mountPath": "/v/{{ .Release.Name }}"}]`, "mountPath: /v/akv2k8s", nil},
	}
}

// renders keeps renders, which several effects start from.
type renders struct {
	mutex sync.Mutex
	known map[string]string
}

func (r *renders) of(t *testing.T, values []string) string {
	t.Helper()
	key := strings.Join(values, "\n")
	r.mutex.Lock()
	out, ok := r.known[key]
	r.mutex.Unlock()
	if ok {
		return out
	}
	out, err := draw(set(t, values))
	require.NoError(t, err)
	r.mutex.Lock()
	r.known[key] = out
	r.mutex.Unlock()
	return out
}

// added are the lines that b has and a has not.
func added(a, b string) string {
	before := map[string]bool{}
	for line := range strings.SplitSeq(a, "\n") {
		before[line] = true
	}
	var lines []string
	for line := range strings.SplitSeq(b, "\n") {
		if !before[line] {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// changed are the names of objects that two renders do not share.
func changed(t *testing.T, a, b string) []string {
	t.Helper()
	before, after := parse(t, a), parse(t, b)
	var names []string
	for _, name := range slices.Sorted(maps.Keys(merged(before, after))) {
		if !assert.ObjectsAreEqual(before[name], after[name]) {
			names = append(names, name)
		}
	}
	return names
}

// alone leaves out how many processes read vaults, which each component is told of the other.
func alone(render string) string {
	return regexp.MustCompile(`--readers=\d+`).ReplaceAllString(render, "--readers=N")
}

func merged(a, b objects) objects {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func TestEveryValueHasAnEffect(t *testing.T) {
	cases, owners := effects(), map[string]string{}
	for name, part := range map[string]string{"controller": "-controller", "env_injector": "-envinjector"} {
		for path, e := range common() {
			var with []string
			for _, value := range e.with {
				with = append(with, strings.Replace(value, "COMPONENT.", name+".", 1))
			}
			cases[name+"."+path], owners[name+"."+path] = effect{e.set, e.want, with}, part
		}
	}
	all := &renders{known: map[string]string{}}
	for _, path := range chartvalues.LeafPaths() {
		e, ok := cases[path]
		delete(cases, path)
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			require.True(t, ok, "the value has no case here that sets it")
			before := all.of(t, e.with)
			after := all.of(t, append(slices.Clone(e.with), path+"="+e.set))
			names := changed(t, alone(before), alone(after))
			assert.NotEmpty(t, names, "nothing changes")
			assert.Contains(t, added(before, after), e.want)
			for _, name := range names {
				// the controller's
				if name == "Secret/akv2k8s-status-key" || strings.HasPrefix(name, "Job/akv2k8s-crds-") {
					continue
				}
				if name == "Pod/akv2k8s-test" { // of both components
					continue
				}
				assert.Contains(t, name, owners[path], "a component's value is its own")
			}
		})
	}
	assert.Empty(t, cases, "cases of values that do not exist")
}
