package chart

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestPartsThatAreOffHaveNoRights(t *testing.T) {
	const injector = "akv2k8s-envinjector"
	all := func(set ...string) string {
		bound := rules(t, drawn(t, set...), injector)
		return strings.Join(slices.Concat(bound["ClusterRoleBinding"], bound["RoleBinding"]), "\n")
	}
	byDefault := all("identity.allNamespaces=true")
	off := all("identity.allNamespaces=true", "env_injector.authService=false")
	for _, right := range []string{"tokenreviews create", "pods get", "events create patch", "azurekeyvaultsecrets get", "services[akv2k8s-envinjector] get", "serviceaccounts/token create"} {
		assert.Contains(t, byDefault, right)
		assert.NotContains(t, off, right, "it is the auth service's")
	}
	assert.Contains(t, off, "namespaces get", "the webhook asks for the label too")
	for _, set := range [][]string{{"env_injector.certificate.useCertManager=true"}, customCertificate()} {
		assert.Contains(t, all(set...), "mutatingwebhookconfigurations[akv2k8s-envinjector] get list watch\n", "others write the CA")
	}
	inherits := func(set ...string) string {
		return strings.Join(rules(t, drawn(t, set...), injector+"-inherit")["RoleBinding"], "\n")
	}
	assert.Contains(t, inherits(), "secrets[akv2k8s-envinjector-tls] get patch")
	assert.NotContains(t, inherits(customCertificate()...), "akv2k8s-envinjector-tls", "that Secret is the release's own")
}

func TestADrainNeverWaitsForTheOnlyReplica(t *testing.T) {
	for _, name := range []string{"controller", "envinjector"} {
		all := drawn(t, "controller.podDisruptionBudget.enabled=true", "env_injector.replicaCount=1")
		budget := all["PodDisruptionBudget/akv2k8s-"+name].Object["spec"].(map[string]any)
		assert.Equal(t, int64(1), budget["maxUnavailable"], name)
		assert.NotContains(t, budget, "minAvailable", name)
		assert.Equal(t, "AlwaysAllow", budget["unhealthyPodEvictionPolicy"], name)
	}
	own := drawn(t, "env_injector.podDisruptionBudget.minAvailable=2").at(t, "PodDisruptionBudget/akv2k8s-envinjector", "spec").(map[string]any)
	assert.Equal(t, int64(2), own["minAvailable"])
	assert.NotContains(t, own, "maxUnavailable")
	for set, warns := range map[string]bool{"": false, "minAvailable=1": false, "minAvailable=2": true, "minAvailable=100%": true, "minAvailable=50%": false, "minAvailable=0": false, "maxUnavailable=1": false,
		"minAvailable=1,env_injector.replicaCount=1": true, "minAvailable=50%,env_injector.replicaCount=1": true, "minAvailable=2,env_injector.podDisruptionBudget.enabled=false": false} {
		if set != "" {
			set = "env_injector.podDisruptionBudget." + set
		}
		assert.Equal(t, warns, strings.Contains(notes(t, set), "no node that runs one of its pods can be drained"), set)
	}
}

func TestMemoryIsLimitedAndProcessorTimeIsNot(t *testing.T) {
	for deployment, limit := range map[string]string{controllerDeployment: "512Mi", injectorDeployment: "256Mi"} {
		container := []string{"spec", "template", "spec", "containers"}
		all := drawn(t)
		assert.Equal(t, map[string]any{"requests": map[string]any{"cpu": "50m", "memory": "32Mi"}, "limits": map[string]any{"memory": limit}}, all.at(t, deployment, append(container, "resources")...))
		assert.Contains(t, all.at(t, deployment, append(container, "env")...),
			map[string]any{"name": "MEMORY_LIMIT", "valueFrom": map[string]any{"resourceFieldRef": map[string]any{"resource": "limits.memory"}}}, "src/telemetry reads it")
		own := drawn(t, "controller.resources.requests.cpu=1", "env_injector.resources.requests.cpu=1")
		assert.Equal(t, map[string]any{"requests": map[string]any{"cpu": int64(1)}}, own.at(t, deployment, append(container, "resources")...),
			"the user's replace them wholly, since a default above a limit of theirs would be refused")
	}
}

