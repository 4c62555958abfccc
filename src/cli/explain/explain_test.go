package explain_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/cli/explain"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/webhook/filescontainer"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// now is the time of the explanations.
func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

const installation = `apiVersion: v1
kind: Namespace
metadata: {name: team, labels: {azure-key-vault-env-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: bare}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: akv2k8s-envinjector}
webhooks:
- name: pods.env-injector.admission.spv.no
  namespaceSelector: {matchLabels: {azure-key-vault-env-injection: enabled}, matchExpressions: [{key: control-plane, operator: NotIn, values: ["true"]}]}
  objectSelector: {matchExpressions: [{key: akv2k8s.io/inject, operator: NotIn, values: ["false"]}, {key: tier, operator: NotIn, values: [none]}]}`

const resources = `apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: db, namespace: team, generation: 1}
spec: {vault: {name: shop-vault, object: {name: db-password, type: secret}, azureIdentity: {name: reader}}}
status:
  vaultVersion: "1"
  lastAzureUpdate: "2026-05-01T00:00:00Z"
  expires: "2026-05-31T00:00:00Z"
  conditions: [{type: Ready, status: "True", reason: Synced}, {type: ExpiringSoon, status: "True", reason: Expired}]
---
apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: web, namespace: team}
spec: {vault: {name: shop-vault, object: {name: web, type: certificate, version: abc}}}
status: {conditions: [{type: Ready, status: "True", reason: Synced, lastTransitionTime: "2026-05-15T00:00:00Z"}], lastAzureUpdate: "2026-05-20T00:00:00Z", pendingRestart: {changedAt: "2026-05-20T00:00:00Z"}}
---
apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: several, namespace: team}
spec: {vault: {name: shop-vault}, data: [{object: {name: a, type: secret}, dataKey: a}], dataFrom: [{match: {prefix: x}}]}
---
apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: denied, namespace: team}
spec: {vault: {name: shop-vault, object: {name: denied, type: secret}}}
status: {conditions: [{type: Ready, status: "False", reason: AccessDenied, message: the vault denied it}]}
---
apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: away, namespace: team}
spec: {vault: {name: shop-vault, object: {name: away, type: secret}}}
status: {conditions: [{type: Ready, status: "False", reason: VaultUnavailable, message: the vault does not answer}]}
---
apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: conflict, namespace: team, generation: 3}
spec: {vault: {name: shop-vault, object: {name: c, type: secret}}, output: {secret: {name: c, dataKey: c}}}
status: {conditions: [{type: Ready, status: "False", reason: TargetConflict, message: it has an owner, observedGeneration: 3}]}
---
apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: changed, namespace: team, generation: 3}
spec: {vault: {name: shop-vault, object: {name: c, type: secret}}}
status: {conditions: [{type: Ready, status: "True", reason: Synced, observedGeneration: 2}]}
---
apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: invalid, namespace: team}
spec: {vault: {name: "https://shop", object: {name: c, type: secret}}}`

// objectsOf decodes a stream of YAML.
func objectsOf(t *testing.T, stream string) []client.Object {
	t.Helper()
	var all []client.Object
	for document := range strings.SplitSeq(stream, "\n---\n") {
		object := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(document), &object.Object), document)
		all = append(all, object)
	}
	return all
}

// cluster is the API server of a test.
type cluster struct {
	// reads has KIND/NAME of each object that was read with its content, and forbidden the kinds that must not be read.
	reads, forbidden []string
	client.Client
}

func newCluster(t *testing.T, streams ...string) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	require.NoError(t, v2beta1.AddToScheme(scheme))
	c := &cluster{}
	check := func(object runtime.Object, name string) error {
		kinds, _, err := scheme.ObjectKinds(object)
		if err != nil { // metadata
			kinds = []schema.GroupVersionKind{object.GetObjectKind().GroupVersionKind()}
		} else {
			c.reads = append(c.reads, kinds[0].Kind+"/"+name)
		}
		for _, kind := range c.forbidden {
			if strings.TrimSuffix(kinds[0].Kind, "List") == kind {
				return apierrors.NewForbidden(schema.GroupResource{Resource: kind}, name, nil)
			}
		}
		return nil
	}
	c.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objectsOf(t, strings.Join(streams, "\n---\n"))...).
		WithReturnManagedFields().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, inner client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if err := check(object, key.Name); err != nil {
				return err
			}
			return inner.Get(ctx, key, object, options...)
		},
		List: func(ctx context.Context, inner client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if err := check(list, ""); err != nil {
				return err
			}
			return inner.List(ctx, list, options...)
		}}).Build()
	return c
}

