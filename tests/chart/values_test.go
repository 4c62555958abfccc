package chart

import (
	"flag"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the goldens")

// try renders the chart with arguments of helm template, and gives what helm says.
func try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	program, err := helm()
	require.NoError(t, err)
	cmd := exec.Command(program, append([]string{"template", "akv2k8s", "../../charts/akv2k8s", "--namespace", "akv2k8s"}, args...)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return errs.String(), err
	}
	return out.String(), nil
}

// file writes values into a file for --values.
func file(t *testing.T, values string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	require.NoError(t, os.WriteFile(path, []byte(values), 0o600))
	return path
}

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Empty(t, difference(string(want), got), "go test ./tests/chart -update writes it")
}

// difference are the lines that two renders do not share.
func difference(a, b string) string { return cmp.Diff(strings.Split(a, "\n"), strings.Split(b, "\n")) }

func TestValuesOfV1AreAcceptedUnchanged(t *testing.T) {
	for _, name := range []string{"v1-defaults", "v1-all"} {
		out, err := try(t, "--values", "testdata/"+name+".yaml")
		require.NoError(t, err, out)
		golden(t, name+".out.yaml", out)
	}
}

func TestEveryTemplateHasAGolden(t *testing.T) {
	for _, name := range []string{"everything", "private-cloud"} {
		out, err := try(t, "--values", "testdata/"+name+".yaml")
		require.NoError(t, err, out)
		golden(t, name+".out.yaml", out)
	}
	goldens, err := filepath.Glob("testdata/*.out.yaml")
	require.NoError(t, err)
	for _, name := range goldens {
		assert.FileExists(t, strings.Replace(name, ".out", "", 1), "the golden is of nothing")
	}
	examples, err := filepath.Glob("../../examples/*/rendered.yaml") // make verify compares them
	require.NoError(t, err)
	var all strings.Builder
	for _, name := range append(goldens, examples...) {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		all.Write(content)
	}
	require.NoError(t, filepath.WalkDir("../../charts/akv2k8s/templates", func(path string, entry fs.DirEntry, err error) error {
		_, name, _ := strings.Cut(path, "/charts/")
		if err == nil && strings.HasSuffix(name, ".yaml") && entry.Name() != "validate.yaml" {
			assert.True(t, strings.Contains(all.String(), "# Source: "+name+"\n"), "no golden has what %s makes", name)
		}
		return err
	}))
}

func TestTheDefaultsOfV1AreOurs(t *testing.T) {
	ours, err := try(t)
	require.NoError(t, err)
	theirs, err := try(t, "--values", "testdata/v1-defaults.yaml", "--set", "controller.securityContext=null,env_injector.securityContext=null",
		"--set", "env_injector.namespaceSelector.matchExpressions=null", "--set", "env_injector.podDisruptionBudget.minAvailable=null")
	require.NoError(t, err, theirs)
	assert.Empty(t, difference(ours, theirs), "but for the escalation that they allowed, the namespace that is left out by another label, and the budget that no drain gets past with one replica")
}

