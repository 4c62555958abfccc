package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/redactederror"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Store writes and removes outputs. Both fields are required.
type Store struct {
	// Client writes objects, and reads the metadata of outputs from a cache with the index OwnerIndex.
	Client client.Client
	// APIReader reads outputs with their data from the API server; the cache holds no data.
	APIReader client.Reader
}

// Result is an output of a resource: its desired state and the result of writing it.
type Result struct {
	Desired output.Desired
	// Hash is the keyed hash of all its data.
	Hash string
	// Written is true if a request was sent.
	Written bool
	// Changed is true if the data differed from the live object.
	Changed bool
	// Existed is true if the object existed before the write.
	Existed bool
	// CreatedAt is the creation time of an object that existed before the write.
	CreatedAt time.Time
	// ResourceVersion is the resourceVersion at which the output was last known to be in sync.
	ResourceVersion string
	// SoleOwner is true if no other resource had fields in the object at that resourceVersion.
	SoleOwner bool
	// Shared is true if the object also holds data of others.
	Shared bool
	// BecameShared is true if this write found that the object is shared, and removed the owner references.
	BecameShared bool
}

// OwnerOf returns the resource as the owner of its outputs.
func OwnerOf(resource *v2beta1.AzureKeyVaultSecret) output.Owner {
	return output.Owner{
		Name: resource.Name, Namespace: resource.Namespace, UID: resource.UID,
		Labels: resource.Labels, Annotations: resource.Annotations,
	}
}

// Write applies the desired output unless the live object already matches it, and fills in the result. Data keys that
// an older resource holds are left out, and Write returns a conflict for them; the other keys are still written.
func (s *Store) Write(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, m *Result) error {
	if s.tryCreate(ctx, resource, m) {
		return nil
	}
	live, found, err := s.readLive(ctx, m.Desired)
	if err != nil {
		return err
	}
	m.Changed = !found || output.IsDataChanged(live, m.Desired)
	m.Existed, m.CreatedAt = found, live.CreationTimestamp.Time
	m.SoleOwner = len(output.OtherOwnerUIDs(live, m.Desired.Owner)) == 0 && !output.HasV1Fields(live)
	if !found {
		return s.applyOutput(ctx, m, m.Desired.ApplyConfig(""))
	}
	return s.updateOutput(ctx, resource, m, live)
}

// updateOutput changes the live object to the desired state.
func (s *Store) updateOutput(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, m *Result,
	live output.Live) error {
	if err := output.CheckWritable(live, m.Desired); err != nil {
		return err
	}
	others, err := s.findOtherOwners(ctx, resource, live)
	if err != nil {
		return err
	}
	conflict := errors.Join(s.dropContestedKeys(live, m, others), s.dropForeignDataKeys(live, m))
	if err := others.refuseShared(live, m.Desired); err != nil {
		return err
	}
	if output.HasForeignData(live, m.Desired) {
		if err := s.prepareSharedWrite(ctx, m, live); err != nil {
			return err
		}
	} else if output.RecreateReason(live, m.Desired) != "" {
		return s.recreateOutput(ctx, m, live, others)
	}
	if output.IsInSync(live, m.Desired) {
		m.ResourceVersion = live.ResourceVersion
	} else if err := s.applyOutput(ctx, m, m.Desired.ApplyConfig(live.UID)); err != nil {
		// Somebody can have replaced the object since it was read. With the uid, the apply then fails instead of
		// adopting the new object.
		return err
	}
	if err := s.removeOrphanedKeys(ctx, m, live, others); err != nil {
		return err
	}
	if err := s.dropV1Ownership(ctx, m, live, others); err != nil {
		return err
	}
	return conflict
}