func (c *cluster) explainer() *explain.Explainer { return &explain.Explainer{Reader: c, Clock: now} }

// injectPod returns a pod as the webhook creates it, with sources that have these data under the key k.
func injectPod(t *testing.T, manifest string, settings inject.Settings, sources map[inject.SourceName]string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	require.NoError(t, yaml.Unmarshal([]byte(manifest), pod))
	known := inject.Sources{}
	for _, name := range inject.NeededSources(pod) {
		known[name] = inject.Source{Missing: true}
		if value, ok := sources[name]; ok {
			known[name] = inject.NewSource(map[string]string{"k": value})
		}
	}
	plan, err := inject.Decide(pod, known)
	require.NoError(t, err)
	files, err := filescontainer.Decide(pod, settings.Direct)
	require.NoError(t, err)
	out := filescontainer.Add(inject.Mutate(pod, plan, settings), files, settings)
	started := metav1.NewTime(time.Date(2026, 5, 10, 0, 0, 0, 0, time.UTC))
	for _, c := range out.Spec.Containers {
		out.Status.ContainerStatuses = append(out.Status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}})
	}
	if len(out.Spec.InitContainers) > 0 {
		out.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: wire.InitContainer,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: started}}}}
	}
	return out
}

// podWith is a pod with these variables in its container app.
func podWith(env string) string {
	return `{metadata: {name: p, namespace: team}, spec: {serviceAccountName: shop, containers: [{name: app, command: [/app], env: [` + env +
		`{name: PLAIN, value: plain-canary}]}, {name: proxy}]}}`
}

// whats are the findings, each as SEVERITY OBJECT: WHAT | WHY | TRY | COMMAND. Each has a check.
func whats(findings []doctor.Finding) []string {
	all := []string{}
	for _, f := range findings {
		text := fmt.Sprintf("%s %s: %s | %s | %s", f.Severity, f.Object, f.What, f.Why, f.Try)
		if f.Check == "" || f.Object == "" || f.Try == "" {
			text = "INCOMPLETE " + text
		}
		if f.Command != "" {
			text += " | " + f.Command
		}
		all = append(all, text)
	}
	return all
}

// useOf returns the use of a variable by the first container.
func useOf(t *testing.T, p *explain.Pod, variable string) explain.Use {
	t.Helper()
	for _, use := range p.Containers[0].Uses {
		if use.Variable == variable {
			return use
		}
	}
	t.Fatalf("%s is not in %+v", variable, p.Containers[0].Uses)
	return explain.Use{}
}

