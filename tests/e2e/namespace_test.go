//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// oneNamespace installs a controller that watches its own namespace, and of its resources those with a label. Once the
// main one runs too, both say so.
func oneNamespace(t *testing.T) {
	main := types.NamespacedName{Namespace: "akv2k8s", Name: "akv2k8s-controller"}
	require.NoError(t, s.Scale(t.Context(), main, 0))
	tm := newTeam(t)
	own := team{t, "own-" + tm.namespace, tm.vault}
	require.NoError(t, s.Namespace(t.Context(), own.namespace, nil))
	require.NoError(t, s.Install(t.Context(), stage.Release{Name: "own", Namespace: own.namespace, Values: map[string]any{
		"watchAllNamespaces": false, "env_injector": map[string]any{"enabled": false}, "azureKeyVaultResyncPeriod": interval,
		"controller": map[string]any{"env": map[string]any{"OBJECT_LABELS": "shard in (a, b),!off"}}}}))
	create := func(tm team, name string, labels map[string]string) {
		r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: name, Labels: labels}}
		r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = tm.vault, "db", "secret"
		r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: name, DataKey: "password"}}
		require.NoError(t, s.Client.Create(t.Context(), r))
	}
	create(tm, "elsewhere", map[string]string{"shard": "a"})
	create(own, "unlabelled", nil)
	create(own, "off", map[string]string{"shard": "a", "off": "1"})
	create(own, "mine", map[string]string{"shard": "b"})
	own.awaitValue("mine", canary+"-db", patience)
	time.Sleep(2 * time.Second)
	assert.Equal(t, "None", own.ready(t.Context(), "unlabelled").Reason)
	assert.Equal(t, "None", own.ready(t.Context(), "off").Reason)
	assert.Equal(t, "None", tm.ready(t.Context(), "elsewhere").Reason)

	require.NoError(t, s.Scale(t.Context(), main, 1))
	require.NoError(t, stage.Await(t.Context(), 2*time.Minute, "two installations to see each other", func(ctx context.Context) error {
		var r v2beta1.AzureKeyVaultSecret
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: own.namespace, Name: "mine"}, &r); err != nil {
			return err
		}
		found := meta.FindStatusCondition(r.Status.Conditions, v2beta1.ConditionContested)
		if found == nil || !strings.Contains(found.Message, `"akv2k8s/akv2k8s" and "`+own.namespace+`/own-akv2k8s" both sync`) {
			return fmt.Errorf("synced by %q, condition %+v", r.Status.SyncedBy, found)
		}
		return nil
	}))
	_, err := s.Helm(t.Context(), "uninstall", "own", "--namespace", own.namespace, "--wait")
	require.NoError(t, err)
	tm.awaitValue("elsewhere", canary+"-db", patience)
	own.awaitValue("off", canary+"-db", patience)
}
