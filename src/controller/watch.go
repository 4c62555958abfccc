package controller

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	wakes "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// SetupWithManager adds the controller to the manager. Reconcile is called for each resource whose spec, labels or
// annotations change, and for the resources whose outputs change or are deleted. Only the metadata of outputs is
// watched. concurrency is the number of resources that are written at once; more resources can read their vaults at the
// same time.
func (c *Controller) SetupWithManager(ctx context.Context, mgr ctrl.Manager, concurrency int) error {
	c.writeSlots = make(chan struct{}, concurrency)
	c.watchSlots = fairshare.NewPool(int64(max(1, waitersPerWriter*concurrency/2))) // half of the reconciles
	changed := predicate.Or[client.Object](
		predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{},
		predicate.AnnotationChangedPredicate{})
	for _, kind := range output.Kinds() {
		if err := mgr.GetFieldIndexer().IndexField(ctx, store.NewPartialMetadata(kind), store.OwnerIndex,
			store.OwnerIndexValues); err != nil {
			return fmt.Errorf("indexing %ss by owner: %w", kind, err)
		}
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("azurekeyvaultsecret").
		For(&v2beta1.AzureKeyVaultSecret{}, builder.WithPredicates(changed))
	for _, kind := range output.Kinds() {
		b.WatchesMetadata(kind.NewObject(), handler.EnqueueRequestsFromMapFunc(requestsForOwners))
	}
	return b.
		// Unlike a source.Channel, the queue never blocks the read of a vault that found the change.
		WatchesRawSource(wakes.Func(func(_ context.Context,
			queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			c.enqueue = queue.Add
			return nil
		})).
		WithOptions(controller.Options{MaxConcurrentReconciles: waitersPerWriter * concurrency}).
		Complete(c)
}

// OnObjectChanged triggers a refresh of the resources that use a vault object. Call it when the vault's
// list shows a change of that object.
func (c *Controller) OnObjectChanged(object keyvault.Ref) {
	for _, name := range c.state.RequestRefresh(object, c.Clock()) {
		if c.enqueue != nil {
			c.enqueue(reconcile.Request{NamespacedName: name})
		}
	}
}

// requestsForOwners returns requests for the resources that an output belongs to or that share it, whether they exist
// or not. This way the controller finds a resource that was deleted while it did not run. The namespace is that of the
// output, because owner references can't cross namespaces.
func requestsForOwners(_ context.Context, object client.Object) []reconcile.Request {
	var requests []reconcile.Request
	names := output.OwnerNames(object.GetOwnerReferences())
	for _, share := range output.KeyOwnerships(object.GetAnnotations()) {
		names = append(names, share.ResourceName)
	}
	for _, name := range names {
		requests = append(requests,
			reconcile.Request{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: name}})
	}
	return requests
}