func TestPodsRunOnNodesOfLinux(t *testing.T) {
	all := drawn(t, "global.nodeSelector.pool=system", "controller.nodeSelector.pool=own", "global.tolerations[0].key=everywhere", "env_injector.tolerations[0].key=injector")
	nodes := func(all objects, name string) any { return all.at(t, name, "spec", "template", "spec", "nodeSelector") }
	for name, object := range all {
		if kind := object.GetKind(); kind == "Deployment" || kind == "Job" {
			assert.Equal(t, "linux", nodes(all, name).(map[string]any)["kubernetes.io/os"], name)
			assert.Contains(t, all.at(t, name, "spec", "template", "spec", "tolerations"), map[string]any{"key": "everywhere"}, name)
		}
	}
	assert.Equal(t, "own", nodes(all, controllerDeployment).(map[string]any)["pool"], "a component's label has priority")
	assert.Equal(t, "system", nodes(all, injectorDeployment).(map[string]any)["pool"])
	assert.Len(t, all.at(t, injectorDeployment, "spec", "template", "spec", "tolerations"), 2)
	out, err := draw(fromYAML(t, `global: {nodeSelector: {kubernetes.io/os: ""}}`))
	require.NoError(t, err)
	assert.NotContains(t, parse(t, out).at(t, controllerDeployment, "spec", "template", "spec"), "nodeSelector")
}

func TestTheCAIsKeptOnlyOnRequest(t *testing.T) {
	const secret = "Secret/akv2k8s-envinjector-serving"
	assert.Empty(t, drawn(t)[secret].GetAnnotations())
	assert.Equal(t, "keep", drawn(t, "env_injector.certificate.keep=true")[secret].GetAnnotations()["helm.sh/resource-policy"])
}

func TestRolesOfUsersAreAggregatedOnlyOnRequest(t *testing.T) {
	all := drawn(t, "global.rbac.aggregate=true")
	for role, rights := range map[string][]string{"view": {"get", "list", "watch"}, "edit": {"create", "update", "patch", "delete"}} {
		object := all["ClusterRole/akv2k8s-"+role]
		require.NotNil(t, object, role)
		assert.Equal(t, "true", object.GetLabels()["rbac.authorization.k8s.io/aggregate-to-"+role])
		var want []string
		for _, verb := range rights {
			want = append(want, "spv.no/azurekeyvaultsecrets "+verb)
		}
		assert.ElementsMatch(t, want, singles(t, object))
	}
	for name := range drawn(t) {
		assert.NotContains(t, []string{"ClusterRole/akv2k8s-view", "ClusterRole/akv2k8s-edit"}, name, "who may write resources may read vaults")
	}
}

func TestATeamWithoutRightsInTheClusterInstallsTheControllerAlone(t *testing.T) {
	content, err := os.ReadFile("../../examples/namespaced/values-without-cluster-rights.yaml")
	require.NoError(t, err)
	values := map[string]any{}
	require.NoError(t, yaml.Unmarshal(content, &values))
	out, err := draw(values)
	require.NoError(t, err)
	all := parse(t, out)
	assert.Contains(t, all, controllerDeployment)
	for name, object := range all {
		assert.Equal(t, "akv2k8s", object.GetNamespace(), "%s is of the cluster", name)
	}
}

// nulls are values.yaml's keys at every level, each as values with a null there.
func nulls(prefix []string, tree map[string]any) (all [][]string) {
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		path := append(slices.Clone(prefix), key)
		all = append(all, path)
		if inner, ok := tree[key].(map[string]any); ok {
			all = append(all, nulls(path, inner)...)
		}
	}
	return all
}

func TestANullAnywhereMeansTheDefaultOrIsAnsweredWithASentence(t *testing.T) {
	c, err := loaded()
	require.NoError(t, err)
	failures := regexp.MustCompile(`nil pointer|error calling (?:index|get|include|dig|range|eq|and|or|not|default|kindIs|list|set)\b.*: (?:[a-z ]+ )?nil|can't evaluate|wrong type|cannot index|YAML parse|unmarshal|<no value>`)
	var paths [][]string
	paths = append(paths, nulls(nil, c.Values)...)
	require.Greater(t, len(paths), 250)
	for _, base := range []func() map[string]any{func() map[string]any { return map[string]any{} }, func() map[string]any { return everything(t) }} {
		for _, path := range paths {
			values := base()
			inner := values
			for _, step := range path[:len(path)-1] {
				if _, ok := inner[step].(map[string]any); !ok {
					inner[step] = map[string]any{}
				}
				inner = inner[step].(map[string]any)
			}
			inner[path[len(path)-1]] = nil
			out, err := draw(values)
			if err != nil {
				assert.NotRegexp(t, failures, err.Error(), strings.Join(path, "."))
				assert.Regexp(t, `is missing: |values don't meet the specifications|incomplete|set `, err.Error(), strings.Join(path, "."))
				continue
			}
			assert.NotContains(t, out, "<no value>", path)
			if len(path) == 1 {
				assert.Empty(t, complaints(parse(t, out), "akv2k8s"), path)
			}
		}
	}
}

