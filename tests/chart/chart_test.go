package chart

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
)

// helm is the program that users run, in the version that is pinned.
var helm = sync.OnceValues(func() (string, error) { return buildTool("helm") })

// buildTool returns the path of a program of tests/tools.
func buildTool(name string) (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	root, err := bed.Root(folder)
	if err != nil {
		return "", err
	}
	cache, err := bed.Config{Getenv: os.Getenv}.Cache()
	if err != nil {
		return "", err
	}
	// The program is built once for all tests, so no test's context may end it.
	return build.Builder{Root: root, Cache: cache, Progress: os.Stdout}.Tool(context.Background(), name)
}

// objects are what the chart renders, by "Kind/name".
type objects map[string]*unstructured.Unstructured

// render renders the chart as release akv2k8s in namespace akv2k8s; set are arguments of --set.
func render(t *testing.T, set ...string) objects {
	t.Helper()
	return drawn(t, set...)
}

// parse reads what helm printed.
func parse(t *testing.T, out string) objects {
	t.Helper()
	all := objects{}
	for decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(out), 4096); ; {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			require.NotEmpty(t, all)
			return all
		}
		require.NoError(t, err)
		if len(object.Object) > 0 {
			all[object.GetKind()+"/"+object.GetName()] = object
		}
	}
}

// at is the part of an object at a path; lists are gone into at their first item.
func (o objects) at(t *testing.T, name string, path ...string) any {
	t.Helper()
	require.Contains(t, o, name)
	var value any = o[name].Object
	for _, step := range path {
		if list, ok := value.([]any); ok {
			require.NotEmpty(t, list)
			value = list[0]
		}
		fields, ok := value.(map[string]any)
		require.True(t, ok, "%s has nothing at %v", name, path)
		value = fields[step]
	}
	return value
}

const (
	controllerDeployment = "Deployment/akv2k8s-controller"
	injectorDeployment   = "Deployment/akv2k8s-envinjector"
	webhook              = "MutatingWebhookConfiguration/akv2k8s-envinjector"
)

func TestNamesThatUsersDependOn(t *testing.T) {
	all := render(t)
	for _, name := range []string{controllerDeployment, "ServiceAccount/akv2k8s-controller", "Service/akv2k8s-controller", injectorDeployment,
		"ServiceAccount/akv2k8s-envinjector", "Service/akv2k8s-envinjector", "PodDisruptionBudget/akv2k8s-envinjector", webhook} {
		assert.Contains(t, all, name)
	}
	for deployment, component := range map[string]string{controllerDeployment: "akv2k8s-controller", injectorDeployment: "akv2k8s-webhook"} {
		assert.Equal(t, map[string]any{"app.kubernetes.io/name": "akv2k8s", "app.kubernetes.io/instance": "akv2k8s", "app.kubernetes.io/component": component},
			all.at(t, deployment, "spec", "selector", "matchLabels"), "selectors can't be changed by an upgrade")
	}
	assert.Equal(t, "pods.env-injector.admission.spv.no", all.at(t, webhook, "webhooks", "name"))
	assert.Equal(t, "Fail", all.at(t, webhook, "webhooks", "failurePolicy"))
	assert.Equal(t, "None", all.at(t, webhook, "webhooks", "sideEffects"))
	ports := all.at(t, "Service/akv2k8s-envinjector", "spec", "ports").([]any)
	var numbers []any
	for _, port := range ports {
		numbers = append(numbers, port.(map[string]any)["port"])
	}
	assert.Equal(t, []any{int64(443), int64(80), int64(9443)}, numbers)
}

func TestNothingSecretOrRandomIsRendered(t *testing.T) {
	assert.Equal(t, render(t), render(t), "two renders are the same")
	for name, object := range render(t) {
		if object.GetKind() == "Secret" {
			assert.NotContains(t, object.Object, "data", name)
			assert.NotContains(t, object.Object, "stringData", name)
		}
	}
	assert.NotContains(t, render(t).at(t, webhook, "webhooks", "clientConfig"), "caBundle", "the env-injector writes it, and an upgrade must not take it away")
}

