package ca

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// RolloutCheck returns a function that reports whether every replica of the Deployment, except terminating ones, has
// the newest pod template. Then none of 1.8 is left.
func RolloutCheck(live client.Reader, deployment types.NamespacedName) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		var d appsv1.Deployment
		if err := live.Get(ctx, deployment, &d); err != nil {
			return false, fmt.Errorf("reading Deployment %s: %w", deployment, err)
		}
		return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas > 0 &&
			d.Status.UpdatedReplicas == d.Status.Replicas, nil
	}
}
