package chart

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// podTemplates are where each kind of object has its pods.
func podTemplates() map[string]struct {
	apiVersion, resource string
	path                 []string
} {
	type kind = struct {
		apiVersion, resource string
		path                 []string
	}
	template := []string{"spec", "template"}
	return map[string]kind{
		"Pod":                   {"v1", "pods", nil},
		"ReplicationController": {"v1", "replicationcontrollers", template},
		"Deployment":            {"apps/v1", "deployments", template},
		"StatefulSet":           {"apps/v1", "statefulsets", template},
		"DaemonSet":             {"apps/v1", "daemonsets", template},
		"ReplicaSet":            {"apps/v1", "replicasets", template},
		"Job":                   {"batch/v1", "jobs", template},
		"CronJob":               {"batch/v1", "cronjobs", []string{"spec", "jobTemplate", "spec", "template"}},
	}
}

// container has variables, given as NAME=VALUE.
func container(name string, variables ...string) map[string]any {
	env := []any{map[string]any{"name": "PLAIN", "value": "text"}, map[string]any{"name": "FROM", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "metadata.name"}}}}
	for _, variable := range variables {
		key, value, _ := strings.Cut(variable, "=")
		env = append(env, map[string]any{"name": key, "value": value})
	}
	return map[string]any{"name": name, "image": "web:1", "env": env}
}

// podsOf is the creation of an object of the kind in a namespace, whose pods have these fields in their spec, and
// labels.
func podsOf(t *testing.T, kind, namespace string, spec, labels map[string]any) write {
	t.Helper()
	k, ok := podTemplates()[kind]
	require.True(t, ok, kind)
	object := bare(k.apiVersion, kind, namespace, "web")
	if labels != nil {
		setField(object, labels, append(append([]string{}, k.path...), "metadata", "labels")...)
	}
	setField(object, spec, append(append([]string{}, k.path...), "spec")...)
	group, _, found := strings.Cut(k.apiVersion, "/")
	if !found {
		group = ""
	}
	return write{operation: admission.Create, new: object, group: group, resource: k.resource, account: "someone"}
}

func spec(containers ...any) map[string]any { return map[string]any{"containers": containers} }

// someNamespaces are one with the label, one without it, and one of the system.
func someNamespaces() []*corev1.Namespace {
	on := map[string]string{"azure-key-vault-env-injection": "enabled"}
	off := map[string]string{"azure-key-vault-env-injection": "enabled", "team": "b"}
	return []*corev1.Namespace{namespaceWith("on", on), namespaceWith("plain", nil), namespaceWith("kube-system", on), namespaceWith("team-b", off),
		namespaceWith("akv2k8s", on), {ObjectMeta: namespaceWith("bare", nil).ObjectMeta}}
}

// warned admits a write that nothing may refuse, and gives the one warning, or "".
func (c *admissionChain) warned(t *testing.T, w write) string {
	t.Helper()
	warnings, err := c.admit(t, w)
	require.NoError(t, err, "warnings refuse nothing")
	require.LessOrEqual(t, len(warnings), 1, "one warning says it")
	if len(warnings) == 0 {
		return ""
	}
	_, text, _ := strings.Cut(warnings[0], ": ")
	return text
}

