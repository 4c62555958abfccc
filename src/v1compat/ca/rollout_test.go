package ca_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/akv2k8s/akv2k8s/src/v1compat/ca"
)

func TestReplicasOfV1AreSeen(t *testing.T) {
	for name, c := range map[string]struct {
		generation int64
		status     appsv1.DeploymentStatus
		alone      bool
	}{
		"all are new":            {2, appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 2}, true},
		"one is old":             {2, appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 2}, false},
		"nobody has looked":      {2, appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 2, UpdatedReplicas: 2}, false},
		"there is none, not one": {2, appsv1.DeploymentStatus{ObservedGeneration: 2}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "d", Generation: c.generation}, Status: c.status}
			isComplete := ca.RolloutCheck(fake.NewClientBuilder().WithObjects(d).Build(), types.NamespacedName{Namespace: "n", Name: "d"})
			alone, err := isComplete(t.Context())
			require.NoError(t, err)
			assert.Equal(t, c.alone, alone)
		})
	}
	_, err := ca.RolloutCheck(fake.NewClientBuilder().Build(), types.NamespacedName{})(t.Context())
	assert.Error(t, err)
}
