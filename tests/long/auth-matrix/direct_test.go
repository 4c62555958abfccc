//go:build cluster

package authmatrix

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// ownCredentials makes the pod read for itself, with the method's credentials in its own namespace. The cloud is not
// among them: the pod gets that from the installation.
func ownCredentials(t *testing.T, s *stage.Stage, m method, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: "azure-credentials"}, Data: map[string][]byte{}}
	for key, value := range m.secret {
		if key != "AZURE_ENVIRONMENT" {
			secret.Data[key] = []byte(value)
		}
	}
	require.NoError(t, s.Client.Create(t.Context(), secret))
	no := false
	pod.Name, pod.Spec.AutomountServiceAccountToken = "direct", &no
	container := &pod.Spec.Containers[0]
	container.EnvFrom = append(container.EnvFrom, corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "azure-credentials"}}})
	container.Env = append(container.Env, corev1.EnvVar{Name: "ENV_INJECTOR_DISABLE_AUTH_SERVICE", Value: "true"})
	// What the component mounts and sets, the pod does as well.
	component, ok := m.values["env_injector"].(map[string]any)
	if !ok {
		return pod
	}
	var like struct {
		ExtraVolumes      []corev1.Volume
		ExtraVolumeMounts []corev1.VolumeMount
		Env               map[string]string
	}
	content, err := json.Marshal(component)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &like))
	pod.Spec.Volumes = append(pod.Spec.Volumes, like.ExtraVolumes...)
	container.VolumeMounts = append(container.VolumeMounts, like.ExtraVolumeMounts...)
	for name, value := range like.Env {
		container.Env = append(container.Env, corev1.EnvVar{Name: name, Value: value})
	}
	for _, volume := range like.ExtraVolumes {
		if volume.Secret != nil {
			copied := &corev1.Secret{}
			require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Namespace: "akv2k8s", Name: volume.Secret.SecretName}, copied))
			require.NoError(t, s.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: copied.Name}, Data: copied.Data}))
		}
	}
	return pod
}

// withoutAuthService installs the multi-tenant set-up: two tenants whose pods bring their own credentials, and none
// that may read for others.
func withoutAuthService(t *testing.T, s *stage.Stage) {
	tenants := []entra.Principal{
		{Name: "tenant-a", ClientID: id(21, "1"), ObjectID: id(21, "2"), Secret: "of-tenant-a"},
		{Name: "tenant-b", ClientID: id(22, "1"), ObjectID: id(22, "2"), Secret: "of-tenant-b"},
	}
	vaults := map[string]emulator.VaultSeed{}
	for _, p := range tenants {
		vaults["kv-"+p.Name] = emulator.VaultSeed{Permissions: map[string][]string{p.ObjectID: {"get"}}, Secrets: map[string]keyvault.Secret{"db": {Value: "value-of-" + p.Name}}}
	}
	require.NoError(t, s.Azure.Seed(t.Context(), emulator.Seed{Principals: tenants, Vaults: vaults}))
	install(t, s, map[string]string{"AZURE_TENANT_ID": local.TenantID, "AZURE_CLIENT_ID": stage.AppClientID, "AZURE_CLIENT_SECRET": "of-the-emulator-alone"},
		stage.Merge(environment(nil), map[string]any{"env_injector": map[string]any{"authService": false}}))
	require.NoError(t, s.Settled(t.Context(), "akv2k8s"))
	for i, p := range tenants {
		resource(t, s, p.Name, "kv-"+p.Name)
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "azure-credentials"}, StringData: map[string]string{
			"AZURE_TENANT_ID": local.TenantID, "AZURE_CLIENT_ID": p.ClientID, "AZURE_CLIENT_SECRET": p.Secret}}
		require.NoError(t, s.Client.Create(t.Context(), secret))
		own := podOf(s, p.Name, "value-of-"+p.Name)
		own.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "azure-credentials"}}}}
		assert.Zero(t, start(t, s, own), "a tenant reads its own vault")
		other := tenants[1-i]
		thief := own.DeepCopy()
		thief.ObjectMeta = metav1.ObjectMeta{Namespace: p.Name, Name: "thief"}
		thief.Spec.Containers[0].Env[0].Value = "theirs@azurekeyvault"
		foreign(t, s, p.Name, "kv-"+other.Name)
		assert.EqualValues(t, 77, start(t, s, thief), "and no other")
		nothing := podOf(s, p.Name, "")
		nothing.Name = "without-credentials"
		nothing.Spec.Containers[0].Env = append(nothing.Spec.Containers[0].Env, corev1.EnvVar{Name: "ENV_INJECTOR_TIMEOUT", Value: "0s"})
		assert.NotZero(t, start(t, s, nothing), "without credentials nothing starts")
	}
	logs, err := s.Logs(t.Context(), tenants[0].Name)
	require.NoError(t, err)
	assert.Contains(t, logs["thief/app/false"], tenants[0].ObjectID, "the log says who was refused")
	assert.Contains(t, logs["thief/app/false"], "AccessDenied")
	for name, log := range logs {
		assert.NotContains(t, log, tenants[0].Secret, name)
		assert.NotContains(t, log, "value-of", name)
	}
}

// foreign makes a resource in a namespace that names somebody else's vault.
func foreign(t *testing.T, s *stage.Stage, namespace, vault string) {
	t.Helper()
	require.NoError(t, s.Apply(t.Context(), namespace, `{apiVersion: spv.no/v2beta1, kind: AzureKeyVaultSecret, metadata: {name: theirs}, spec: {vault: {name: `+vault+`, object: {name: db, type: secret}}}}`))
}