func TestEveryReferenceOfAnInjectedPodIsExplained(t *testing.T) {
	c := newCluster(t, installation, resources)
	pod := injectPod(t, podWith(`{name: DB, value: db@azurekeyvault}, {name: KEY, value: "web@azurekeyvault?tls.key"}, {name: A, value: "several@azurekeyvault?a"},
{name: FOUND, value: "several@azurekeyvault?x1"}, {name: NONE, value: none@azurekeyvault}, {name: DENIED, value: denied@azurekeyvault}, {name: DENIED2, value: denied@azurekeyvault},
{name: AWAY, value: away@azurekeyvault}, {name: CONFLICT, value: conflict@azurekeyvault}, {name: CHANGED, value: changed@azurekeyvault},
{name: INVALID, value: invalid@azurekeyvault}, {name: PART, value: "db@azurekeyvault?tls.key"},`), inject.Settings{}, nil)
	p, err := c.explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	assert.True(t, p.Injected)
	assert.Equal(t, "the injector, which the init container copy-azurekeyvault-env copies, starts the programs", p.Injection)
	require.Len(t, p.Containers, 2)
	assert.Equal(t, "the auth service, which identifies the pod by its token of ServiceAccount team/shop", p.Containers[0].Reader)
	assert.Equal(t, explain.Container{Name: "proxy"}, p.Containers[1])

	db := useOf(t, p, "DB")
	assert.Equal(t, "secret shop-vault/db-password", db.VaultObject)
	assert.Equal(t, "ServiceAccount team/reader, if the installation allows it (identity.serviceAccounts)", db.Identity)
	assert.Equal(t, []string{"1", "True", "env", "gets the value", "that of the last change, at 2026-05-01T00:00:00Z"},
		[]string{db.Version, db.Ready, db.From, db.AtStart, db.Now})
	for variable, want := range map[string][]string{
		"KEY":      {"certificate shop-vault/web/abc", "True", "gets the value"},
		"A":        {"secret shop-vault/a", "Unknown (not read yet)", "gets the value"},
		"FOUND":    {"", "Unknown (not read yet)", "gets the value, if a search of the resource finds an object for ?x1"},
		"NONE":     {"", "False (does not exist)", "waits up to 5m0s for the AzureKeyVaultSecret, then fails with exit code 66"},
		"DENIED":   {"secret shop-vault/denied", "False (AccessDenied)", "fails with exit code 77"},
		"AWAY":     {"secret shop-vault/away", "False (VaultUnavailable)", "gets the last value that was read, or retries until the vault answers"},
		"CONFLICT": {"secret shop-vault/c", "False (TargetConflict)", "gets the value"},
		"CHANGED":  {"secret shop-vault/c", "Unknown (changed since it was read)", "gets the value"},
		"INVALID":  {"", "Unknown (not read yet)", "fails with exit code 64"},
		"PART":     {"", "True", "fails with exit code 64"},
	} {
		use := useOf(t, p, variable)
		assert.Equal(t, want, []string{use.VaultObject, use.Ready, use.AtStart}, variable)
	}
	assert.Equal(t, "can be older: the container got its values at 2026-05-10T00:00:00Z, and the controller saw a change at 2026-05-20T00:00:00Z", useOf(t, p, "KEY").Now)
	assert.Equal(t, "not known: the controller has not read the vault", useOf(t, p, "AWAY").Now)

	all := strings.Join(whats(p.Findings), "\n")
	for _, want := range []string{
		`error akvs/none: it does not exist | it concerns app/NONE | create it, or correct the name in the reference; the namespace has away, changed, conflict, db, denied`,
		`error akvs/denied: it is not ready: AccessDenied | the vault denied it; it concerns app/DENIED, app/DENIED2 | do what the message says; ` +
			`the controller retries within 5 minutes, or at once with 'kubectl akv2k8s refresh' | kubectl akv2k8s explain akvs/denied -n team`,
		`error akvs/invalid: its spec is not valid | spec.vault.name`,
		`error akvs/db: the reference db@azurekeyvault?tls.key selects nothing of it | the query "tls.key" is not known`,
		`warning akvs/web: the controller saw a change of it after the container started | it concerns app/KEY | wait for the restart that is pending`,
		`warning akvs/db: its vault object expired at 2026-05-31T00:00:00Z`,
	} {
		assert.Contains(t, all, want)
	}
	assert.NotContains(t, all, "akvs/conflict")
	assert.NotContains(t, all, "INCOMPLETE")
	for _, read := range c.reads {
		assert.NotContains(t, read, "Secret/p")
	}
}

// TestOnlyChangesThatTheControllerSawMakeAValueOlder has a container that started on 10 May.
func TestOnlyChangesThatTheControllerSawMakeAValueOlder(t *testing.T) {
	for name, try := range map[string]struct {
		changed, conditions, now string
		isFinding                bool
	}{
		"read first after the start": {"2026-05-20T00:00:00Z", `{type: Ready, status: "True", reason: Synced, lastTransitionTime: "2026-05-20T00:00:00Z"},
{type: Stale, status: "False", reason: Synced, lastTransitionTime: "2026-05-20T00:00:00Z"}`,
			"not known: the container got its values at 2026-05-10T00:00:00Z, and the status shows no read of the controller before 2026-05-20T00:00:00Z", false},
		"no time of a condition": {"2026-05-20T00:00:00Z", `{type: Ready, status: "True", reason: Synced}`, "not known: ", false},
		"failed before it was read": {"2026-05-20T00:00:00Z", `{type: Ready, status: "False", reason: AccessDenied, lastTransitionTime: "2026-05-01T00:00:00Z"}`,
			"not known: ", false},
		"changed after the start": {"2026-05-20T00:00:00Z", `{type: Ready, status: "True", reason: Synced, lastTransitionTime: "2026-05-01T00:00:00Z"}`,
			"can be older: the container got its values at 2026-05-10T00:00:00Z, and the controller saw a change at 2026-05-20T00:00:00Z", true},
		"changed after the start, and fails now": {"2026-05-20T00:00:00Z", `{type: Stale, status: "True", reason: VaultUnavailable, lastTransitionTime: "2026-05-12T00:00:00Z"},
{type: Ready, status: "False", reason: VaultUnavailable, message: m, lastTransitionTime: "2026-05-30T00:00:00Z"}`, "can be older: ", true},
		"changed before the start": {"2026-05-09T00:00:00Z", `{type: Ready, status: "True", reason: Synced, lastTransitionTime: "2026-05-01T00:00:00Z"}`,
			"that of the last change, at 2026-05-09T00:00:00Z", false},
		"changed at the start": {"2026-05-10T00:00:00Z", `{type: Ready, status: "True", reason: Synced, lastTransitionTime: "2026-05-10T00:00:00Z"}`,
			"that of the last change, at 2026-05-10T00:00:00Z", false},
	} {
		c := newCluster(t, installation, `apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: db, namespace: team}
spec: {vault: {name: shop-vault, object: {name: db-password, type: secret}}}
status: {lastAzureUpdate: "`+try.changed+`", conditions: [`+try.conditions+`]}`)
		p, err := c.explainer().Pod(t.Context(), injectPod(t, podWith(`{name: DB, value: db@azurekeyvault},`), inject.Settings{}, nil))
		require.NoError(t, err, name)
		assert.Contains(t, useOf(t, p, "DB").Now, try.now, name)
		found := strings.Contains(strings.Join(whats(p.Findings), "\n"), "warning akvs/db: the controller saw a change of it after the container started")
		assert.Equal(t, try.isFinding, found, name)
	}
}

