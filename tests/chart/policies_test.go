package chart

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apiserver/pkg/admission"

	"github.com/akv2k8s/akv2k8s/src/rights"
)

// writes are what our code does with each right to write, by "role right". A right without an example here fails the
// test: then add what the code sends.
func writes() map[string][]write {
	const core, restart = "controller-sync /", "controller-sync apps/"
	all := map[string][]write{
		"controller-sync spv.no/azurekeyvaultsecrets/status patch":      {changing(bare("spv.no/v2beta1", "AzureKeyVaultSecret", "team", "db"), nil)},
		"controller-sync spv.no/azurekeyvaultsecrets/finalizers update": {changing(bare("spv.no/v2beta1", "AzureKeyVaultSecret", "team", "db"), nil)},
		"identity /serviceaccounts/token[reader] create":                {{operation: admission.Create, new: tokenRequest("team", "reader")}},
		"identity-all /serviceaccounts/token create":                    {{operation: admission.Create, new: tokenRequest("team", "reader")}},
		"injector-cluster authentication.k8s.io/tokenreviews create":    {create(bare("authentication.k8s.io/v1", "TokenReview", "", ""))},
		"injector /secrets[akv2k8s-envinjector-serving] update":         {changing(opaque("akv2k8s", "akv2k8s-envinjector-serving"), filled)},
		"injector /secrets[akv2k8s-envinjector-serving-v1-ca] delete": {
			{operation: admission.Delete, old: opaque("akv2k8s", "akv2k8s-envinjector-serving-v1-ca")}},
		"injector-legacy /secrets patch": {changing(v1Secret("akv2k8s-web"), newCA), changing(v1Secret("akv2k8s-other"), newCA)},
		"injector-cluster admissionregistration.k8s.io/mutatingwebhookconfigurations[akv2k8s-envinjector] patch": {
			changing(bare("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "", "akv2k8s-envinjector"), nil)},
		"controller coordination.k8s.io/leases create":                     {create(bare("coordination.k8s.io/v1", "Lease", "akv2k8s", "akv2k8s-controller"))},
		"controller coordination.k8s.io/leases[akv2k8s-controller] update": {changing(bare("coordination.k8s.io/v1", "Lease", "akv2k8s", "akv2k8s-controller"), nil)},
		"controller /secrets[akv2k8s-status-key] update":                   {changing(opaque("akv2k8s", "akv2k8s-status-key"), filled)},
		"inherit /secrets[akv2k8s-envinjector-ca] patch":                   {changing(opaque("akv2k8s", "akv2k8s-envinjector-ca"), kept)},
		"inherit /secrets[akv2k8s-envinjector-tls] patch":                  {changing(v1Secret("akv2k8s-envinjector-tls"), kept)},
		"inherit /secrets[akv2k8s-envinjector-serving-v1-ca] create":       {create(opaque("akv2k8s", "akv2k8s-envinjector-serving-v1-ca"))},
		"inherit /secrets[akv2k8s-envinjector-serving-v1-ca] patch":        {changing(opaque("akv2k8s", "akv2k8s-envinjector-serving-v1-ca"), filled)},
	}
	for _, verb := range []string{"create", "patch"} {
		name := "crds apiextensions.k8s.io/customresourcedefinitions[azurekeyvaultsecrets.spv.no] "
		definition := bare("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "azurekeyvaultsecrets.spv.no")
		all[name+verb] = []write{create(definition), changing(definition, nil)}
		for _, role := range []string{"controller-sync", "injector-inject", "controller"} {
			all[role+" events.k8s.io/events "+verb] = []write{create(bare("events.k8s.io/v1", "Event", "team", "e")), changing(bare("events.k8s.io/v1", "Event", "team", "e"), nil)}
		}
		all["controller /events "+verb] = []write{create(bare("v1", "Event", "akv2k8s", "e")), changing(bare("v1", "Event", "akv2k8s", "e"), nil)}
	}
	for _, kind := range []string{"Secret", "ConfigMap"} {
		output := bare("v1", kind, "team", "db")
		resource := core + strings.ToLower(kind) + "s "
		all[resource+"create"] = []write{create(output)}
		all[resource+"patch"] = []write{create(output), changing(output, filled)}
		all[resource+"delete"] = []write{{operation: admission.Delete, old: output}}
	}
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		all[restart+strings.ToLower(kind)+"s patch"] = []write{changing(workload(kind), restarted)}
	}
	all["controller-sync argoproj.io/rollouts patch"] = []write{changing(rollout(), rolloutRestarted)}
	return all
}

func create(object *unstructured.Unstructured) write {
	return write{operation: admission.Create, new: object}
}

// changing changes an object, or leaves it as it is.
func changing(object *unstructured.Unstructured, change func(*unstructured.Unstructured)) write {
	changed := object.DeepCopy()
	if change != nil {
		change(changed)
	}
	return write{operation: admission.Update, old: object, new: changed}
}

func bare(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

func opaque(namespace, name string) *unstructured.Unstructured {
	secret := bare("v1", "Secret", namespace, name)
	secret.Object["type"] = string(corev1.SecretTypeOpaque)
	return secret
}

// v1Secret is one that 1.8 made for a pod's certificate.
func v1Secret(name string) *unstructured.Unstructured {
	secret := bare("v1", "Secret", "team", name)
	secret.Object["type"] = string(corev1.SecretTypeTLS)
	secret.Object["data"] = map[string]any{"ca.crt": "b2xk", "tls.crt": "YQ==", "tls.key": "Yg=="}
	return secret
}

func setField(object *unstructured.Unstructured, value any, path ...string) {
	if err := unstructured.SetNestedField(object.Object, value, path...); err != nil {
		panic(err)
	}
}

func filled(o *unstructured.Unstructured) { setField(o, map[string]any{"key": "dmFsdWU="}, "data") }
func newCA(o *unstructured.Unstructured)  { setField(o, "bmV3", "data", "ca.crt") }
func kept(o *unstructured.Unstructured) {
	o.SetAnnotations(map[string]string{"helm.sh/resource-policy": "keep"})
}

func tokenRequest(namespace, account string) *unstructured.Unstructured {
	request := bare("authentication.k8s.io/v1", "TokenRequest", namespace, account)
	request.Object["spec"] = map[string]any{"audiences": []any{"api://AzureADTokenExchange"}, "expirationSeconds": int64(3600)}
	return request
}

// workload is one that allows restarts.
func workload(kind string) *unstructured.Unstructured {
	object := bare(appsv1.SchemeGroupVersion.String(), kind, "team", "web")
	object.SetAnnotations(map[string]string{"akv2k8s.io/restart": "true"})
	object.Object["spec"] = map[string]any{
		"selector": map[string]any{"matchLabels": map[string]any{"app": "web"}},
		"template": map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"app": "web"}, "annotations": map[string]any{"kept": "yes"}},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "web", "image": "web:1"}}},
		},
	}
	return object
}