func TestPodsAreAsRestrictedAsTheirCredentialAllows(t *testing.T) {
	for _, deployment := range []string{controllerDeployment, injectorDeployment} {
		for auth, root := range map[string]bool{"azureCloudConfig": true, "environment": false} {
			all := render(t, "global.keyVaultAuth="+auth)
			pod := all.at(t, deployment, "spec", "template", "spec", "securityContext").(map[string]any)
			assert.Equal(t, !root, pod["runAsNonRoot"], "%s with %s", deployment, auth)
			assert.Equal(t, map[string]any{"type": "RuntimeDefault"}, pod["seccompProfile"])
			container := all.at(t, deployment, "spec", "template", "spec", "containers", "securityContext").(map[string]any)
			assert.Equal(t, map[string]any{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": map[string]any{"drop": []any{"ALL"}}}, container)
			volumes := all.at(t, deployment, "spec", "template", "spec", "volumes")
			assert.Equal(t, root, volumes != nil, "the host's file is mounted only if it is needed")
		}
		both := render(t, "global.keyVaultAuth=environment", "controller.keyVaultAuth=azureCloudConfig")
		assert.Equal(t, true, both.at(t, injectorDeployment, "spec", "template", "spec", "securityContext", "runAsNonRoot"), "a component's own setting is its own")
	}
}

// rules are what all roles that are bound to a service account allow, as "resource[name] verbs", by the kind of
// binding. Rules of one resource are one.
func rules(t *testing.T, all objects, account string) map[string][]string {
	t.Helper()
	verbs := map[string]map[string]string{}
	for _, binding := range all {
		if !strings.HasSuffix(binding.GetKind(), "RoleBinding") {
			continue
		}
		subjects, _, err := unstructured.NestedSlice(binding.Object, "subjects")
		require.NoError(t, err)
		if !slices.ContainsFunc(subjects, func(s any) bool { return s.(map[string]any)["name"] == account }) {
			continue
		}
		ref, _, err := unstructured.NestedStringMap(binding.Object, "roleRef")
		require.NoError(t, err)
		role := ref["kind"] + "/" + ref["name"]
		require.Contains(t, all, role, "a binding leads to a role")
		if verbs[binding.GetKind()] == nil {
			verbs[binding.GetKind()] = map[string]string{}
		}
		for _, right := range singles(t, all[role]) {
			_, right, _ := strings.Cut(right, "/")
			what, verb, _ := strings.Cut(right, " ")
			if !slices.Contains(strings.Fields(verbs[binding.GetKind()][what]), verb) {
				verbs[binding.GetKind()][what] += " " + verb
			}
		}
	}
	found := map[string][]string{}
	for kind, all := range verbs {
		for what, allowed := range all {
			// Several roles can allow verbs of one resource, in any order.
			verbs := strings.Fields(allowed)
			slices.SortFunc(verbs, func(a, b string) int {
				order := []string{"get", "list", "watch", "create", "update", "patch", "delete"}
				return slices.Index(order, a) - slices.Index(order, b)
			})
			found[kind] = append(found[kind], what+" "+strings.Join(verbs, " "))
		}
		slices.Sort(found[kind])
	}
	return found
}

func TestRightsAreTheLeast(t *testing.T) {
	assert.Equal(t, map[string][]string{
		"ClusterRoleBinding": {"azurekeyvaultsecrets get list watch", "azurekeyvaultsecrets/finalizers update", "azurekeyvaultsecrets/status patch",
			"configmaps get list watch create patch delete", "customresourcedefinitions[azurekeyvaultsecrets.spv.no] get", "events create patch", "secrets get list watch create patch delete"},
		"RoleBinding": {"events create patch", "leases create", "leases[akv2k8s-controller] get update", "secrets[akv2k8s-status-key] get update"},
	}, rules(t, render(t), "akv2k8s-controller"))
	assert.Equal(t, map[string][]string{
		"ClusterRoleBinding": {"azurekeyvaultsecrets get list watch", "configmaps get", "endpointslices[kubernetes] get", "events create patch", "limitranges list",
			"mutatingwebhookconfigurations[akv2k8s-envinjector] get list watch patch", "namespaces get", "nodes list watch", "pods get list", "secrets get", "services[kubernetes] get", "tokenreviews create"},
		"RoleBinding": {"deployments[akv2k8s-envinjector] get", "secrets[akv2k8s-envinjector-serving-v1-ca] get delete", "secrets[akv2k8s-envinjector-serving] get list watch update",
			"services[akv2k8s-envinjector] get"},
	}, rules(t, render(t), "akv2k8s-envinjector"))
}

// kubectl apply --namespace refuses an object of another namespace.
func TestEveryObjectIsInTheNamespaceOfTheRelease(t *testing.T) {
	for name, object := range render(t) {
		assert.Contains(t, []string{"", "akv2k8s"}, object.GetNamespace(), name)
	}
}

func TestWorkloadsAreTouchedOnlyWhereThatIsSwitchedOn(t *testing.T) {
	on := render(t, "controller.rolloutRestart.enabled=true", "controller.rolloutRestart.window=5s")
	assert.Subset(t, rules(t, on, "akv2k8s-controller")["ClusterRoleBinding"], []string{"deployments get list patch", "statefulsets get list patch", "daemonsets get list patch"})
	assert.Subset(t, on.at(t, controllerDeployment, "spec", "template", "spec", "containers", "args"), []any{"--rollout-restart=true", "--rollout-restart-window=5s"})
	assert.Equal(t, []any{"Deny"}, on.at(t, "ValidatingAdmissionPolicyBinding/akv2k8s-restart", "spec", "validationActions"))
	assert.NotContains(t, rules(t, on, "akv2k8s-controller")["ClusterRoleBinding"], "rollouts get list patch", "only where it is asked for")
	assert.NotContains(t, on, "ValidatingAdmissionPolicy/akv2k8s-restart-rollouts")
	argo := render(t, "controller.rolloutRestart.enabled=true", "controller.rolloutRestart.argoRollouts=true", "controller.rolloutRestart.maxConcurrent=3")
	assert.Contains(t, rules(t, argo, "akv2k8s-controller")["ClusterRoleBinding"], "rollouts get list patch")
	assert.Subset(t, argo.at(t, controllerDeployment, "spec", "template", "spec", "containers", "args"), []any{"--rollout-restart-max-concurrent=3", "--rollout-restart-argo-rollouts=true"})
	assert.Equal(t, []any{"Deny"}, argo.at(t, "ValidatingAdmissionPolicyBinding/akv2k8s-restart-rollouts", "spec", "validationActions"))
	for _, off := range []objects{render(t), render(t, "controller.rolloutRestart.argoRollouts=true")} {
		for name := range off {
			assert.NotContains(t, name, "restart")
		}
	}
}

func TestResourcesThatPodsUseAreWatchedUnlessThatIsSwitchedOff(t *testing.T) {
	args := func(set ...string) any {
		return render(t, set...).at(t, controllerDeployment, "spec", "template", "spec", "containers", "args")
	}
	assert.Subset(t, args(), []any{"--watch-injected=true"})
	assert.Subset(t, args("controller.watchInjected=false"), []any{"--watch-injected=false"})
	assert.Equal(t, rules(t, render(t), "akv2k8s-controller"), rules(t, render(t, "controller.watchInjected=false"), "akv2k8s-controller"), "it needs no right more")
}

func TestPodsThatReadForThemselvesMayReadOneResourceAtATime(t *testing.T) {
	assert.Equal(t, map[string][]string{"ClusterRoleBinding": {"azurekeyvaultsecrets get"}}, rules(t, render(t), "system:serviceaccounts"))
	assert.Equal(t, map[string][]string{"RoleBinding": {"azurekeyvaultsecrets get"}}, rules(t, render(t, "watchAllNamespaces=false"), "system:serviceaccounts"))
	assert.NotContains(t, render(t, "env_injector.rbacSubjects=null"), "ClusterRoleBinding/akv2k8s-envinjector-subjects")
	off := render(t, "env_injector.authService=false")
	assert.Contains(t, off.at(t, injectorDeployment, "spec", "template", "spec", "containers", "args"), "--auth-service=false")
	for _, port := range off.at(t, "Service/akv2k8s-envinjector", "spec", "ports").([]any) {
		assert.NotEqual(t, "auth-tls", port.(map[string]any)["name"], "what is off is not served")
	}
}

func TestServiceAccountsOfTenantsAreUsedOnlyIfTheyAreNamed(t *testing.T) {
	for name := range render(t) {
		assert.NotContains(t, name, "identity")
	}
	named := render(t, "identity.serviceAccounts[0].namespace=team", "identity.serviceAccounts[0].names={reader,writer}")
	for _, account := range []string{"akv2k8s-controller", "akv2k8s-envinjector"} {
		assert.Subset(t, rules(t, named, account)["RoleBinding"], []string{"serviceaccounts[reader] get", "serviceaccounts/token[reader] create"})
		assert.NotContains(t, strings.Join(rules(t, named, account)["ClusterRoleBinding"], " "), "serviceaccounts")
	}
	assert.Equal(t, "team", named["Role/akv2k8s-identity"].GetNamespace())
	byDefault := render(t, "identity.serviceAccounts[0].namespace=team", "identity.serviceAccounts[0].default=reader")
	assert.Subset(t, rules(t, byDefault, "akv2k8s-controller")["RoleBinding"], []string{"serviceaccounts/token[reader] create"})
	for _, deployment := range []string{controllerDeployment, injectorDeployment} {
		assert.Contains(t, byDefault.at(t, deployment, "spec", "template", "spec", "containers", "args"), "--default-identity=team=reader")
	}
	every := render(t, "identity.allNamespaces=true")
	assert.Subset(t, rules(t, every, "akv2k8s-controller")["ClusterRoleBinding"], []string{"serviceaccounts get", "serviceaccounts/token create"})
	for _, all := range []objects{named, every} {
		assert.Contains(t, all, "ValidatingAdmissionPolicy/akv2k8s-identity", "a role can't say what a token is for")
		assert.Equal(t, []any{"Deny"}, all.at(t, "ValidatingAdmissionPolicyBinding/akv2k8s-identity", "spec", "validationActions"))
		for _, deployment := range []string{controllerDeployment, injectorDeployment} {
			assert.Contains(t, all.at(t, deployment, "spec", "template", "spec", "containers", "args"), "--identities=true")
		}
	}
}

func TestVaultRulesReachBothComponents(t *testing.T) {
	all := render(t, "vaultRules[0].namespaces={team-*}", "vaultRules[0].vaults={kv-team}")
	for _, deployment := range []string{controllerDeployment, injectorDeployment} {
		args := all.at(t, deployment, "spec", "template", "spec", "containers", "args").([]any)
		i := slices.IndexFunc(args, func(a any) bool { return strings.HasPrefix(a.(string), "--vault-rules=") })
		require.GreaterOrEqual(t, i, 0)
		rules, err := rule.ParseRules(strings.TrimPrefix(args[i].(string), "--vault-rules="))
		require.NoError(t, err)
		assert.NoError(t, rules.CheckAccess("team-a", "kv-team"))
		assert.Error(t, rules.CheckAccess("other", "kv-team"))
	}
}

func TestExceptionsOfAadPodIdentitySelectOurPods(t *testing.T) {
	assert.NotContains(t, render(t), "AzurePodIdentityException/akv2k8s-controller-exception")
	all := render(t, "addAzurePodIdentityException=true")
	for exception, deployment := range map[string]string{"akv2k8s-controller-exception": controllerDeployment, "akv2k8s-env-injector-exception": injectorDeployment} {
		assert.Equal(t, "akv2k8s", all["AzurePodIdentityException/"+exception].GetNamespace())
		labels := all.at(t, "AzurePodIdentityException/"+exception, "spec", "podLabels").(map[string]any)
		assert.Len(t, labels, 1, "aad-pod-identity excepts a pod that has any of the labels")
		component := all.at(t, deployment, "spec", "selector", "matchLabels").(map[string]any)["app.kubernetes.io/component"]
		assert.Equal(t, component, labels["app.kubernetes.io/component"])
	}
	bound := render(t, "addAzurePodIdentityException=true", "env_injector.podLabels.aadpodidbinding=id1")
	assert.NotContains(t, bound, "AzurePodIdentityException/akv2k8s-env-injector-exception", "who is bound to an identity wants its tokens")
	assert.Contains(t, bound, "AzurePodIdentityException/akv2k8s-controller-exception")
	for component, deployment := range map[string]string{"controller": controllerDeployment, "env_injector": injectorDeployment} {
		assert.Equal(t, "id1", render(t, component+".podLabels.aadpodidbinding=id1").at(t, deployment, "spec", "template", "metadata", "labels", "aadpodidbinding"))
	}
}

func TestOneNamespaceAlone(t *testing.T) {
	all := render(t, "watchAllNamespaces=false")
	assert.Equal(t, []string{"customresourcedefinitions[azurekeyvaultsecrets.spv.no] get"}, rules(t, all, "akv2k8s-controller")["ClusterRoleBinding"])
	assert.NotContains(t, rules(t, render(t, "watchAllNamespaces=false", "crds.upgrade=false"), "akv2k8s-controller"), "ClusterRoleBinding", "nothing of the cluster's is needed")
	assert.Equal(t, []string{"endpointslices[kubernetes] get", "mutatingwebhookconfigurations[akv2k8s-envinjector] get list watch patch", "namespaces[akv2k8s] get", "services[kubernetes] get", "tokenreviews create"},
		rules(t, all, "akv2k8s-envinjector")["ClusterRoleBinding"])
	assert.Equal(t, "akv2k8s", all.at(t, webhook, "webhooks", "namespaceSelector", "matchLabels", "kubernetes.io/metadata.name"))
}

func TestTheAPIServersCertificateMayBeAskedFor(t *testing.T) {
	env := func(set ...string) []any {
		return render(t, set...).at(t, injectorDeployment, "spec", "template", "spec", "containers", "env").([]any)
	}
	wanted := map[string]any{"name": "WEBHOOK_CLIENT_CA", "value": "-----BEGIN CERTIFICATE-----"}
	assert.Contains(t, env("env_injector.clientCA=-----BEGIN CERTIFICATE-----"), wanted)
	for _, variable := range env() {
		assert.NotEqual(t, "WEBHOOK_CLIENT_CA", variable.(map[string]any)["name"])
	}
}

func TestSourcesOfReferencesAreReadWhereThatIsAllowed(t *testing.T) {
	for set, want := range map[string]map[string]bool{"env_injector.sourceNamespaces={*}": {"ClusterRoleBinding": true}, "env_injector.sourceNamespaces={team}": {"RoleBinding": true},
		"env_injector.sourceNamespaces=null": {}} {
		all := render(t, set)
		for _, kind := range []string{"ClusterRoleBinding", "RoleBinding"} {
			_, there := all[kind+"/akv2k8s-envinjector-sources"]
			assert.Equal(t, want[kind], there, "%s %s", set, kind)
		}
		if set == "env_injector.sourceNamespaces={team}" {
			assert.Equal(t, "team", all["RoleBinding/akv2k8s-envinjector-sources"].GetNamespace())
		}
	}
	one := render(t, "watchAllNamespaces=false")
	assert.Equal(t, "akv2k8s", one["RoleBinding/akv2k8s-envinjector-sources"].GetNamespace())
	assert.Contains(t, one, "Role/akv2k8s-envinjector-sources")
}

func TestPodsOfV1AreServedOnlyWhereThatIsSwitchedOn(t *testing.T) {
	for name := range render(t) {
		assert.NotContains(t, name, "legacy")
	}
	for _, arg := range render(t).at(t, injectorDeployment, "spec", "template", "spec", "containers", "args").([]any) {
		assert.NotContains(t, arg, "legacy")
	}
	on := render(t, "env_injector.legacyAuthService.enabled=true", "env_injector.legacyAuthService.upgradeTime=1m")
	assert.Subset(t, on.at(t, injectorDeployment, "spec", "template", "spec", "containers", "args"), []any{"--legacy-auth-service", "--legacy-upgrade-time=1m"})
	may := rules(t, on, "akv2k8s-envinjector")
	assert.Contains(t, may["RoleBinding"], "secrets[akv2k8s-envinjector-ca] get", "the key of the older CA, by name")
	assert.Contains(t, may["ClusterRoleBinding"], "secrets get patch")
	assert.Contains(t, on, "ValidatingAdmissionPolicy/akv2k8s-envinjector-legacy", "a role can't say what is changed")
	assert.Equal(t, []any{"Deny"}, on.at(t, "ValidatingAdmissionPolicyBinding/akv2k8s-envinjector-legacy", "spec", "validationActions"))
	assert.Equal(t, "akv2k8s-envinjector-legacy", on.at(t, "ValidatingAdmissionPolicyBinding/akv2k8s-envinjector-legacy", "spec", "policyName"))

	some := render(t, "env_injector.legacyAuthService.enabled=true", "env_injector.legacyAuthService.namespaces={team}")
	assert.NotContains(t, rules(t, some, "akv2k8s-envinjector")["ClusterRoleBinding"], "secrets get patch")
	assert.Equal(t, "team", some["RoleBinding/akv2k8s-envinjector-legacy"].GetNamespace())
	one := render(t, "env_injector.legacyAuthService.enabled=true", "watchAllNamespaces=false")
	assert.NotContains(t, rules(t, one, "akv2k8s-envinjector")["ClusterRoleBinding"], "secrets get patch")
	assert.Equal(t, "akv2k8s", one["RoleBinding/akv2k8s-envinjector-legacy"].GetNamespace())
	assert.Contains(t, one, "Role/akv2k8s-envinjector-legacy")
}

func TestAComponentsValueOverridesTheGlobalOne(t *testing.T) {
	metrics := func(set ...string) any {
		env := render(t, set...).at(t, controllerDeployment, "spec", "template", "spec", "containers", "env").([]any)
		i := slices.IndexFunc(env, func(v any) bool { return v.(map[string]any)["name"] == "METRICS_ENABLED" })
		require.GreaterOrEqual(t, i, 0)
		return env[i].(map[string]any)["value"]
	}
	assert.Equal(t, "false", metrics())
	assert.Equal(t, "true", metrics("global.metrics.enabled=true"))
	assert.Equal(t, "false", metrics("global.metrics.enabled=true", "controller.metrics.enabled=false"), "false too")
	args := render(t, "global.logLevel=debug", "env_injector.logLevel=trace").at(t, injectorDeployment, "spec", "template", "spec", "containers", "args")
	assert.Contains(t, args, "--log-level=trace")
}

func TestPartsCanBeLeftOut(t *testing.T) {
	all := render(t, "env_injector.enabled=false")
	for name := range all {
		assert.NotContains(t, name, "envinjector")
	}
	for name := range render(t, "controller.enabled=false") {
		assert.NotContains(t, name, "controller")
		assert.NotContains(t, name, "status-key")
	}
}

func TestExtraVolumesReachBothComponents(t *testing.T) {
	for component, deployment := range map[string]string{"controller": controllerDeployment, "env_injector": injectorDeployment} {
		all := render(t, "global.keyVaultAuth=environment", component+".extraVolumes[0].name=cert", component+".extraVolumes[0].secret.secretName=s",
			component+".extraVolumeMounts[0].name=cert", component+".extraVolumeMounts[0].mountPath=/cert")
		assert.Equal(t, "s", all.at(t, deployment, "spec", "template", "spec", "volumes", "secret", "secretName"))
		assert.Equal(t, "/cert", all.at(t, deployment, "spec", "template", "spec", "containers", "volumeMounts", "mountPath"))
	}
}

func TestACloudOfOnesOwnReachesBothComponents(t *testing.T) {
	all := render(t, "global.customCloud.authority=https://login.private.example", "global.customCloud.vaultDNSSuffix=vault.private.example")
	text, _, err := unstructured.NestedString(all["ConfigMap/akv2k8s-cloud"].Object, "data", "cloud.json")
	require.NoError(t, err)
	c, err := cloud.ParseCustom([]byte(text))
	require.NoError(t, err)
	assert.Equal(t, "https://vault.private.example/.default", c.VaultScope)
	for _, deployment := range []string{controllerDeployment, injectorDeployment} {
		env := all.at(t, deployment, "spec", "template", "spec", "containers", "env")
		assert.Contains(t, env, map[string]any{"name": "AZURE_ENVIRONMENT", "value": "AzureStackCloud"})
		assert.Contains(t, env, map[string]any{"name": "AZURE_ENVIRONMENT_FILEPATH", "value": "/etc/akv2k8s/cloud/cloud.json"})
	}
	assert.NotContains(t, render(t), "ConfigMap/akv2k8s-cloud")
}

// cloudConfig reads azure.json as the product does.
func cloudConfig(text string) (cloud.AzureJSON, error) { return cloud.ParseAzureJSON([]byte(text)) }

func TestAForgottenLabelOfWorkloadIdentityIsToldToTheProgram(t *testing.T) {
	for component, name := range map[string]string{"controller": controllerDeployment, "env_injector": injectorDeployment} {
		annotated := component + `.serviceAccount.annotations.azure\.workload\.identity/client-id=id1`
		told := map[string]any{"name": "AKV2K8S_SERVICE_ACCOUNT_CLIENT_ID", "value": "id1"}
		env := func(set ...string) any {
			return render(t, set...).at(t, name, "spec", "template", "spec", "containers", "env")
		}
		assert.Contains(t, env(annotated), told, name)
		assert.NotContains(t, env(annotated, component+`.podLabels.azure\.workload\.identity/use="true"`), told, name)
		assert.NotContains(t, env(), told, name)
	}
}

func TestCallsOfVaultsAreSharedOutAmongThoseWhoRead(t *testing.T) {
	args := func(name string, set ...string) []any {
		return render(t, set...).at(t, name, "spec", "template", "spec", "containers", "args").([]any)
	}
	for _, deployment := range []string{controllerDeployment, injectorDeployment} {
		assert.Subset(t, args(deployment), []any{"--vault-limit=3600", "--subscription-limit=18000", "--readers=3"})
		assert.Subset(t, args(deployment, "vaultLimits.perVault=100", "vaultLimits.perSubscription=20000000", "env_injector.replicaCount=5"),
			[]any{"--vault-limit=100", "--subscription-limit=20000000", "--readers=6"})
	}
	for _, deployment := range []string{controllerDeployment, injectorDeployment} {
		assert.Contains(t, args(deployment, "vaults.kv-one.fallback=kv-two"), "--vault-fallback=kv-one=kv-two")
	}
	assert.Contains(t, args(controllerDeployment, "env_injector.enabled=false"), "--readers=1")
	assert.Contains(t, args(controllerDeployment, "env_injector.authService=false"), "--readers=1", "pods that read for themselves are not counted")
	assert.Contains(t, args(injectorDeployment, "controller.enabled=false"), "--readers=2")
}