func TestEveryAlertLeadsToWhatToDoAboutIt(t *testing.T) {
	all := drawn(t, "global.metrics.enabled=true", "global.metrics.prometheusRule.enabled=true")
	groups, _, err := unstructured.NestedSlice(all["PrometheusRule/akv2k8s"].Object, "spec", "groups")
	require.NoError(t, err)
	page, err := os.ReadFile("../../docs/troubleshooting.md")
	require.NoError(t, err)
	alerts := groups[0].(map[string]any)["rules"].([]any)
	require.Greater(t, len(alerts), 8)
	for _, alert := range alerts {
		fields := alert.(map[string]any)
		url := fields["annotations"].(map[string]any)["runbook_url"]
		require.NotNil(t, url, fields["alert"])
		link, anchor, _ := strings.Cut(url.(string), "#")
		assert.Equal(t, "https://github.com/akv2k8s/akv2k8s/blob/v2.0.0/docs/troubleshooting.md", link)
		assert.Equal(t, strings.ToLower(fields["alert"].(string)), anchor)
		assert.Contains(t, string(page), "\n### "+fields["alert"].(string)+"\n")
	}
}

func TestTheDashboardIsOneForEachInstallation(t *testing.T) {
	board := func(set ...string) map[string]any {
		text := drawn(t, append(set, "global.metrics.enabled=true", "global.metrics.grafanaDashboard.enabled=true", "fullnameOverride="+map[bool]string{true: "other", false: "akv2k8s"}[len(set) > 0])...)
		for name, object := range text {
			if strings.HasSuffix(name, "-dashboard") {
				content, _, err := unstructured.NestedString(object.Object, "data", "akv2k8s.json")
				require.NoError(t, err)
				var dashboard map[string]any
				require.NoError(t, json.Unmarshal([]byte(content), &dashboard))
				return dashboard
			}
		}
		require.Fail(t, "there is no dashboard")
		return nil
	}
	one, other := board(), board("commonLabels.a=b")
	assert.Regexp(t, `^akv2k8s-[0-9a-f]{12}$`, one["uid"])
	assert.LessOrEqual(t, len(one["uid"].(string)), 40, "Grafana takes no more")
	assert.NotEqual(t, one["uid"], other["uid"])
	var variables []string
	for _, variable := range one["templating"].(map[string]any)["list"].([]any) {
		variables = append(variables, variable.(map[string]any)["name"].(string))
	}
	assert.Equal(t, []string{"datasource", "namespace", "vault"}, variables)
	content, err := json.Marshal(one["panels"])
	require.NoError(t, err)
	for _, variable := range variables {
		assert.Contains(t, string(content), "$"+map[bool]string{true: "{datasource}", false: variable}[variable == "datasource"], "it is used")
	}
	for _, panel := range one["panels"].([]any) {
		fields := panel.(map[string]any)
		steps, _, _ := unstructured.NestedSlice(fields, "fieldConfig", "defaults", "thresholds", "steps")
		assert.NotEmpty(t, steps, fields["title"])
		if fields["type"] == "table" {
			assert.NotEmpty(t, fields["transformations"], fields["title"])
		}
	}
}

func TestNotesCanBeFollowedWithoutACheckout(t *testing.T) {
	for _, set := range []string{"", "controller.enabled=false", "env_injector.authService=false", "env_injector.legacyAuthService.enabled=true", "watchAllNamespaces=false"} {
		text := notes(t, set)
		assert.NotRegexp(t, `(^|[^/\w])docs/`, text, "%s: a file of a checkout", set)
		assert.Contains(t, text, "https://github.com/akv2k8s/akv2k8s/blob/v2.0.0/docs/", set)
		assert.Contains(t, text, "az role assignment create --role \"Key Vault Secrets User\"", set)
		assert.Contains(t, text, "kind: AzureKeyVaultSecret", "%s: a reference needs one", set)
		assert.Contains(t, text, "Install it once in a cluster", set)
	}
	alone := notes(t, "controller.enabled=false")
	assert.NotContains(t, alone, "output:", "nobody would write it")
	assert.Contains(t, alone, "my-secret@azurekeyvault")
	assert.Contains(t, notes(t, "watchAllNamespaces=false"), "only in namespace akv2k8s")
}

func TestATagOrDigestOfOnesOwnIsTakenAsItIs(t *testing.T) {
	out, err := draw(set(t, []string{"global.fips=true", `controller.image.tag="mine"`, `env_injector.envImage.digest="sha256:` + strings.Repeat("a", 64) + `"`}))
	require.NoError(t, err)
	assert.Contains(t, out, "image: ghcr.io/akv2k8s/controller:mine\n")
	assert.Contains(t, out, "--env-image=ghcr.io/akv2k8s/env@sha256:aaa")
	assert.Contains(t, out, "image: ghcr.io/akv2k8s/env-injector:2.0.0-fips\n")
	assert.NotContains(t, out, "controller:2.0.0")
	assert.NotContains(t, out, "/env:2.0.0")
}