func TestOtherDeliveriesAndReadersAreExplained(t *testing.T) {
	c := newCluster(t, installation, resources)
	pod := injectPod(t, podWith(`{name: DB, value: db@azurekeyvault},`), inject.Settings{ImageVolume: true, Direct: true}, nil)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	p, err := c.explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	assert.Equal(t, "the injector, in an image volume, starts the programs", p.Injection)
	assert.Equal(t, "the injector in the pod, with the pod's own credentials (method environment), because of the installation has no auth service "+
		"(env_injector.authService: false); it reads resources as ServiceAccount team/shop", p.Containers[0].Reader)
	assert.Equal(t, "the injector reads the vault with the pod's own credentials", useOf(t, p, "DB").AtStart)
	assert.Empty(t, useOf(t, p, "DB").Identity)

	pod = injectPod(t, podWith(`{name: ENV_INJECTOR_DISABLE_AUTH_SERVICE, value: "true"}, {name: ENV_INJECTOR_AUTH_TYPE, value: azureCloudConfig}, {name: X, value: none@azurekeyvault},`),
		inject.Settings{}, nil)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	p, err = c.explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	assert.Contains(t, p.Containers[0].Reader, "(method azureCloudConfig), because of its variable ENV_INJECTOR_DISABLE_AUTH_SERVICE")
	assert.Contains(t, useOf(t, p, "X").AtStart, "waits up to 1m0s")

	manifest := strings.Replace(podWith(`{name: KEY, value: web@azurekeyvault},`), "name: p,", "name: p, annotations: {akv2k8s.io/delivery: envfile},", 1)
	p, err = c.explainer().Pod(t.Context(), injectPod(t, manifest, inject.Settings{}, nil))
	require.NoError(t, err)
	assert.Equal(t, "the kubelet sets the values, from files of the init container", p.Injection)
	assert.Contains(t, useOf(t, p, "KEY").Now, "can be older: the container got its values at 2026-05-10")
}