func TestAReferenceWhereNothingIsInjectedIsWarnedAbout(t *testing.T) {
	chain := newAdmissionChain(t, drawn(t), someNamespaces()...)
	refers := spec(container("sidecar"), container("web", "DB=db@azurekeyvault", "OTHER=tls@azurekeyvault?tls.crt"))
	initial := map[string]any{"containers": []any{container("web")}, "initContainers": []any{container("first", "DB=db@azurekeyvault")}}
	for kind := range podTemplates() {
		says := chain.warned(t, podsOf(t, kind, "plain", refers, nil))
		assert.Contains(t, says, "container web (DB, OTHER)", kind)
		assert.Contains(t, says, "kubectl label namespace plain azure-key-vault-env-injection=enabled", kind)
		assert.NotContains(t, says, "@azurekeyvault", "%s: a value may be a secret", kind)
		assert.Contains(t, chain.warned(t, podsOf(t, kind, "plain", initial, nil)), "container first (DB)", kind)
		assert.Contains(t, chain.warned(t, podsOf(t, kind, "kube-system", refers, nil)), "system namespaces", kind)
		assert.Empty(t, chain.warned(t, podsOf(t, kind, "plain", spec(container("web")), nil)), kind)
		assert.Empty(t, chain.warned(t, podsOf(t, kind, "plain", refers, map[string]any{"akv2k8s.io/inject": "false"})), "%s: it is left alone on purpose", kind)
		assert.Empty(t, chain.warned(t, podsOf(t, kind, "plain", map[string]any{}, nil)), "%s without containers", kind)
		if kind != "Pod" {
			assert.Empty(t, chain.warned(t, podsOf(t, kind, "on", refers, nil)), kind)
		}
	}
	for _, value := range []string{"db@azurekeyvault\n", " db@azurekeyvault", `"db@azurekeyvault"`, "a b@azurekeyvault", "@azurekeyvault?", "$(NAME)@azurekeyvault"} {
		assert.NotEmpty(t, chain.warned(t, podsOf(t, "Deployment", "plain", spec(container("web", "DB="+value)), nil)), "%q", value)
	}
	edited := podsOf(t, "Deployment", "plain", refers, nil)
	edited.operation, edited.old = admission.Update, edited.new
	assert.Contains(t, chain.warned(t, edited), "container web", "each apply says it")
	for name, user := range map[string]string{"replicaset": "system:serviceaccount:kube-system:deployment-controller", "pod": "system:serviceaccount:kube-system:replicaset-controller"} {
		made := podsOf(t, map[string]string{"replicaset": "ReplicaSet", "pod": "Pod"}[name], "plain", refers, nil)
		made.account = user
		assert.Empty(t, chain.warned(t, made), "the author of the Deployment was warned")
	}
}

func TestAPodThatTheWebhookDidNotInjectIsWarnedAbout(t *testing.T) {
	chain := newAdmissionChain(t, drawn(t, "env_injector.failurePolicy=Ignore"), someNamespaces()...)
	raw := container("web", "DB=db@azurekeyvault")
	assert.Contains(t, chain.warned(t, podsOf(t, "Pod", "on", spec(raw), nil)), "the API server did not call the env-injector, or got no answer")
	byJob := podsOf(t, "Pod", "on", spec(raw), nil)
	byJob.account = "system:serviceaccount:kube-system:job-controller"
	assert.NotEmpty(t, chain.warned(t, byJob), "nobody was warned before")
	wrapped := container("web", "DB=db@azurekeyvault")
	wrapped["volumeMounts"] = []any{map[string]any{"name": wire.VolumeInjector, "mountPath": wire.MountInjector}}
	assert.Empty(t, chain.warned(t, podsOf(t, "Pod", "on", spec(wrapped), nil)), "this one was injected")
	debugged := podsOf(t, "Pod", "plain", map[string]any{"containers": []any{container("web")}, "ephemeralContainers": []any{raw}}, nil)
	debugged.operation, debugged.subresource, debugged.old = admission.Update, "ephemeralcontainers", debugged.new
	assert.NotEmpty(t, chain.warned(t, debugged), "an ephemeral container")
}