func TestValuesThatAreTaken(t *testing.T) {
	for what, values := range map[string]string{
		"the condition of a parent chart":                   `enabled: true`,
		"keys of an older chart":                            `{rbac: {create: true}, runningInsideAzureAks: true, env_injector: {dockerImageInspection: {useAksCredentialsWithACS: true}}}`,
		"pod security policies":                             `global: {rbac: {podSecurityPolicies: {a: b}}}`,
		"numbers in quotes":                                 `{azureKeyVaultResyncPeriod: "60", env_injector: {replicaCount: "3", service: {externalTlsPort: "8443"}}}`,
		"a budget as a percentage":                          `env_injector: {podDisruptionBudget: {minAvailable: 50%}}`,
		"variables of any scalar type":                      `global: {env: {A: 1, B: 1.5, C: true, D: text, E: null}}`,
		"secrets by name alone and as objects":              `global: {envFromSecret: [a, {name: b}]}`,
		"a mirror of several hosts":                         `env_injector: {registries: {mirrors: {docker.io: [mirror.example, other.example/library]}}}`,
		"an image of one's own":                             `controller: {image: {repository: registry.example/spvester/controller, tag: v2}}`,
		"an image of 1.x where the component is not wanted": `controller: {enabled: false, image: {tag: 1.8.4}}`,
		"a subject of any kind":                             `env_injector: {rbacSubjects: [{kind: ServiceAccount, name: a, namespace: b}]}`,
		"the budget's other bound":                          `env_injector: {podDisruptionBudget: {minAvailable: null, maxUnavailable: 1}}`,
		"an identity of the nodes":                          `global: {userDefinedMSI: {enabled: true, msi: a, tenantId: b}}`,
		"an identity of the nodes for the one component":    `{global: {userDefinedMSI: {enabled: true, msi: a, tenantId: b}}, env_injector: {enabled: false, keyVaultAuth: environment}}`,
		"a monitor where there are metrics":                 `global: {metrics: {enabled: true, serviceMonitor: {enabled: true}}}`,
		"a monitor of the one component with metrics":       `{global: {metrics: {serviceMonitor: {enabled: true}}}, controller: {metrics: {enabled: true}}, env_injector: {metrics: {serviceMonitor: {enabled: false}}}}`,
		"a user namespace without the node's file":          `{global: {keyVaultAuth: environment}, controller: {hostUsers: false}}`,
		"pods of 1.8 for a transition":                      `env_injector: {legacyAuthService: {enabled: true, namespaces: [a]}}`,
		"another cloud":                                     `global: {cloud: AzureUSGovernment}`,
		"another cloud in another letter case":              `global: {cloud: azureusgovernmentcloud}`,
		"labels and annotations of any scalar type":         `{commonLabels: {a: 1}, controller: {podLabels: {a: true}, nodeSelector: {b: 12345678}, podAnnotations: {c: null}}}`,
		"a time in days":                                    `controller: {expiryWarning: 30d}`,
		"Kubernetes objects, also with templates":           `controller: {resources: {limits: {cpu: 1, memory: 1Gi}}, extraVolumes: [{name: a, projected: {defaultMode: "{{ 420 }}", sources: []}}], livenessProbe: {periodSeconds: 5}}`,
		"a new image under an old name":                     `controller: {image: {repository: mirror.example/azure-keyvault-controller, tag: 2.0.0}}`,
		"a tag with the version of its base":                `controller: {image: {tag: 2.0.0-debian12.5}}`,
		"a tag with a prefix of another version":            `controller: {image: {tag: debian1-2.0.0}}`,
		"a tag with a revision of its own":                  `controller: {image: {tag: 2.0.0-1}}`,
		"a tag with a version of its base":                  `controller: {image: {tag: v2.1-alpine3.1}}`,
		"labels of all objects":                             `commonLabels: {team: a}`,
		"a budget of the controller":                        `controller: {podDisruptionBudget: {enabled: true, minAvailable: null, maxUnavailable: 1}}`,
		"a monitor of pods":                                 `global: {metrics: {enabled: true, podMonitor: {enabled: true}}}`,
		"a cloud of one's own":                              `global: {customCloud: {authority: "https://a", vaultDNSSuffix: b}}`,
		"ServiceAccounts of a tenant":                       `identity: {serviceAccounts: [{namespace: a, names: [b], default: b}]}`,
		"a certificate of one's own":                        `env_injector: {certificate: {custom: {enabled: true, server: {tls: {crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClkzSjAKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=, key: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClkzSjAKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=}}, ca: {crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClkzSjAKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=}}}}`,
	} {
		_, err := draw(fromYAML(t, values))
		assert.NoError(t, err, what)
	}
}

