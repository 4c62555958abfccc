package controller

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/schedule"
	"github.com/akv2k8s/akv2k8s/src/controller/state"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// resourceSync is one reconcile of one resource. Each step reads the fields that the steps before it have set, and sets
// its own.
type resourceSync struct {
	*Controller
	name types.NamespacedName
	// resource is the AzureKeyVaultSecret; nil if there is nothing to do.
	resource *v2beta1.AzureKeyVaultSecret
	// last is what the controller remembers of the resource from earlier syncs.
	last   state.Resource
	recipe recipe.Recipe
	// request is the refresh that the resource's annotation requests and that the vault has not answered; empty if
	// there is none.
	request string
	// valueHash is the keyed hash of the objects of a resource that only pods use; empty if the vault was not read.
	valueHash string
	// contents holds the objects that the vault returned; empty if the vault was not read.
	contents []decode.FetchedItem
	// outputs holds the outputs. Some can be written even if another one failed.
	outputs []store.Result
	// restart is the restart of workloads that is scheduled after the sync.
	restart state.Restart
	// err is the error of the step that failed; nil after a success.
	err error
}

// Reconcile synchronizes the outputs of one resource, or determines that they are in sync. A step that fails ends the
// list of steps; its error is reported in the status, and a retry is scheduled. Reconcile itself returns only errors of
// the API server, and those that nobody classified.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &resourceSync{Controller: c, name: req.NamespacedName}
	if err := s.readResource(ctx); err != nil {
		return ctrl.Result{}, err
	}
	if s.resource == nil {
		c.state.Remove(s.name)
		return ctrl.Result{}, c.store.ReleaseSharedOutputs(ctx, s.name)
	}
	s.last = c.state.Get(s.name)
	if s.isRestartDue() {
		s.restartWorkloads(ctx)
	}
	s.request = openRequest(s.resource, s.last)
	if later, err := s.waitForSync(ctx); err != nil || later != nil {
		return ptr.Deref(later, ctrl.Result{}), err
	}
	release, ok := s.acquireWatchSlot()
	if !ok {
		return requeueAfter(schedule.AddJitter(s.resource.UID, watchSlotRetry)), nil
	}
	defer release()
	s.last = c.state.BeginSync(s.name)
	s.beginRequestedRefresh()
	for _, step := range []func(context.Context) error{
		s.resolveRecipe,
		s.restoreOutputs,
		s.fetchObjects,
		s.renderOutputs,
		s.hashObjects,
		s.writeOutputs,
	} {
		if s.err = step(ctx); s.err != nil {
			break
		}
	}
	if wait, quiet := s.isDeferred(); quiet {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	s.restart = s.nextRestart()
	if err := s.reportResult(ctx); err != nil {
		return ctrl.Result{}, err
	}
	return s.scheduleNext(ctx)
}
