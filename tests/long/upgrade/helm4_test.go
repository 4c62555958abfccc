//go:build cluster

package upgrade

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// helm4 does with Helm 4 what was done with Helm 3: a release of 2.8, an upgrade, a rollback, and the upgrade again.
func helm4(t *testing.T) {
	_, err := s.Helm(t.Context(), "uninstall", home, "--namespace", home, "--wait")
	require.NoError(t, err)
	gone(t)
	for _, name := range []string{"akv2k8s-envinjector-ca", "akv2k8s-envinjector-tls"} { // kept by the upgrade before
		require.NoError(t, client.IgnoreNotFound(s.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: name}})))
	}
	four, err := s.ByHelm(t.Context(), "4")
	require.NoError(t, err)
	useV1Definition(t)
	_, err = four.Helm(t.Context(), "install", home, "testdata/akv2k8s", "--namespace", home, "--values", "testdata/values.yaml", "--wait", "--timeout", "2m")
	require.NoError(t, err)
	upgrade := func() {
		require.NoError(t, four.Install(t.Context(), stage.Release{Name: home, Namespace: home, Values: usersValues(t)}))
	}
	upgrade()
	current(t)
	var d appsv1.Deployment
	require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Namespace: home, Name: "akv2k8s-controller"}, &d))
	applied := false
	for _, entry := range d.ManagedFields {
		applied = applied || entry.Operation == metav1.ManagedFieldsOperationApply
	}
	assert.True(t, applied, "by server-side apply: %v", d.ManagedFields)
	awaitPassword(t, "by-helm-4")
	// Its rollback wants the field back that the env-injector owns.
	_, err = four.Helm(t.Context(), "rollback", home, "1", "--namespace", home, "--wait", "--timeout", "2m", "--force-conflicts")
	require.NoError(t, err)
	require.NoError(t, s.Settled(t.Context(), home))
	assert.Equal(t, string(secretOf(t, "akv2k8s-envinjector-ca").Data["tls.crt"]), bundle(t))
	upgrade()
	awaitPassword(t, "by-helm-4-again")
}