func TestNullMeansTheDefault(t *testing.T) {
	ours, err := try(t)
	require.NoError(t, err)
	out, err := try(t, "--values", file(t, `{name: null, global: {env: null, envFromSecret: null, userDefinedMSI: {msi: null}, metrics: {serviceMonitor: {interval: 30s}}},
controller: {name: null, logLevel: null, serviceAccount: {name: null}, podSecurityContext: null, securityContext: null, metrics: {enabled: null}, rbac: {create: null}, automountServiceAccountToken: null,
  image: {tag: null, pullSecret: null}, env: null, resources: null, tolerations: null, extraVolumes: null}}`))
	require.NoError(t, err, out)
	assert.Empty(t, difference(ours, out))
}

// validations are what the rules across values say, each by the longest part that is no value.
func validations(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile("../../charts/akv2k8s/templates/_validate.tpl")
	require.NoError(t, err)
	var all []string
	for _, rule := range regexp.MustCompile(`fail \(?(?:printf )?"([^"]+)"`).FindAllStringSubmatch(string(content), -1) {
		parts := regexp.MustCompile(`%[sv]`).Split(rule[1], -1)
		all = append(all, slices.MaxFunc(parts, func(a, b string) int { return len(a) - len(b) }))
	}
	require.Len(t, all, strings.Count(string(content), "fail "), "every rule is seen")
	return all
}

// refusal is values that the chart refuses, and what it says. tests/terratest gives them to both generations of Helm.
type refusal struct {
	Name   string `json:"name"`
	Values string `json:"values"`
	Says   string `json:"says"`
}

func refusals(t *testing.T) []refusal {
	t.Helper()
	content, err := os.ReadFile("testdata/refusals.yaml")
	require.NoError(t, err)
	var all []refusal
	require.NoError(t, yaml.UnmarshalStrict(content, &all))
	require.Greater(t, len(all), 60)
	return all
}

func TestValuesThatAreRefusedWithTheirPath(t *testing.T) {
	var said strings.Builder
	for _, c := range refusals(t) {
		_, err := draw(fromYAML(t, c.Values))
		if assert.ErrorContains(t, err, c.Says, c.Name) {
			said.WriteString(err.Error())
		}
	}
	for _, rule := range validations(t) {
		assert.Contains(t, said.String(), rule, "the rule has no values here that it refuses")
	}
	misspelt := file(t, `controller: {imag: {tag: x}}`)
	out, err := try(t, "--values", misspelt)
	assert.Error(t, err)
	assert.Contains(t, out, "at '/controller': additional properties 'imag' not allowed", "as the program says it")
	out, err = try(t, "--values", misspelt, "--skip-schema-validation")
	assert.NoError(t, err, "the way out: %s", out)
}

func TestCredentialsAmongTheVariablesAreSecretsAsBefore(t *testing.T) {
	values := file(t, `{global: {env: {AZURE_CLIENT_SECRET: from-global, AZURE_TENANT_ID: tenant, HTTPS_PROXY: "http://me:pass@proxy", AZURE_FEDERATED_TOKEN_FILE: /token, LARGE: 12345678}},
controller: {env: {AZURE_CLIENT_SECRET: of-the-controller, LARGE: 0}}, env_injector: {env: {AZURE_CERTIFICATE_PASSWORD: of-the-injector}}}`)
	out, err := try(t, "--values", values)
	require.NoError(t, err, out)
	all := parse(t, out)
	secrets := map[string][]string{}
	for name, object := range all {
		if data, found, _ := unstructured.NestedStringMap(object.Object, "data"); found && object.GetKind() == "Secret" {
			secrets[name] = slices.Sorted(maps.Keys(data))
		}
	}
	assert.Equal(t, map[string][]string{"Secret/akv2k8s-env": {"AZURE_CLIENT_SECRET", "HTTPS_PROXY"}, "Secret/akv2k8s-controller-env": {"AZURE_CLIENT_SECRET"},
		"Secret/akv2k8s-envinjector-webhook-env": {"AZURE_CERTIFICATE_PASSWORD"}}, secrets)
	ref := func(secret, key string) map[string]any {
		return map[string]any{"name": key, "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": secret, "key": key}}}
	}
	for deployment, wanted := range map[string][]any{
		controllerDeployment: {ref("akv2k8s-controller-env", "AZURE_CLIENT_SECRET"), map[string]any{"name": "LARGE", "value": "0"}},
		injectorDeployment: {ref("akv2k8s-env", "AZURE_CLIENT_SECRET"), ref("akv2k8s-envinjector-webhook-env", "AZURE_CERTIFICATE_PASSWORD"),
			ref("akv2k8s-env", "HTTPS_PROXY"), map[string]any{"name": "LARGE", "value": "12345678"}, map[string]any{"name": "AZURE_FEDERATED_TOKEN_FILE", "value": "/token"}},
	} {
		env := all.at(t, deployment, "spec", "template", "spec", "containers", "env")
		assert.Subset(t, env, wanted)
		assert.Equal(t, "1", all.at(t, deployment, "spec", "template", "metadata", "annotations", "akv2k8s.io/revision"), "new pods for new credentials, without a hash of them")
	}
	for name, object := range all {
		if object.GetKind() != "Secret" {
			text, err := object.MarshalJSON()
			require.NoError(t, err)
			for _, credential := range []string{"from-global", "of-the-controller", "of-the-injector", "me:pass"} {
				assert.NotContains(t, string(text), credential, name)
			}
		}
	}
}