func TestPodsThatAreNotInjectedSayWhy(t *testing.T) {
	bare := func(edit func(*corev1.Pod)) *corev1.Pod {
		pod := &corev1.Pod{}
		require.NoError(t, yaml.Unmarshal([]byte(podWith(`{name: DB, value: db@azurekeyvault},`)), pod))
		edit(pod)
		return pod
	}
	for name, try := range map[string]struct {
		pod       *corev1.Pod
		injection string
		finding   string
	}{
		"namespace": {bare(func(p *corev1.Pod) { p.Namespace = "bare" }), `the labels of namespace "bare" do not match azure-key-vault-env-injection=enabled`,
			"label the namespace, and recreate the pod | kubectl label namespace bare azure-key-vault-env-injection=enabled"},
		"missing namespace": {bare(func(p *corev1.Pod) { p.Namespace = "none" }), `namespace "none" does not exist`, "create the namespace first"},
		"label":             {bare(func(p *corev1.Pod) { p.Labels = map[string]string{wire.LabelInject: "false"} }), "the label akv2k8s.io/inject of the pod excludes it", "remove the label"},
		"selector":          {bare(func(p *corev1.Pod) { p.Labels = map[string]string{"tier": "none"} }), "the labels of the pod do not match tier notin (none)", "change the labels"},
		"static":            {bare(func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }), "it is a static pod, which a webhook can't change", "DaemonSet"},
		"earlier":           {bare(func(*corev1.Pod) {}), "the webhook would inject it now: the pod was created before", "recreate the pod"},
		"nothing":           {bare(func(p *corev1.Pod) { p.Spec.Containers[0].Env = nil }), "no container has a reference to Key Vault", ""},
		"denied": {bare(func(p *corev1.Pod) { p.Spec.Containers[0].Env[0].Value = "'canary@azurekeyvault'" }), "the webhook would deny the pod",
			"the value is meant as a reference but is not one"},
		"denied delivery": {bare(func(p *corev1.Pod) { p.Annotations = map[string]string{wire.AnnotationDelivery: "canary"} }), "the webhook would deny the pod",
			"the annotation akv2k8s.io/delivery of the pod is not a delivery; write auto, image, init or envfile"},
	} {
		p, err := newCluster(t, installation, resources).explainer().Pod(t.Context(), try.pod)
		require.NoError(t, err, name)
		assert.False(t, p.Injected, name)
		assert.Contains(t, p.Injection, try.injection, name)
		all := strings.Join(whats(p.Findings), "\n")
		if try.finding == "" {
			assert.Empty(t, all, name)
		}
		assert.Contains(t, all, try.finding, name)
		assert.NotContains(t, all, "canary")
		assert.NotContains(t, all, "INCOMPLETE")
		if name != "nothing" && !strings.HasPrefix(name, "denied") {
			assert.Contains(t, all, "so these variables and files have no values: app/DB", name)
			assert.Equal(t, "the program gets the reference as text", useOf(t, p, "DB").AtStart)
		}
	}
	p, err := newCluster(t, resources).explainer().Pod(t.Context(), bare(func(*corev1.Pod) {}))
	require.NoError(t, err)
	assert.Equal(t, "the cluster has no webhook of akv2k8s", p.Injection)
}

func TestTheUserNeedsFewRights(t *testing.T) {
	c := newCluster(t, installation, resources)
	c.forbidden = []string{"MutatingWebhookConfiguration"}
	pod := &corev1.Pod{}
	require.NoError(t, yaml.Unmarshal([]byte(podWith(`{name: DB, value: db@azurekeyvault},`)), pod))
	pod.Namespace = "bare"
	p, err := c.explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	assert.Contains(t, p.Injection, "do not match azure-key-vault-env-injection=enabled")
	assert.Contains(t, p.Notes[0], "the default label azure-key-vault-env-injection=enabled")

	c.forbidden = append(c.forbidden, "Namespace")
	p, err = c.explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	assert.Contains(t, p.Notes[1], "You may not read the labels of namespace bare")

	c.forbidden = []string{"AzureKeyVaultSecret"}
	_, err = c.explainer().Pod(t.Context(), pod)
	assert.True(t, apierrors.IsForbidden(err))
}

func TestTheAuthServiceServesOnlyLabelledNamespaces(t *testing.T) {
	pod := injectPod(t, podWith(`{name: DB, value: db@azurekeyvault},`), inject.Settings{}, nil)
	pod.Namespace = "bare"
	p, err := newCluster(t, installation, resources).explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	assert.Contains(t, whats(p.Findings)[0], "error pod/p: the auth service returns no values to it when a container starts again")
}

func TestPodsOfV1AreNamed(t *testing.T) {
	pod := injectPod(t, podWith(`{name: DB, value: db@azurekeyvault},`), inject.Settings{}, nil)
	env := &pod.Spec.Containers[0].Env
	*env = slices.DeleteFunc(*env, func(v corev1.EnvVar) bool { return v.Name == wire.EnvAddedVariables })
	p, err := newCluster(t, installation, resources).explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	assert.Contains(t, whats(p.Findings)[0], "warning pod/p: it was injected by akv2k8s 1.8 | ")
}

func TestTheMessagesOfTheInjectorAreShownAndNoOthers(t *testing.T) {
	pod := injectPod(t, podWith(`{name: DB, value: db@azurekeyvault},`), inject.Settings{}, nil)
	ended := func(message string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 66, Message: message}}
	}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: wire.InitContainer, LastTerminationState: ended("there is no AzureKeyVaultSecret\n")}}
	pod.Status.ContainerStatuses[0].LastTerminationState = ended("message-canary")
	p, err := newCluster(t, installation, resources).explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	all := strings.Join(whats(p.Findings), "\n")
	assert.Contains(t, all, "error container copy-azurekeyvault-env: it failed with exit code 66 | there is no AzureKeyVaultSecret | do what")
	assert.NotContains(t, all, "canary")

	pod.Status.InitContainerStatuses = nil
	pod.Status.ContainerStatuses[0].LastTerminationState = ended("ObjectNotFound: reading db?nope: the object has no such key; correct it")
	p, err = newCluster(t, installation, resources).explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(whats(p.Findings), "\n"), "error container app: it failed with exit code 66 | ObjectNotFound: reading db?nope: the object has no such key")
}

