//go:build cluster

package authmatrix

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// userDefined names an identity of the nodes by values: no file of the host, so no root.
func userDefined(t *testing.T, s *stage.Stage) {
	const vault, namespace = "kv-user-defined", "method-user-defined"
	p := entra.Principal{Name: "user-defined", ClientID: id(10, "1"), ObjectID: id(10, "2"), ManagedIdentity: "user"}
	require.NoError(t, s.Azure.Seed(t.Context(), emulator.Seed{Principals: []entra.Principal{p}, Vaults: map[string]emulator.VaultSeed{vault: {
		Permissions: map[string][]string{p.ObjectID: {"get"}}, Secrets: map[string]keyvault.Secret{"db": {Value: "of-the-vault"}}}}}))
	install(t, s, nil, map[string]any{"global": map[string]any{"userDefinedMSI": map[string]any{"enabled": true, "msi": p.ClientID, "tenantId": local.TenantID}}})
	resource(t, s, namespace, vault)
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the Secret", func(ctx context.Context) error {
		var secret corev1.Secret
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "db"}, &secret); err != nil {
			return fmt.Errorf("%w; %s", err, condition(ctx, s, namespace))
		}
		assert.Equal(t, "of-the-vault", string(secret.Data["v"]))
		return nil
	}))
	assert.Zero(t, run(t, s, namespace, "of-the-vault"), "the env-injector read it too")
	var pods corev1.PodList
	require.NoError(t, s.Client.List(t.Context(), &pods, client.InNamespace("akv2k8s"), client.MatchingLabels{"app.kubernetes.io/instance": "akv2k8s"}))
	require.NotEmpty(t, pods.Items)
	for _, pod := range pods.Items {
		assert.True(t, *pod.Spec.SecurityContext.RunAsNonRoot, pod.Name)
		for _, volume := range pod.Spec.Volumes {
			assert.Nil(t, volume.HostPath, pod.Name)
		}
	}
}
