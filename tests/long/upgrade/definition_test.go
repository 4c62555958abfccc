//go:build cluster

package upgrade

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// definition is the live one.
func definition(ctx context.Context) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("apiextensions.k8s.io/v1")
	u.SetKind("CustomResourceDefinition")
	return u, s.Client.Get(ctx, types.NamespacedName{Name: crd.Name}, u)
}

// useV1Definition puts the definition of akv2k8s 1.8 in the place of ours, as kubectl replace does.
func useV1Definition(t *testing.T) {
	t.Helper()
	_, err := definition(t.Context())
	if apierrors.IsNotFound(err) {
		require.NoError(t, s.Apply(t.Context(), "", read(t, "akv2k8s", "crds", "azurekeyvaultsecret.yaml")))
	} else {
		require.NoError(t, err)
		out, err := kubectl(t, read(t, "akv2k8s", "crds", "azurekeyvaultsecret.yaml"), "replace", "-f", "-")
		require.NoError(t, err, out)
	}
	live, err := definition(t.Context())
	require.NoError(t, err)
	require.Zero(t, crd.Schema(live.GetAnnotations()))
}

// current wants our definition, whole: a field that the older one had not is known.
func current(t *testing.T) {
	t.Helper()
	live, err := definition(t.Context())
	require.NoError(t, err)
	assert.Positive(t, crd.Schema(live.GetAnnotations()))
	content, err := live.MarshalJSON()
	require.NoError(t, err)
	assert.Equal(t, 4, strings.Count(string(content), `"refreshInterval":{`), "every version has the whole schema")
	owners := map[string]bool{}
	for _, entry := range live.GetManagedFields() {
		owners[entry.Manager] = true
	}
	assert.True(t, owners["akv2k8s-crds"])
}

// clean wants nothing of the hook to be left but its Job, which goes by itself.
func clean(t *testing.T) {
	t.Helper()
	name := types.NamespacedName{Namespace: home, Name: "akv2k8s-crds"}
	assert.True(t, apierrors.IsNotFound(s.Client.Get(t.Context(), name, &corev1.ServiceAccount{})))
	assert.True(t, apierrors.IsNotFound(s.Client.Get(t.Context(), types.NamespacedName{Name: "akv2k8s-crds-akv2k8s"}, &rbacv1.ClusterRole{})))
	var jobs batchv1.JobList
	require.NoError(t, s.Client.List(t.Context(), &jobs, client.InNamespace(home)))
	for _, job := range jobs.Items {
		assert.Equal(t, int32(600), *job.Spec.TTLSecondsAfterFinished, job.Name)
	}
}

func olderDefinition(t *testing.T) {
	require.NoError(t, s.Namespace(t.Context(), home, map[string]string{"test": "upgrade"}))
	install(t, nil)
	current(t)
	clean(t)
	team(t, "definitions")
	resource(t, "definitions", "one", "one")
	synced(t, "definitions", "one")

	useV1Definition(t)
	require.NoError(t, s.Client.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(home), client.MatchingLabels{"app.kubernetes.io/component": "akv2k8s-controller"}))
	require.NoError(t, stage.Await(t.Context(), patience, "the controller's refusal", func(ctx context.Context) error {
		logs, err := s.Logs(ctx, home)
		if err != nil {
			return err
		}
		for _, log := range logs {
			if strings.Contains(log, "has schema 0, and this version needs 3") && strings.Contains(log, "kubectl apply --server-side --force-conflicts") {
				return nil
			}
		}
		return fmt.Errorf("it says %v", logs)
	}))
	synced(t, "definitions", "one")

	install(t, map[string]any{"controller": map[string]any{"podAnnotations": map[string]any{"test/turn": "2"}}})
	current(t)
	clean(t)
	resource(t, "definitions", "two", "two")
	synced(t, "definitions", "two")
}

func uninstall(t *testing.T) {
	_, err := s.Helm(t.Context(), "uninstall", home, "--namespace", home, "--wait")
	require.NoError(t, err)
	gone(t)
	current(t)
	for _, name := range []string{"one", "two"} {
		synced(t, "definitions", name)
	}
	var roles rbacv1.ClusterRoleList
	require.NoError(t, s.Client.List(t.Context(), &roles))
	for _, role := range roles.Items {
		assert.NotContains(t, role.Name, "akv2k8s", "no right is left")
	}
}

func installOverOlder(t *testing.T) {
	useV1Definition(t)
	install(t, nil)
	current(t)
	resource(t, "definitions", "three", "three")
	synced(t, "definitions", "three")
	_, err := s.Helm(t.Context(), "uninstall", home, "--namespace", home, "--wait")
	require.NoError(t, err)
	gone(t)
}

// templated has no Helm in the cluster, and begins without any definition.
func templated(t *testing.T) {
	live, err := definition(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Client.Delete(t.Context(), live))
	require.NoError(t, stage.Await(t.Context(), patience, "the end of the definition", func(ctx context.Context) error {
		if _, err := definition(ctx); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there, or %w", err)
		}
		return nil
	}))
	require.NoError(t, s.Client.DeleteAllOf(t.Context(), &batchv1.Job{}, client.InNamespace(home), client.PropagationPolicy(metav1.DeletePropagationBackground)))
	manifest, err := s.Template(t.Context(), stage.Release{Name: home, Namespace: home, Values: map[string]any{"azureKeyVaultResyncPeriod": 5}})
	require.NoError(t, err)
	out, err := kubectl(t, manifest, "apply", "--namespace", home, "-f", "-")
	require.NoError(t, err, out)
	require.NoError(t, stage.Await(t.Context(), patience, "the definition", func(ctx context.Context) error {
		live, err := definition(ctx)
		if err == nil && crd.Schema(live.GetAnnotations()) == 0 {
			err = fmt.Errorf("it is an older one")
		}
		return err
	}))
	require.NoError(t, stage.Await(t.Context(), patience, "its being served", func(ctx context.Context) error {
		return s.Client.List(ctx, &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "spv.no/v2beta1", "kind": "AzureKeyVaultSecretList"}})
	}))
	current(t)
	resource(t, "definitions", "four", "four")
	synced(t, "definitions", "four")
	out, err = kubectl(t, manifest, "delete", "--namespace", home, "-f", "-")
	require.NoError(t, err, out)
	gone(t)
}