const sources = `apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: team}
data: {k: web@azurekeyvault, other: config-canary}
---
apiVersion: v1
kind: Secret
metadata: {name: secret, namespace: team}
data: {k: ZGJAYXp1cmVrZXl2YXVsdA==, other: c2VjcmV0LWNhbmFyeQ==}
---
apiVersion: v1
kind: Secret
metadata: {name: envfrom, namespace: team}
data: {K2: ZGJAYXp1cmVrZXl2YXVsdA==, OTHER: c2VjcmV0LWNhbmFyeQ==}`

const fromSources = `{name: C, valueFrom: {configMapKeyRef: {name: config, key: k}}}, {name: S, valueFrom: {secretKeyRef: {name: secret, key: k}}},
{name: F, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['x']"}}},`

func TestReferencesInSources(t *testing.T) {
	withEnvFrom := strings.Replace(podWith(fromSources), "command:", "envFrom: [{prefix: P_, secretRef: {name: envfrom}}, {configMapRef: {name: config}}], command:", 1)
	withEnvFrom = strings.Replace(withEnvFrom, "name: p,", "name: p, annotations: {x: web@azurekeyvault},", 1)
	pod := injectPod(t, withEnvFrom, inject.Settings{}, map[inject.SourceName]string{
		{Kind: inject.KindConfigMap, Name: "config"}: "db@azurekeyvault", {Kind: inject.KindSecret, Name: "secret"}: "db@azurekeyvault"})
	c := newCluster(t, installation, resources, sources)
	p, err := c.explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	assert.Equal(t, `ConfigMap "config"`, useOf(t, p, "C").From)
	assert.Equal(t, `Secret "secret"`, useOf(t, p, "S").From)
	assert.Equal(t, `ConfigMap "config"`, useOf(t, p, "k").From)
	assert.Equal(t, "field metadata.annotations['x']", useOf(t, p, "F").From)
	for _, read := range c.reads {
		assert.False(t, strings.HasPrefix(read, "Secret/"), read)
	}
	assert.Contains(t, strings.Join(p.Notes, "\n"), "A ConfigMap, Secret or key of container app was missing when the pod was created")
	assert.NotContains(t, strings.Join(whats(p.Findings), "\n"), "has changed;", "references that are not recorded are allowed")
}

