package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
)

// Register makes the manager call Reconcile: for each resource whose spec, labels or annotations change, and for the resources
// whose Secret is changed or deleted. Of Secrets only metadata is watched. concurrency is the number of resources that are
// worked on at once.
func (c *Controller) Register(mgr ctrl.Manager, concurrency int) error {
	changed := predicate.Or[client.Object](
		predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).
		Named("azurekeyvaultsecret").
		For(&v2beta1.AzureKeyVaultSecret{}, builder.WithPredicates(changed)).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(owners)).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(c)
}

// owners are the resources that a Secret belongs to. The namespace is the Secret's own: an owner reference can't cross it.
func owners(_ context.Context, secret client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, name := range output.OwnerNames(secret.GetOwnerReferences()) {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: secret.GetNamespace(), Name: name}})
	}
	return requests
}