func TestAnIdentityOfTheNodesNeedsNoRoot(t *testing.T) {
	all := render(t, "global.userDefinedMSI.enabled=true", "global.userDefinedMSI.msi=id", "global.userDefinedMSI.tenantId=tenant", "global.userDefinedMSI.azureCloudType=AzureChinaCloud")
	text, _, err := unstructured.NestedString(all["ConfigMap/akv2k8s-azureconfig"].Object, "data", "azure.json")
	require.NoError(t, err)
	config, err := cloudConfig(text)
	require.NoError(t, err)
	assert.Equal(t, []any{"id", "tenant", "AzureChinaCloud", true}, []any{config.UserAssignedIdentityID, config.TenantID, config.Cloud, config.HasManagedIdentity()})
	for _, deployment := range []string{controllerDeployment, injectorDeployment} {
		assert.Equal(t, true, all.at(t, deployment, "spec", "template", "spec", "securityContext", "runAsNonRoot"))
		assert.Equal(t, "akv2k8s-azureconfig", all.at(t, deployment, "spec", "template", "spec", "volumes", "configMap", "name"))
		assert.Contains(t, all.at(t, deployment, "spec", "template", "spec", "containers", "args"), "--cloud-config=/etc/akv2k8s/azureconfig/azure.json")
	}
}

// notesTemplate renders NOTES.txt into an object, since helm template prints none.
const notesTemplate = `{kind: Notes, apiVersion: v1, metadata: {name: notes}, text: {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}}`

// notes are what helm prints after an install.
func notes(t *testing.T, set ...string) string {
	t.Helper()
	files, err := release{name: "akv2k8s", namespace: "akv2k8s"}.files(fromSet(t, set...))
	require.NoError(t, err)
	return files["akv2k8s/templates/NOTES.txt"]
}

func TestNotesSayWhatWasInstalledAndWhatToDoNext(t *testing.T) {
	byDefault := notes(t)
	for _, text := range []string{"akv2k8s 2.0.0 is installed in namespace akv2k8s: the controller", "env-injector", "the cluster's own identity, from /etc/kubernetes/azure.json", "run as root",
		"kubectl label namespace default azure-key-vault-env-injection=enabled", "kubectl -n default get akvs my-secret"} {
		assert.Contains(t, byDefault, text)
	}
	assert.NotContains(t, byDefault, "older charts")
	for set, says := range map[string]string{
		"rbac.create=true":                    "belong to older charts and have no effect: rbac.",
		"global.rbac.podSecurityPolicies.a=b": "have no effect: global.rbac.podSecurityPolicies.",
		"env_injector.dockerImageInspection.useAksCredentialsWithACS=true": "have no effect: env_injector.dockerImageInspection.useAksCredentialsWithACS.",
		"watchAllNamespaces=false":                                 "kubectl -n akv2k8s get akvs my-secret",
		"global.keyVaultAuth=environment":                          "from its variables AZURE_*",
		"env_injector.authService=false":                           "The auth service is disabled",
		"controller.securityContext.allowPrivilegeEscalation=true": "controller.securityContext.allowPrivilegeEscalation is true",
		"controller.serviceAccount.create=false":                   "set controller.serviceAccount.name",
		"global.userDefinedMSI.enabled=true,global.userDefinedMSI.msi=me,global.userDefinedMSI.tenantId=t": "the managed identity me",
	} {
		assert.Contains(t, notes(t, set), says)
	}
	assert.NotContains(t, notes(t, "global.keyVaultAuth=environment"), "run as root")
}