func TestAMisspeltReferenceInATemplateIsWarnedAbout(t *testing.T) {
	chain := newAdmissionChain(t, drawn(t), someNamespaces()...)
	for value, wrong := range map[string]bool{
		"db@azurekeyvault": false, "db@azurekeyvault?tls.crt": false, "team.db@azurekeyvault?": false, "Upper@azurekeyvault?_x": false, "user@example.com": false,
		"see db@azurekeyvault for more": false, "db@azurekeyvaults": false, "$(NAME)@azurekeyvault": false,
		"a b@azurekeyvault": true, "ns/db@azurekeyvault": true, "@azurekeyvault": true, "-db@azurekeyvault": true, "db@azurekeyvault?a b": true, "a..b@azurekeyvault": true,
		"postgres://user:pass@db@azurekeyvault": true, strings.Repeat("a", 700) + "@azurekeyvault": true,
	} {
		says := chain.warned(t, podsOf(t, "Deployment", "on", spec(container("web", "DB="+value)), nil))
		assert.Equal(t, wrong, strings.Contains(says, "is not a valid reference to Azure Key Vault"), "%q: %s", value, says)
		if wrong {
			_, err := envref.Parse(value)
			assert.Error(t, err, "%q is none for the webhook either", value)
			assert.NotContains(t, says, "pass", "a value may be a secret")
		}
	}
}

func TestWarningsSayWhichValueOfTheChartLeavesAPodOut(t *testing.T) {
	refers := spec(container("web", "DB=db@azurekeyvault"))
	alone := newAdmissionChain(t, drawn(t, "watchAllNamespaces=false"), someNamespaces()...)
	assert.Contains(t, alone.warned(t, podsOf(t, "Deployment", "on", refers, nil)), "injects only in namespace akv2k8s (value watchAllNamespaces)")
	assert.Empty(t, alone.warned(t, podsOf(t, "Deployment", "akv2k8s", refers, nil)))
	const ns, pods = "env_injector.namespaceSelector.matchExpressions[0].", "env_injector.objectSelector.matchExpressions[0]."
	for _, c := range []struct {
		set    []string
		says   string
		labels map[string]any
	}{
		{with(ns+"key=team", ns+"operator=Exists"), "env_injector.namespaceSelector", nil},
		{with(ns+"key=team", ns+"operator=In", ns+"values={a,b}"), "env_injector.namespaceSelector", nil},
		{with(ns+"key=team", ns+"operator=NotIn", ns+"values={a,b}"), "", nil},
		{with(ns+"key=team", ns+"operator=DoesNotExist"), "", nil},
		{with(pods+"key=team", pods+"operator=Exists"), "env_injector.objectSelector", nil},
		{with(pods+"key=team", pods+"operator=In", pods+"values={a}"), "", map[string]any{"team": "a"}},
		{with(pods+"key=team", pods+"operator=DoesNotExist"), "env_injector.objectSelector", map[string]any{"team": "a"}},
		{with("env_injector.namespaceLabelSelector.label.name=inject.example/on", "env_injector.namespaceLabelSelector.label.value=yes"), "kubectl label namespace on inject.example/on=yes", nil},
	} {
		says := newAdmissionChain(t, drawn(t, c.set...), someNamespaces()...).warned(t, podsOf(t, "Deployment", "on", refers, c.labels))
		if c.says == "" {
			assert.Empty(t, says, c.set)
		} else {
			assert.Contains(t, says, c.says, c.set)
		}
	}
	for name := range drawn(t, "env_injector.referenceWarnings=false") {
		assert.NotContains(t, name, "references")
	}
}

