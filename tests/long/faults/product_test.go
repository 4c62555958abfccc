//go:build cluster

package faults

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

// TestReplicasComeAndGo creates pods and changes values while replicas of the product are deleted: every pod starts
// with its value, and every Secret follows.
func TestReplicasComeAndGo(t *testing.T) {
	s := stagetest.Open(t, config(t, "faults"))
	require.NoError(t, s.Install(t.Context(), stage.Release{Name: "akv2k8s", Namespace: "akv2k8s",
		Values: map[string]any{"azureKeyVaultResyncPeriod": 2, "controller": map[string]any{"replicaCount": 2}}}))
	require.NoError(t, s.Namespace(t.Context(), "team", map[string]string{"azure-key-vault-env-injection": "enabled"}))
	require.NoError(t, s.Azure.Vault(t.Context(), "kv-team", map[string]string{"db": "value-0"}))
	resource := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "db"}}
	resource.Spec.Vault.Name, resource.Spec.Vault.Object.Name, resource.Spec.Vault.Object.Type = "kv-team", "db", "secret"
	resource.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: "db", DataKey: "v"}}
	require.NoError(t, s.Client.Create(t.Context(), resource))

	follows := func(value string) {
		t.Helper()
		require.NoError(t, s.Azure.Put(t.Context(), "kv-team", "db", value))
		require.NoError(t, stage.Await(t.Context(), time.Minute, "the Secret to follow", func(ctx context.Context) error {
			var secret corev1.Secret
			err := s.Client.Get(ctx, types.NamespacedName{Namespace: "team", Name: "db"}, &secret)
			if err == nil && string(secret.Data["v"]) != value {
				err = fmt.Errorf("it is older")
			}
			return err
		}))
	}
	follows("value-1")
	for round, component := range []string{"akv2k8s-webhook", "akv2k8s-controller", "akv2k8s-webhook"} {
		var pods corev1.PodList
		require.NoError(t, s.Client.List(t.Context(), &pods, client.InNamespace("akv2k8s"), client.MatchingLabels{"app.kubernetes.io/component": component}))
		require.Len(t, pods.Items, 2)
		created := names(fmt.Sprintf("round-%d", round), 6)
		for i, name := range created {
			if i == 2 {
				require.NoError(t, s.Client.Delete(t.Context(), &pods.Items[0]))
			}
			require.NoError(t, s.Client.Create(t.Context(), printer(s, name)), "admission works throughout")
			time.Sleep(300 * time.Millisecond)
		}
		follows(fmt.Sprintf("value-%d", round+2))
		for _, name := range created {
			require.NoError(t, stage.Await(t.Context(), time.Minute, "pod "+name, func(ctx context.Context) error {
				var p corev1.Pod
				err := s.Client.Get(ctx, types.NamespacedName{Namespace: "team", Name: name}, &p)
				if err == nil && p.Status.Phase != corev1.PodSucceeded {
					err = fmt.Errorf("it is %s", p.Status.Phase)
				}
				return err
			}))
		}
		require.NoError(t, stage.Await(t.Context(), time.Minute, "two replicas", func(ctx context.Context) error {
			require.NoError(t, s.Client.List(ctx, &pods, client.InNamespace("akv2k8s"), client.MatchingLabels{"app.kubernetes.io/component": component}))
			ready := 0
			for _, p := range pods.Items {
				for _, c := range p.Status.Conditions {
					if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil {
						ready++
					}
				}
			}
			if ready != 2 || len(pods.Items) != 2 {
				return fmt.Errorf("%d are ready", ready)
			}
			return nil
		}))
	}
}

// printer is a pod that ends well if its variable is a value.
func printer(s *stage.Stage, name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}, Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever,
		Containers: []corev1.Container{{Name: "app", Image: s.Image("testbox"), Command: []string{"sh", "-c", `case "$DB" in value-*) exit 0;; esac; exit 1`},
			Env: []corev1.EnvVar{{Name: "DB", Value: "db@azurekeyvault"}}}}}}
}