func TestAsAPartOfAnotherChart(t *testing.T) {
	parent := t.TempDir()
	write := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(parent, name), []byte(content), 0o600))
	}
	require.NoError(t, os.CopyFS(filepath.Join(parent, "charts", "akv2k8s"), os.DirFS("../../charts/akv2k8s")))
	write("Chart.yaml", "{apiVersion: v2, name: platform, version: 1.0.0, dependencies: [{name: akv2k8s, version: 3.x.x, condition: akv2k8s.enabled}]}")
	write("values.yaml", "{global: {storageClass: fast, logLevel: 2, imageTag: x, keyvaultAuth: none, metrics: {port: 1}, rbac: {pspEnabled: false}}, akv2k8s: {enabled: true, controller: {logLevel: null, serviceAccount: {name: null}, metrics: {enabled: null}}}}")
	program, err := helm()
	require.NoError(t, err)
	out, err := exec.Command(program, "template", "akv2k8s", parent, "--namespace", "akv2k8s").CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Contains(t, parse(t, string(out)), controllerDeployment)
	write("charts/akv2k8s/templates/notes.yaml", notesTemplate)
	out, err = exec.Command(program, "template", "akv2k8s", parent, "--namespace", "akv2k8s", "--show-only", "charts/akv2k8s/templates/notes.yaml").CombinedOutput()
	require.NoError(t, err, string(out))
	notes := parse(t, string(out)).at(t, "Notes/notes", "text")
	assert.Contains(t, notes, "These values of global are not valid for akv2k8s and are ignored: global.logLevel=2.")
	assert.Contains(t, notes, "global.keyvaultAuth, did you mean keyVaultAuth?")
	assert.NotContains(t, notes, "storageClass", "other charts have keys of their own")
	out, err = exec.Command(program, "template", "akv2k8s", parent, "--namespace", "akv2k8s", "--set", "akv2k8s.enabled=false").CombinedOutput()
	require.NoError(t, err, string(out))
	assert.NotContains(t, string(out), "Deployment")
}

func TestValuesReachTheClusterAsTheyWereWritten(t *testing.T) {
	out, err := try(t, "--values", file(t, `{global: {env: {A: "a$$b$(C)", LARGE: 12345678}, cloud: azureusgovernment}, commonLabels: {cost: 100000000},
controller: {podLabels: {flag: true, number: 12345678}, nodeSelector: {pool: 7}, expiryWarning: 30d12h}}`))
	require.NoError(t, err, out)
	all := parse(t, out)
	template := []string{"spec", "template", "spec"}
	env := all.at(t, controllerDeployment, append(template, "containers", "env")...)
	assert.Subset(t, env, []any{map[string]any{"name": "A", "value": "a$$$$b$$(C)"}, map[string]any{"name": "LARGE", "value": "12345678"},
		map[string]any{"name": "AZURE_ENVIRONMENT", "value": "AzureUSGovernment"}}, "the kubelet makes one dollar of two")
	labels := all.at(t, controllerDeployment, "spec", "template", "metadata", "labels").(map[string]any)
	assert.Equal(t, []any{"true", "12345678", "100000000"}, []any{labels["flag"], labels["number"], labels["cost"]})
	assert.Equal(t, "7", all.at(t, controllerDeployment, append(template, "nodeSelector", "pool")...))
	assert.Contains(t, all.at(t, controllerDeployment, append(template, "containers", "args")...), "--expiry-warning=720h12h")
}