// tryCreate creates an output that probably does not exist with a single request, and reports whether it did. If the
// request fails for any reason, nothing was changed, and the caller continues with the usual read and update.
func (s *Store) tryCreate(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, m *Result) bool {
	d := m.Desired
	if d.Name == output.NameInStatus(d.Kind, &resource.Status) {
		return false
	}
	err := s.Client.Get(ctx, types.NamespacedName{Namespace: d.Owner.Namespace, Name: d.Name},
		NewPartialMetadata(d.Kind))
	if !apierrors.IsNotFound(err) {
		return false
	}
	configuration := d.ApplyConfig("").CreateOnly()
	if s.Client.Apply(ctx, configuration.Body, client.FieldOwner(d.Owner.FieldManager())) != nil {
		return false
	}
	m.Changed, m.Written, m.SoleOwner, m.ResourceVersion = true, true, true, configuration.ResourceVersion()
	return true
}

// IsUnchanged reports whether the output in the cache still has the resourceVersion at which it was last in sync.
func (s *Store) IsUnchanged(ctx context.Context, kind output.Kind, name types.NamespacedName,
	resourceVersion string) (bool, error) {
	live := NewPartialMetadata(kind)
	err := s.Client.Get(ctx, name, live)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && live.ResourceVersion == resourceVersion, err
}

// OwnedData returns the data that the owner has in an output; nil if the output does not exist.
func (s *Store) OwnedData(ctx context.Context, d output.Desired) (map[string]keyvault.Value, error) {
	live, found, err := s.readLive(ctx, d)
	if err != nil || !found {
		return nil, err
	}
	values := map[string]keyvault.Value{}
	for key, value := range output.OwnerData(live, d.Owner) {
		values[key] = keyvault.NewValue(value)
	}
	return values, nil
}

// readLive reads the output with its data from the API server.
func (s *Store) readLive(ctx context.Context, d output.Desired) (output.Live, bool, error) {
	object := d.Kind.NewObject()
	err := s.APIReader.Get(ctx, types.NamespacedName{Namespace: d.Owner.Namespace, Name: d.Name}, object)
	switch {
	case apierrors.IsNotFound(err):
		return output.Live{}, false, nil
	case err != nil:
		return output.Live{}, false, fmt.Errorf("reading %s %s/%s: %w", d.Kind, d.Owner.Namespace, d.Name, err)
	}
	return d.Kind.LiveFrom(object), true, nil
}

// applyOutput always forces ownership: the caller has already decided what can be overwritten, and hand-made edits of
// our own keys must be reverted.
func (s *Store) applyOutput(ctx context.Context, m *Result, configuration output.ApplyConfig) error {
	owner := client.FieldOwner(m.Desired.Owner.FieldManager())
	if err := classifyApplyError(s.Client.Apply(ctx, configuration.Body, owner, client.ForceOwnership),
		m.Desired); err != nil {
		return err
	}
	m.Written, m.ResourceVersion = true, configuration.ResourceVersion()
	return nil
}

// classifyApplyError classifies the error of an apply.
func classifyApplyError(err error, d output.Desired) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err):
		return fault.New(fault.Conflict, "%s %q was replaced while it was being written; retrying", d.Kind, d.Name)
	}
	return classifyError(err, fmt.Sprintf("writing %s %s/%s", d.Kind, d.Owner.Namespace, d.Name))
}

// classifyError separates rejected requests, which need an action by a user, from other failures of the API server.
func classifyError(err error, doing string) error {
	switch {
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err),
		apierrors.IsRequestEntityTooLargeError(err), redactederror.IsWebhookDenied(err):
		return fault.New(fault.Conflict, "%s: the API server rejected the request: %s", doing,
			redactederror.Describe(err))
	}
	return redactederror.Wrap(err, "%s", doing)
}

// clientObject returns the live object as an object for the client, with only what identifies it.
func clientObject(live output.Live) client.Object {
	object := live.Kind.NewObject()
	object.SetNamespace(live.Namespace)
	object.SetName(live.Name)
	object.SetUID(live.UID)
	object.SetResourceVersion(live.ResourceVersion)
	return object
}
