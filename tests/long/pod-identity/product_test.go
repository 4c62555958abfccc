//go:build cluster

package podidentity

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// install installs the product with these arguments of --set, as users write them.
func install(t *testing.T, s *stage.Stage, set ...string) {
	t.Helper()
	values := map[string]any{}
	for _, item := range set {
		path, value, ok := strings.Cut(item, "=")
		require.True(t, ok)
		steps := strings.Split(path, ".")
		leaf := any(value)
		if value == "true" || value == "false" {
			leaf = value == "true"
		}
		for _, step := range slices.Backward(steps) {
			leaf = map[string]any{step: leaf}
		}
		values = stage.Merge(values, leaf.(map[string]any))
	}
	require.NoError(t, s.Install(t.Context(), stage.Release{Name: "akv2k8s", Namespace: "akv2k8s", Values: values}))
	require.NoError(t, s.Settled(t.Context(), "akv2k8s"))
}

// identity makes a managed identity that alone may read vault kv-NAME, as AzureIdentity NAME of a namespace, bound to
// pods with the label aadpodidbinding=NAME.
func identity(t *testing.T, s *stage.Stage, n int, namespace, name string) entra.Principal {
	t.Helper()
	p := entra.Principal{Name: name, ClientID: fmt.Sprintf("f%07d-0000-4000-8000-000000000001", n), ObjectID: fmt.Sprintf("f%07d-0000-4000-8000-000000000002", n),
		ManagedIdentity: "user", ResourceID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name}
	require.NoError(t, s.Azure.Seed(t.Context(), emulator.Seed{Principals: []entra.Principal{p}, Vaults: map[string]emulator.VaultSeed{"kv-" + name: {
		Permissions: map[string][]string{p.ObjectID: {"get"}}, Secrets: map[string]keyvault.Secret{"db": {Value: "value-of-" + name}}}}}))
	require.NoError(t, s.Namespace(t.Context(), namespace, map[string]string{"azure-key-vault-env-injection": "enabled"}))
	require.NoError(t, s.Apply(t.Context(), namespace, strings.NewReplacer("NAME", name, "RESOURCE", p.ResourceID, "CLIENT", p.ClientID).Replace(`
apiVersion: aadpodidentity.k8s.io/v1
kind: AzureIdentity
metadata: {name: NAME}
spec: {type: 0, resourceID: RESOURCE, clientID: CLIENT}
---
apiVersion: aadpodidentity.k8s.io/v1
kind: AzureIdentityBinding
metadata: {name: NAME}
spec: {azureIdentity: NAME, selector: NAME}
`)))
	return p
}

// resource makes an AzureKeyVaultSecret of object db of a vault, which becomes a Secret of the same name.
func resource(t *testing.T, s *stage.Stage, namespace, name, vault string) {
	t.Helper()
	require.NoError(t, s.Namespace(t.Context(), namespace, map[string]string{"azure-key-vault-env-injection": "enabled"}))
	r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = vault, "db", "secret"
	r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: name, DataKey: "v"}}
	require.NoError(t, s.Client.Create(t.Context(), r))
}

// await waits until the resource's condition has the reason and a word in its message.
func await(t *testing.T, s *stage.Stage, name types.NamespacedName, reason, word string) {
	t.Helper()
	require.NoError(t, stage.Await(t.Context(), 2*time.Minute, reason, func(ctx context.Context) error {
		var r v2beta1.AzureKeyVaultSecret
		if err := s.Client.Get(ctx, name, &r); err != nil {
			return err
		}
		for _, c := range r.Status.Conditions {
			if c.Reason == reason && strings.Contains(c.Message, word) {
				return nil
			}
		}
		return fmt.Errorf("it is %+v", r.Status.Conditions)
	}))
}

// run starts a pod with a reference, and gives its exit code and what it printed: the value of the reference, if there
// is one.
func run(t *testing.T, s *stage.Stage, pod corev1.Pod, reference string, env ...corev1.EnvVar) (int32, string) {
	t.Helper()
	grace := int64(1)
	pod.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{Name: "app", Image: s.Image("testbox"),
		Command: []string{"sh", "-c", `echo "$DB"`}, Env: append(env, corev1.EnvVar{Name: "DB", Value: reference + "@azurekeyvault"},
			corev1.EnvVar{Name: "ENV_INJECTOR_RETRIES", Value: "0"}, corev1.EnvVar{Name: "ENV_INJECTOR_TIMEOUT", Value: "1s"})}}}
	require.NoError(t, s.Client.Create(t.Context(), &pod))
	var code int32
	var container string
	require.NoError(t, stage.Await(t.Context(), 90*time.Second, "the pod", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(&pod), &pod); err != nil {
			return err
		}
		var ended bool
		if container, code, ended = stage.Ended(&pod); !ended {
			return fmt.Errorf("it is %s", pod.Status.Phase)
		}
		return nil
	}))
	log, err := s.Kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container}).DoRaw(t.Context())
	require.NoError(t, err)
	return code, strings.TrimSpace(string(log))
}

