package envinjector

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/program"
)

func TestOneNamespaceAndOneSecretAreWatched(t *testing.T) {
	for all, want := range map[bool]map[string]cache.Config{true: nil, false: {"own": {}}} {
		s := Settings{Settings: program.Settings{Namespace: "own", WatchAll: all}, serviceName: "hook"}
		seen := 0
		for object, by := range s.cacheByObject() {
			switch object.(type) {
			case *v2beta1.AzureKeyVaultSecret:
				assert.Equal(t, want, by.Namespaces, "every namespace, or its own alone")
				seen++
			case *corev1.Secret:
				require.Len(t, by.Namespaces, 1)
				selector := by.Namespaces["own"].FieldSelector
				require.NotNil(t, selector)
				assert.True(t, selector.Matches(fields.Set{"metadata.name": s.servingSecretName().Name}))
				assert.False(t, selector.Matches(fields.Set{"metadata.name": "somebody-elses"}))
				seen++
			}
		}
		assert.Equal(t, 2, seen)
	}
}
