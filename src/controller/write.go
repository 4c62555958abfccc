package controller

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// waitersPerWriter is the number of concurrent reconciles for each write slot. Resources whose vault does not answer
// then don't block the others.
const waitersPerWriter = 4

// acquireWriteSlot waits for a write slot and returns the function that releases it.
func (c *Controller) acquireWriteSlot() func() {
	if c.writeSlots == nil {
		return func() {}
	}
	c.writeSlots <- struct{}{}
	return func() { <-c.writeSlots }
}

// restoreOutputs creates outputs whose replacement was interrupted. It runs before the vault is read, because the vault
// can be unavailable. If it fails, the sync continues and creates them too.
func (s *resourceSync) restoreOutputs(ctx context.Context) error {
	for _, out := range s.recipe.Outputs {
		restored, err := s.restoreOutput(ctx, out)
		switch {
		case err != nil:
			log.FromContext(ctx).Error(err, "restoring an output whose replacement was interrupted failed", logkey.Kind,
				out.Kind, logkey.Name, out.Name)
		case restored:
			log.FromContext(ctx).Info("restored an output whose replacement was interrupted", logkey.Kind, out.Kind,
				logkey.Name, out.Name)
		}
	}
	return nil
}

func (s *resourceSync) restoreOutput(ctx context.Context, out recipe.Output) (restored bool, err error) {
	desired, err := output.NewDesired(store.OwnerOf(s.resource), out, nil)
	if err != nil {
		return false, err
	}
	return s.store.RestoreFromBackup(ctx, desired)
}

// watchSlotRetry is the delay before a resource that only pods use tries to get a slot again; jitter doubles it at
// most.
const watchSlotRetry = 5 * time.Second

// acquireWatchSlot returns false if enough resources that only pods use, of all namespaces or of this one, are being
// read. They never wait for a slot, because a waiting reconcile would delay syncs of outputs.
func (s *resourceSync) acquireWatchSlot() (release func(), ok bool) {
	if s.watchSlots == nil || !s.isForPodsOnly() || s.request != "" {
		return func() {}, true
	}
	if !s.watchSlots.TryAcquire(s.name.Namespace, 1) {
		return nil, false
	}
	return func() { s.watchSlots.Release(s.name.Namespace, 1) }, true
}

// writeOutputs writes the outputs that differ from the desired state, and removes those that the resource no longer
// wants. Without spec.output, it leaves earlier outputs alone.
func (s *resourceSync) writeOutputs(ctx context.Context) error {
	if s.isForPodsOnly() {
		return s.store.ReleaseSharedOutputs(ctx, s.name)
	}
	defer s.acquireWriteSlot()()
	wasInSync := s.last.IsCurrentFor(s.resource) && s.last.FailureKind == ""
	var failure error
	for i := range s.outputs {
		if wasInSync && s.isUpToDate(ctx, &s.outputs[i]) {
			continue
		}
		// An error with one output does not prevent the other from being written.
		failure = fault.Join(failure, s.store.Write(ctx, s.resource, &s.outputs[i]))
	}
	if failure != nil {
		return failure
	}
	return s.store.Prune(ctx, s.resource, s.outputs)
}

// isUpToDate reports whether an output of a resource that was in sync is known to match the desired state without
// reading its data: the data is the same, nobody has written to it since, and no other resource has fields in it. It
// fills in the result then.
func (s *resourceSync) isUpToDate(ctx context.Context, m *store.Result) bool {
	for _, was := range s.last.Outputs {
		same := was.Kind == m.Desired.Kind && was.Name == m.Desired.Name && was.Hash == m.Hash
		if !same || !was.SoleOwner || was.ResourceVersion == "" {
			continue
		}
		name := types.NamespacedName{Namespace: s.resource.Namespace, Name: was.Name}
		if unchanged, err := s.store.IsUnchanged(ctx, was.Kind, name, was.ResourceVersion); err != nil || !unchanged {
			return false
		}
		m.Existed, m.CreatedAt, m.ResourceVersion, m.SoleOwner, m.Shared = true, was.CreatedAt, was.ResourceVersion,
			true, was.Shared
		return true
	}
	return false
}
