//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// severalValues are of one object: each becomes a key of the Secret, a key that is removed from the object goes from
// the Secret, and a pod names the one that it wants.
func severalValues(t *testing.T) {
	tm := newTeam(t)
	tm.secret("many", `{"user": "`+canary+`-user", "port": 5432, "tls": {"mode": "verify", "ca": null}}`)
	r := &v2beta1.AzureKeyVaultSecret{}
	r.Namespace, r.Name = tm.namespace, "many"
	r.Spec.Vault.Name, r.Spec.Vault.Object = tm.vault, v2beta1.AzureKeyVaultObject{Name: "many", Type: "multi-key-value-secret", ContentType: "application/x-json"}
	r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: "many"}}
	require.NoError(t, s.Client.Create(t.Context(), r))
	holds := func(want map[string]string) {
		t.Helper()
		require.NoError(t, stage.Await(t.Context(), patience, "the Secret", func(ctx context.Context) error {
			var secret corev1.Secret
			if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: "many"}, &secret); err != nil {
				return fmt.Errorf("%w; %s", err, tm.reasons(ctx))
			}
			got := map[string]string{}
			for key, value := range secret.Data {
				got[key] = string(value)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				return fmt.Errorf("it has %d keys that are not as wanted; %s", len(got), tm.reasons(ctx))
			}
			return nil
		}))
	}
	holds(map[string]string{"user": canary + "-user", "port": "5432", "tls": `{"mode":"verify","ca":null}`})
	tm.create(tm.pod("app", map[string]string{"U": "many@azurekeyvault?user", "P": "many@azurekeyvault?port"}, "sh", "-c", `printf '%s|%s' "$U" "$P"`))
	code, log := tm.ended("app")
	assert.Zero(t, code)
	assert.Equal(t, canary+"-user|5432", log)
	wrong := tm.pod("wrong", map[string]string{"U": "many@azurekeyvault?absent", "ENV_INJECTOR_RETRIES": "0"}, "echo", "started")
	tm.create(wrong)
	code, log = tm.ended("wrong")
	assert.EqualValues(t, 66, code)
	assert.Contains(t, log, "the object has no entry")

	require.NoError(t, s.Azure.Put(t.Context(), tm.vault, "many", `{"user": "`+canary+`-user-2"}`))
	holds(map[string]string{"user": canary + "-user-2"})

	require.NoError(t, s.Azure.Put(t.Context(), tm.vault, "many", canary+" is no JSON"))
	assert.NotContains(t, tm.awaitReason("many", "MalformedObject"), canary)
	holds(map[string]string{"user": canary + "-user-2"})
	require.NoError(t, client.IgnoreNotFound(s.Client.Delete(t.Context(), r)))
}