func TestAReferenceThatChangedLaterIsAFinding(t *testing.T) {
	pod := injectPod(t, podWith(`{name: C, valueFrom: {configMapKeyRef: {name: config, key: k}}},`), inject.Settings{},
		map[inject.SourceName]string{{Kind: inject.KindConfigMap, Name: "config"}: "db@azurekeyvault"})
	p, err := newCluster(t, installation, resources, sources).explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(whats(p.Findings), "\n"), `error container app: its variable C refers to web@azurekeyvault now, and the pod was not created with this reference | `+
		`ConfigMap "config" has changed; the auth service returns only values that a pod referred to when it was created | recreate the pod`)
	assert.Equal(t, "db@azurekeyvault", useOf(t, p, "C").Reference)
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 3
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: app
        command: [/app]
        ports: [{containerPort: 8080}]
        envFrom: [{secretRef: {name: envfrom}}]
        env: [{name: DB, value: new@azurekeyvault}, {name: S, valueFrom: {secretKeyRef: {name: secret, key: k}}}, {name: ODD, value: "see db@azurekeyvault canary"}]`

func TestManifestsAreExplainedAsIfTheyWereCreated(t *testing.T) {
	c := newCluster(t, installation, resources, sources)
	e := c.explainer()
	require.NoError(t, e.Manifests.Add("a.yaml", []byte(deployment), "team"))
	ps, err := e.ManifestPods(t.Context())
	require.NoError(t, err)
	require.Len(t, ps, 1)
	p := ps[0]
	assert.Equal(t, []any{"Deployment", "shop", "team", "default", true, false}, []any{p.Kind, p.Name, p.Namespace, p.ServiceAccount, p.Injected, p.Exists})
	assert.Equal(t, "the webhook injects it when it is created", p.Injection)
	require.Len(t, p.Containers[0].Uses, 1)
	assert.Contains(t, p.Notes[0], "add --read-secrets to read them: envfrom, secret")
	all := strings.Join(whats(p.Findings), "\n")
	assert.Contains(t, all, "warning deployment/shop: ")
	assert.Contains(t, all, "variable ODD")
	assert.Contains(t, all, "error akvs/new: it does not exist")
	assert.NotContains(t, all, "canary")

	// The resource, and a Secret, are in the files too.
	e = c.explainer()
	e.ReadSecrets = true
	list := `{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret, metadata: {name: envfrom}, data: {OTHER: eA==}, stringData: {K3: web@azurekeyvault, X: stringdata-canary}},
{apiVersion: v1, kind: ConfigMap, metadata: {name: unused}, data: {a: b}}, {apiVersion: v1, kind: Service, metadata: {name: x}}]}`
	require.NoError(t, e.Manifests.Add("a.yaml", []byte(deployment+"\n---\n"+strings.SplitN(resources, "\n---\n", 2)[0]+"\n---\n"+list+"\n---\n"), "team"))
	require.NoError(t, e.Manifests.Add("b.yaml", []byte(strings.Replace(strings.SplitN(resources, "\n---\n", 2)[0], "name: db,", "name: new,", 1)), "team"))
	ps, err = e.ManifestPods(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "secret shop-vault/db-password", useOf(t, ps[0], "DB").VaultObject)
	assert.Equal(t, `Secret "envfrom"`, useOf(t, ps[0], "K3").From)
	assert.Equal(t, `Secret "secret"`, useOf(t, ps[0], "S").From)
	assert.Empty(t, ps[0].Notes)

	c.forbidden = []string{"Secret"}
	e = c.explainer()
	e.ReadSecrets = true
	require.NoError(t, e.Manifests.Add("a.yaml", []byte(deployment), "team"))
	ps, err = e.ManifestPods(t.Context())
	require.NoError(t, err)
	assert.Contains(t, ps[0].Notes[0], `You may not read these, so references in them are not shown: Secret "envfrom", Secret "secret"`)
}

func TestManifestsThatCannotBeRead(t *testing.T) {
	for want, content := range map[string]string{
		"x: document 1 is neither YAML nor JSON of an object":                             "canary: [",
		"x: document 1 is neither":                                                        "[canary]",
		`x: document 1: AzureKeyVaultSecret "a" has a field of another type than the CRD`: `{apiVersion: spv.no/v1, kind: AzureKeyVaultSecret, metadata: {name: a}, spec: canary}`,
		`Secret "a" has data that are not in base64`:                                      `{kind: Secret, metadata: {name: a}, data: {a: "canary!"}}`,
		`ConfigMap "a" has data that are no texts`:                                        `{kind: ConfigMap, metadata: {name: a}, data: {a: [canary]}}`,
		`the pod of Job "a" has a field of another type than Kubernetes`:                  `{kind: Job, metadata: {name: a}, spec: {template: {spec: {containers: [{name: [canary]}]}}}}`,
		"x: document 1: ": `{kind: List, items: [canary]}`,
	} {
		e := newCluster(t, installation).explainer()
		err := e.Manifests.Add("x", []byte(content), "team")
		require.Error(t, err, content)
		assert.Contains(t, err.Error(), want)
		assert.NotContains(t, err.Error(), "canary")
		_, err = e.ManifestPods(t.Context())
		assert.ErrorContains(t, err, "the files have no pod; name files with a Pod")
	}
	e := newCluster(t, installation).explainer()
	require.NoError(t, e.Manifests.Add("x", []byte(`{kind: CronJob, metadata: {name: a, namespace: bare}, spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a}]}}}}}}`), "team"))
	ps, err := e.ManifestPods(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "no container has a reference to Key Vault", ps[0].Injection)
}

// TestNoValueIsPrinted has canaries in Secrets, ConfigMaps, variables, annotations and messages.
func TestNoValueIsPrinted(t *testing.T) {
	c := newCluster(t, installation, resources, sources)
	pod := &corev1.Pod{}
	require.NoError(t, yaml.Unmarshal([]byte(podWith(fromSources)), pod))
	pod.Annotations = map[string]string{"x": "annotation-canary"}
	injectedPod := injectPod(t, podWith(fromSources), inject.Settings{}, nil)
	for _, subject := range []*corev1.Pod{pod, injectedPod} {
		e := c.explainer()
		e.ReadSecrets = true
		require.NoError(t, e.Manifests.Add("a.yaml", []byte(deployment), "team"))
		p, err := e.Pod(t.Context(), subject)
		require.NoError(t, err)
		ps, err := e.ManifestPods(t.Context())
		require.NoError(t, err)
		for _, one := range append(ps, p) {
			content, err := json.Marshal(one)
			require.NoError(t, err)
			var text strings.Builder
			require.NoError(t, one.WriteText(&text))
			for _, form := range []string{"canary", "Y2FuYXJ5", "c2VjcmV0LWNhbmFyeQ"} {
				assert.NotContains(t, string(content), form)
				assert.NotContains(t, text.String(), form)
			}
		}
	}
	assert.Contains(t, c.reads, "Secret/secret", "it was read")
}

const filesAnnotation = `metadata: {name: p, namespace: team, annotations: {akv2k8s.io/files: "{/etc/app/password: db@azurekeyvault, /etc/app/all/: several@azurekeyvault, /etc/app/wrong: 'db@azurekeyvault?x', /etc/app/none: none@azurekeyvault}"EXTRA}}`

func TestFilesAreExplained(t *testing.T) {
	manifest := strings.Replace(podWith(""), "metadata: {name: p, namespace: team}", filesAnnotation, 1)
	once := strings.Replace(manifest, "EXTRA", `, akv2k8s.io/refresh-interval: "0"`, 1)
	manifest = strings.Replace(manifest, "EXTRA", "", 1)
	file := func(p *explain.Pod, path string) explain.Use {
		at := slices.IndexFunc(p.Containers[0].Uses, func(u explain.Use) bool { return u.File == path })
		require.GreaterOrEqual(t, at, 0, "%s is not in %+v", path, p.Containers[0].Uses)
		return p.Containers[0].Uses[at]
	}
	c := newCluster(t, installation, resources)
	p, err := c.explainer().Pod(t.Context(), injectPod(t, manifest, inject.Settings{}, nil))
	require.NoError(t, err)
	assert.True(t, p.Injected)
	assert.Equal(t, "the container sync-azurekeyvault-files writes the files", p.Injection)
	assert.Contains(t, p.Containers[0].Reader, "the auth service")
	password := file(p, "/etc/app/password")
	assert.Equal(t, []string{"annotation akv2k8s.io/files", "secret shop-vault/db-password", "gets the value", "kept fresh by the container sync-azurekeyvault-files"},
		[]string{password.From, password.VaultObject, password.AtStart, password.Now})
	assert.Equal(t, "secret shop-vault/a, what its searches find", file(p, "/etc/app/all/").VaultObject)
	assert.Equal(t, "fails with exit code 64", file(p, "/etc/app/wrong").AtStart)
	assert.Contains(t, file(p, "/etc/app/none").AtStart, "waits up to 5m0s")
	all := strings.Join(whats(p.Findings), "\n")
	assert.Contains(t, all, "it concerns app//etc/app/none, proxy//etc/app/none")

	pod := injectPod(t, once, inject.Settings{}, nil)
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: wire.FilesInitContainer, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC))}}}}
	p, err = c.explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	assert.Equal(t, "the container write-azurekeyvault-files writes the files", p.Injection)
	assert.Contains(t, file(p, "/etc/app/password").Now, "not known: the container got its values at 2026-04-01")

	bare := &corev1.Pod{}
	require.NoError(t, yaml.Unmarshal([]byte(manifest), bare))
	bare.Namespace = "bare"
	p, err = c.explainer().Pod(t.Context(), bare)
	require.NoError(t, err)
	assert.False(t, p.Injected)
	assert.Equal(t, "the file is missing", file(p, "/etc/app/password").AtStart)
	assert.Contains(t, whats(p.Findings)[0], "so these variables and files have no values: app:/etc/app/all/, app:/etc/app/none")

	e := c.explainer()
	require.NoError(t, e.Manifests.Add("x", []byte(strings.Replace(manifest, "{metadata", "{kind: Pod, metadata", 1)), "team"))
	ps, err := e.ManifestPods(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"gets the value", ""}, []string{file(ps[0], "/etc/app/password").AtStart, file(ps[0], "/etc/app/password").Now})
}

// TestTheChartHasTheWebhook compares the name with that of the chart.
func TestTheChartHasTheWebhook(t *testing.T) {
	content, err := os.ReadFile("../../../charts/akv2k8s/templates/env-injector/webhook.yaml")
	require.NoError(t, err)
	assert.Contains(t, string(content), "name: pods.env-injector.admission.spv.no")
}