// Two installations share a cluster by the label's value; each would tell the other's users to give their namespace
// away.
func TestTheNamespacesOfAnotherInstallationAreLeftToIt(t *testing.T) {
	const label = "azure-key-vault-env-injection"
	refers, misspelt := spec(container("web", "DB=db@azurekeyvault")), spec(container("web", "DB=a b@azurekeyvault"))
	settings := bare("v1", "ConfigMap", "team", "settings")
	settings.Object["data"] = map[string]any{"DB": "db@azurekeyvault"}
	for _, c := range []struct {
		ours, theirs string
		warns        bool
	}{
		{"enabled", "older", false}, {"older", "enabled", false}, {"blue", "green", false}, {"enabled", "disabled", false}, {"older", "true", false},
		{"enabled", "", true}, {"enabled", "Enabled", true}, {"enabled", "true", true}, {"enabled", "Yes", true}, {"enabled", "1", true}, {"Blue", "blue", true},
	} {
		chain := newAdmissionChain(t, drawn(t, "env_injector.namespaceLabelSelector.label.value="+c.ours), namespaceWith("team", map[string]string{label: c.theirs}))
		for kind, w := range map[string]write{
			"a Deployment": podsOf(t, "Deployment", "team", refers, nil), "a Pod": podsOf(t, "Pod", "team", refers, nil),
			"what is misspelt": podsOf(t, "Deployment", "team", misspelt, nil),
			"a ConfigMap":      {operation: admission.Create, new: settings.DeepCopy(), resource: "configmaps", account: "someone"},
		} {
			says := chain.warned(t, w)
			if c.warns {
				assert.Contains(t, says, "kubectl label namespace team "+label+"="+c.ours+" --overwrite", "%s where the label is %q", kind, c.theirs)
			} else {
				assert.Empty(t, says, "%s where the label is %q and ours is %q", kind, c.theirs, c.ours)
			}
		}
	}
}

func TestAConfigMapWithReferencesIsWarnedAboutWhereNothingIsInjected(t *testing.T) {
	chain := newAdmissionChain(t, drawn(t), someNamespaces()...)
	settings := func(namespace, value string) write {
		object := bare("v1", "ConfigMap", namespace, "settings")
		object.Object["data"] = map[string]any{"DB": value, "other": "text"}
		return write{operation: admission.Create, new: object, resource: "configmaps", account: "someone"}
	}
	for value, warns := range map[string]bool{"db@azurekeyvault": true, "db@azurekeyvault\n": true, `"db@azurekeyvault?x"`: true, "text": false,
		"a page about db@azurekeyvault": false, "a: b@azurekeyvault\nb: c": false, strings.Repeat("x", 1<<20): false} {
		assert.Equal(t, warns, strings.Contains(chain.warned(t, settings("plain", value)), "keys DB: "), "%.40q", value)
		assert.Empty(t, chain.warned(t, settings("on", value)))
	}
	assert.Empty(t, chain.warned(t, write{operation: admission.Create, new: bare("v1", "ConfigMap", "plain", "empty"), resource: "configmaps", account: "someone"}))
}

// What an API server can't evaluate within its budget it leaves out, since these policies ignore failures: then nobody
// is warned.
func TestWarningsAreGivenForLargeObjectsToo(t *testing.T) {
	chain := newAdmissionChain(t, drawn(t), someNamespaces()...)
	var many []any
	for i := range 50 {
		var variables []string
		for j := range 100 {
			variables = append(variables, fmt.Sprintf("VARIABLE_%d_%d=name-%d@azurekeyvault?key", i, j, j))
		}
		many = append(many, container(fmt.Sprintf("container-%d", i), variables...))
	}
	says := chain.warned(t, podsOf(t, "Deployment", "plain", spec(many...), nil))
	assert.Contains(t, says, "container container-0 (VARIABLE_0_0, ")
	assert.Less(t, len(says), 1000, "the names are cut")
	large := spec(container("web", "LARGE="+strings.Repeat("x", 1<<20), "DB=db@azurekeyvault"))
	assert.Contains(t, chain.warned(t, podsOf(t, "Deployment", "plain", large, nil)), "container web (DB)")
	config := bare("v1", "ConfigMap", "plain", "settings")
	data := map[string]any{"DB": "db@azurekeyvault"}
	for i := range 5000 {
		data[fmt.Sprintf("key-%d", i)] = strings.Repeat("x", 180)
	}
	config.Object["data"] = data
	assert.Contains(t, chain.warned(t, write{operation: admission.Create, new: config, resource: "configmaps", account: "someone"}), "keys DB: ")
}