func named(namespace, name, binding string) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{}}}
	if binding != "" {
		pod.Labels["aadpodidbinding"] = binding
	}
	return pod
}

func intercepted(t *testing.T, s *stage.Stage) {
	require.NoError(t, s.Azure.Vault(t.Context(), "kv-node", map[string]string{"db": "value-of-node"}))
	install(t, s)
	resource(t, s, "plain", "db", "kv-node")
	await(t, s, types.NamespacedName{Namespace: "plain", Name: "db"}, "VaultUnavailable", "addAzurePodIdentityException")
}

func excepted(t *testing.T, s *stage.Stage) {
	install(t, s, "addAzurePodIdentityException=true")
	await(t, s, types.NamespacedName{Namespace: "plain", Name: "db"}, "Synced", "")
	code, out := run(t, s, named("plain", "app", ""), "db")
	assert.Zero(t, code)
	assert.Equal(t, "value-of-node", out)
	// A pod in the very namespace of the exceptions that asks for a token itself is none of ours.
	require.NoError(t, s.Client.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "stranger", Labels: map[string]string{
		"app.kubernetes.io/name": "akv2k8s", "app.kubernetes.io/instance": "akv2k8s"}},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "app", Image: s.Image("testbox"),
			Command: []string{"sh", "-c", "wget -S -O - --header 'Metadata: true' 'http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net' 2>&1"}}}}}))
	require.NoError(t, stage.Await(t.Context(), time.Minute, "what NMI tells a stranger", func(ctx context.Context) error {
		log, err := s.Kube.CoreV1().Pods("akv2k8s").GetLogs("stranger", &corev1.PodLogOptions{}).DoRaw(ctx)
		if err != nil || !strings.Contains(string(log), "404") {
			return fmt.Errorf("it is told %q, %w", log, err)
		}
		return nil
	}))
	require.NoError(t, s.Client.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "stranger"}}))
}

func option1(t *testing.T, s *stage.Stage) {
	identity(t, s, 1, "akv2k8s", "for-akv2k8s")
	other := identity(t, s, 2, "other", "for-others")
	require.NoError(t, s.Azure.ResetCounters(t.Context()))
	install(t, s, "env_injector.keyVaultAuth=environment", "env_injector.podLabels.aadpodidbinding=for-akv2k8s",
		"controller.keyVaultAuth=environment", "controller.podLabels.aadpodidbinding=for-akv2k8s")
	resource(t, s, "option1", "db", "kv-for-akv2k8s")
	resource(t, s, "option1", "foreign", "kv-for-others")
	await(t, s, types.NamespacedName{Namespace: "option1", Name: "db"}, "Synced", "")
	await(t, s, types.NamespacedName{Namespace: "option1", Name: "foreign"}, "AccessDenied", "ForbiddenByRbac")
	code, out := run(t, s, named("option1", "app", ""), "db")
	assert.Zero(t, code)
	assert.Equal(t, "value-of-for-akv2k8s", out)
	counters, err := s.Azure.Counters(t.Context())
	require.NoError(t, err)
	assert.GreaterOrEqual(t, counters["token managed-identity for-akv2k8s 200"], 2, counters)
	assert.Zero(t, counters["token managed-identity "+other.Name+" 200"])
	assert.Zero(t, counters["token managed-identity kubelet 200"], "the node's own identity is not used")
}

func option2(t *testing.T, s *stage.Stage) {
	identity(t, s, 3, "team-a", "id-a")
	b := identity(t, s, 4, "team-b", "id-b")
	install(t, s, "env_injector.authService=false", "controller.enabled=false")
	for _, vault := range []string{"id-a", "id-b"} {
		resource(t, s, "team-a", vault, "kv-"+vault)
	}
	resource(t, s, "team-b", "id-b", "kv-id-b")
	code, out := run(t, s, named("team-a", "own", "id-a"), "id-a")
	assert.Zero(t, code)
	assert.Equal(t, "value-of-id-a", out)
	code, out = run(t, s, named("team-b", "own", "id-b"), "id-b")
	assert.Zero(t, code)
	assert.Equal(t, "value-of-id-b", out)

	code, out = run(t, s, named("team-a", "foreign-vault", "id-a"), "id-b")
	assert.EqualValues(t, 77, code, out)
	assert.Contains(t, out, "ForbiddenByRbac")
	for name, pod := range map[string]corev1.Pod{"without a binding": named("team-a", "unbound", ""), "with the binding of another namespace": named("team-a", "bound-elsewhere", "id-b")} {
		code, out = run(t, s, pod, "id-b", corev1.EnvVar{Name: "AZURE_CLIENT_ID", Value: b.ClientID})
		assert.NotZero(t, code, name)
		assert.Contains(t, out, "getting a token", name)
		assert.NotContains(t, out, "value-of", name)
	}
}
