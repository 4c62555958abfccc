package controller_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

func TestAnInstallationWatchesItsOwnNamespaceAloneIfItIsToldSo(t *testing.T) {
	for all, want := range map[bool]map[string]cache.Config{true: nil, false: {"own": {}}} {
		var options ctrl.Options
		require.NoError(t, controller.AddManagerOptions(&options, controller.ManagerConfig{Namespace: "own", Fullname: "akv", WatchAll: all, ObjectLabels: "team=a"}))
		assert.Equal(t, want, options.Cache.DefaultNamespaces)
		assert.Equal(t, []string{"akv-controller", "own"}, []string{options.LeaderElectionID, options.LeaderElectionNamespace})
		assert.True(t, options.LeaderElection, "two replicas would write in turns")
		for object, by := range options.Cache.ByObject {
			_, resource := object.(*v2beta1.AzureKeyVaultSecret)
			assert.Equal(t, resource, by.Label.Matches(labels.Set{"team": "a"}), "%T", object)
			assert.Equal(t, !resource, by.Label.Matches(labels.Set{wire.LabelManaged: "true"}), "%T", object)
			assert.False(t, by.Label.Matches(labels.Set{"team": "b"}), "%T", object)
		}
		assert.Len(t, options.Cache.ByObject, 3)
	}
	assert.ErrorContains(t, controller.AddManagerOptions(&ctrl.Options{}, controller.ManagerConfig{ObjectLabels: "a=b=c"}), "OBJECT_LABELS")
}