func restarted(o *unstructured.Unstructured) {
	setField(o, "2026-01-01T00:00:00Z", "spec", "template", "metadata", "annotations", "akv2k8s.io/restartedAt")
}

// rollout is one of Argo that allows restarts, and has been restarted before.
func rollout() *unstructured.Unstructured {
	object := workload("Rollout")
	object.SetAPIVersion("argoproj.io/v1alpha1")
	setField(object, "2025-01-01T00:00:00Z", "spec", "restartAt")
	setField(object, map[string]any{"canary": map[string]any{"steps": []any{map[string]any{"setWeight": int64(20)}}}}, "spec", "strategy")
	setField(object, "Healthy", "status", "phase")
	return object
}

func rolloutRestarted(o *unstructured.Unstructured) {
	setField(o, "2026-01-01T00:00:00Z", "spec", "restartAt")
}

// accounts are the ServiceAccounts that a render binds a role to.
func accountsOf(t *testing.T, all objects, role string) []string {
	t.Helper()
	found := map[string]bool{}
	for _, binding := range all {
		if !strings.HasSuffix(binding.GetKind(), "RoleBinding") {
			continue
		}
		ref, _, err := unstructured.NestedStringMap(binding.Object, "roleRef")
		require.NoError(t, err)
		if ref["name"] != role {
			continue
		}
		subjects, _, err := unstructured.NestedSlice(binding.Object, "subjects")
		require.NoError(t, err)
		for _, subject := range subjects {
			if fields := subject.(map[string]any); fields["kind"] == "ServiceAccount" {
				found["system:serviceaccount:"+fields["namespace"].(string)+":"+fields["name"].(string)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// changes says whether a verb changes something.
func changes(right string) bool {
	return slices.ContainsFunc([]string{" create", " update", " patch", " delete", " deletecollection"}, func(verb string) bool { return strings.HasSuffix(right, verb) })
}

// object splits a right "group/resource/subresource[name] verb".
func (w write) of(right string) write {
	what, _, _ := strings.Cut(right, " ")
	what, _, _ = strings.Cut(what, "[")
	group, resource, _ := strings.Cut(what, "/")
	w.group = group
	w.resource, w.subresource, _ = strings.Cut(resource, "/")
	return w
}

func TestOurPoliciesAllowEveryWriteThatOurRightsAllow(t *testing.T) {
	examples, used, evaluated := writes(), map[string]bool{}, 0
	installations := settings()
	installations["a shared name"] = setting{set: with(`env_injector.legacyAuthService.enabled=true`, `controller.rolloutRestart.enabled=true`, `controller.rolloutRestart.argoRollouts=true`,
		`identity.allNamespaces=true`)}
	for name, s := range installations {
		all := drawn(t, s.set...)
		chain := newAdmissionChain(t, all, namespaceWith("akv2k8s", nil), namespaceWith("team", nil))
		for _, role := range rights.AllRoles() {
			if !s.has(t, role.Condition) {
				continue
			}
			for _, rule := range role.Rules {
				for _, right := range rule.Permissions(s.alone) {
					if !s.has(t, rule.Condition) || !changes(right) {
						continue
					}
					key := role.ID + " " + right
					require.Contains(t, examples, key, "add what our code writes with this right")
					used[key] = true
					for _, account := range accountsOf(t, all, role.ExampleName()) {
						for _, w := range examples[key] {
							w = w.of(right)
							w.account = account
							warnings, err := chain.admit(t, w)
							assert.NoError(t, err, "%s: %s may %s, and a policy of ours forbids %s", name, account, right, w.operation)
							assert.Empty(t, warnings, "%s: %s", name, key)
							evaluated++
						}
					}
				}
			}
		}
	}
	for key := range examples {
		assert.True(t, used[key], "no installation has the right %s", key)
	}
	assert.Greater(t, evaluated, 100)
}

func TestOurPoliciesForbidWhatOurRightsAllowTooWidely(t *testing.T) {
	all := drawn(t, `env_injector.legacyAuthService.enabled=true`, `controller.rolloutRestart.enabled=true`, `controller.rolloutRestart.argoRollouts=true`, `identity.allNamespaces=true`)
	chain := newAdmissionChain(t, all, namespaceWith("akv2k8s", nil), namespaceWith("team", nil))
	const injector, controller = "system:serviceaccount:akv2k8s:akv2k8s-envinjector", "system:serviceaccount:akv2k8s:akv2k8s-controller"
	locked := workload("Deployment")
	locked.SetAnnotations(nil)
	otherAudience := tokenRequest("team", "reader")
	setField(otherAudience, []any{"https://kubernetes.default.svc"}, "spec", "audiences")
	lockedRollout, fresh := rollout(), rollout()
	lockedRollout.SetAnnotations(nil)
	unstructured.RemoveNestedField(fresh.Object, "spec", "restartAt")
	scaled := func(o *unstructured.Unstructured) { setField(o, int64(0), "spec", "replicas") }
	elsewhere := opaque("team", "akv2k8s-envinjector-serving-v1-ca")
	ours := opaque("akv2k8s", "akv2k8s-envinjector-serving")
	for name, c := range map[string]struct {
		account, right string
		write
	}{
		"delete of a tenant's Secret":                {injector, "/secrets delete", write{operation: admission.Delete, old: v1Secret("akv2k8s-web")}},
		"delete of the same name in other namespace": {injector, "/secrets delete", write{operation: admission.Delete, old: elsewhere}},
		"delete of the CA":                           {injector, "/secrets delete", write{operation: admission.Delete, old: ours}},
		"delete of all Secrets of a namespace":       {injector, "/secrets delete", write{operation: admission.Delete, namespace: "akv2k8s"}},
		"create of a Secret":                         {injector, "/secrets create", create(opaque("team", "x"))},
		"create of the Secret that may be deleted":   {injector, "/secrets create", create(opaque("akv2k8s", "akv2k8s-envinjector-serving-v1-ca"))},
		"update of the Secret that may be deleted":   {injector, "/secrets update", changing(opaque("akv2k8s", "akv2k8s-envinjector-serving-v1-ca"), filled)},
		"update of another Secret":                   {injector, "/secrets update", changing(opaque("team", "akv2k8s-web"), filled)},
		"key of a pod's Secret": {injector, "/secrets update", changing(v1Secret("akv2k8s-web"),
			func(o *unstructured.Unstructured) { setField(o, "eA==", "data", "tls.key") })},
		"restart of a workload that is locked": {controller, "apps/deployments update", changing(locked, restarted)},
		"scaling a workload":                   {controller, "apps/deployments update", changing(workload("Deployment"), scaled)},
		"restart of a Rollout that is locked":  {controller, "argoproj.io/rollouts update", changing(lockedRollout, rolloutRestarted)},
		"scaling a Rollout":                    {controller, "argoproj.io/rollouts update", changing(rollout(), scaled)},
		"a Rollout's image": {controller, "argoproj.io/rollouts update", changing(fresh,
			func(o *unstructured.Unstructured) {
				setField(o, []any{map[string]any{"name": "web", "image": "evil"}}, "spec", "template", "spec", "containers")
			})},
		"a Rollout's strategy": {controller, "argoproj.io/rollouts update", changing(rollout(),
			func(o *unstructured.Unstructured) { unstructured.RemoveNestedField(o.Object, "spec", "strategy") })},
		"a label of a Rollout":         {controller, "argoproj.io/rollouts update", changing(rollout(), func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{"a": "b"}) })},
		"the status of a Rollout":      {controller, "argoproj.io/rollouts update", changing(rollout(), func(o *unstructured.Unstructured) { setField(o, "Degraded", "status", "phase") })},
		"a Rollout of its own":         {controller, "argoproj.io/rollouts create", create(rollout())},
		"the end of a Rollout":         {controller, "argoproj.io/rollouts delete", write{operation: admission.Delete, old: rollout()}},
		"a token for another audience": {controller, "/serviceaccounts/token create", create(otherAudience)},
		"the same by the env-injector": {injector, "/serviceaccounts/token create", create(otherAudience)},
	} {
		w := c.of(c.right)
		w.account = c.account
		_, err := chain.admit(t, w)
		assert.ErrorContains(t, err, "akv2k8s may", name)
		w.account = "someone-else"
		_, err = chain.admit(t, w)
		assert.NoError(t, err, "%s: others are not bound", name)
	}
}
