package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/refusal"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Store writes outputs; both fields are required.
type Store struct {
	// Client writes, and reads the metadata of outputs from a cache with the index OwnerIndex.
	Client client.Client
	// Live reads outputs with their data from the API server; the cache holds none.
	Live client.Reader
}

// Made is one output of a resource.
type Made struct {
	Desired output.Desired
	// Hash is the fingerprint of all its data.
	Hash string
	// Written says that something was sent; Changed that the data differed from what was there.
	Written, Changed bool
	// Existed says that an object was there before, and Since when that was created.
	Existed bool
	Since   time.Time
	// Version is the resourceVersion at which the output was seen to be right.
	Version string
	// Alone says that no other resource had a part in it then.
	Alone bool
	// Shared says that the object also holds data of others; Detached that this was found just now, and its owner
	// references were removed.
	Shared, Detached bool
}

// OwnerOf is the resource as the owner of its outputs.
func OwnerOf(resource *v2beta1.AzureKeyVaultSecret) output.Owner {
	return output.Owner{
		Name: resource.Name, Namespace: resource.Namespace, UID: resource.UID,
		Labels: resource.Labels, Annotations: resource.Annotations,
	}
}

// Write applies the desired output unless the live one already is it, and fills what was made. Data keys that an elder
// resource holds are left out, and that is the error; the others are written all the same.
func (s *Store) Write(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, m *Made) error {
	if s.create(ctx, resource, m) {
		return nil
	}
	live, found, err := s.live(ctx, m.Desired)
	if err != nil {
		return err
	}
	m.Changed = !found || output.Changes(live, m.Desired)
	m.Existed, m.Since = found, live.CreationTimestamp.Time
	m.Alone = len(output.Others(live, m.Desired.Owner)) == 0 && !output.IsLegacy(live)
	if !found {
		return s.apply(ctx, m, m.Desired.Configuration(""))
	}
	return s.update(ctx, resource, m, live)
}

// update makes of the live object the desired one.
func (s *Store) update(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, m *Made, live output.Live) error {
	if err := output.Writable(live, m.Desired); err != nil {
		return err
	}
	others, err := s.others(ctx, resource, live)
	if err != nil {
		return err
	}
	conflict := errors.Join(s.yield(live, m, others), s.leaveContested(live, m))
	if err := others.share(live, m.Desired); err != nil {
		return err
	}
	if output.HoldsOthers(live, m.Desired) {
		if err := s.join(ctx, m, live); err != nil {
			return err
		}
	} else if output.Fixed(live, m.Desired) != "" {
		return s.replace(ctx, m, live, others)
	}
	if output.InSync(live, m.Desired) {
		m.Version = live.ResourceVersion
	} else if err := s.apply(ctx, m, m.Desired.Configuration(live.UID)); err != nil {
		// Between the read and the apply somebody may have put another object in its place; with the uid the apply then
		// fails instead of adopting it.
		return err
	}
	if err := s.evict(ctx, m, live, others); err != nil {
		return err
	}
	if err := s.succeed(ctx, m, live, others); err != nil {
		return err
	}
	return conflict
}

// create makes an output that most likely does not exist, in one request, and says whether it did. If that fails, for
// whatever reason, nothing was done, and what is there is looked at as ever.
func (s *Store) create(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, m *Made) bool {
	d := m.Desired
	if d.Name == map[output.Kind]string{output.Secret: resource.Status.SecretName,
		output.ConfigMap: resource.Status.ConfigMapName}[d.Kind] {
		return false
	}
	err := s.Client.Get(ctx, types.NamespacedName{Namespace: d.Owner.Namespace, Name: d.Name}, Metadata(d.Kind))
	if !apierrors.IsNotFound(err) {
		return false
	}
	configuration := d.Configuration("").Absent()
	if s.Client.Apply(ctx, configuration.Body(), client.FieldOwner(d.Owner.Manager())) != nil {
		return false
	}
	m.Changed, m.Written, m.Alone, m.Version = true, true, true, configuration.Version()
	return true
}

// Untouched says whether the cache has an output as it was when it was seen to be right.
func (s *Store) Untouched(ctx context.Context, namespace string, m Made) (bool, error) {
	live := Metadata(m.Desired.Kind)
	err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: m.Desired.Name}, live)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && live.ResourceVersion == m.Version, err
}

// Held are the data that the owner has in an output; none if there is no such output.
func (s *Store) Held(ctx context.Context, d output.Desired) (map[string]keyvault.Value, error) {
	live, found, err := s.live(ctx, d)
	if err != nil || !found {
		return nil, err
	}
	values := map[string]keyvault.Value{}
	for key, value := range output.DataOf(live, d.Owner) {
		values[key] = keyvault.NewValue(value)
	}
	return values, nil
}

// live reads the output with its data.
func (s *Store) live(ctx context.Context, d output.Desired) (output.Live, bool, error) {
	var secret corev1.Secret
	var configMap corev1.ConfigMap
	var object client.Object = &secret
	if d.Kind == output.ConfigMap {
		object = &configMap
	}
	err := s.Live.Get(ctx, types.NamespacedName{Namespace: d.Owner.Namespace, Name: d.Name}, object)
	switch {
	case apierrors.IsNotFound(err):
		return output.Live{}, false, nil
	case err != nil:
		return output.Live{}, false, fmt.Errorf("reading %s %s/%s: %w", d.Kind, d.Owner.Namespace, d.Name, err)
	case d.Kind == output.ConfigMap:
		return output.LiveConfigMap(&configMap), true, nil
	}
	return output.LiveSecret(&secret), true, nil
}

// apply always forces: what may be overwritten was decided before, and a hand-made edit of our own key has to give way.
func (s *Store) apply(ctx context.Context, m *Made, configuration output.Configuration) error {
	owner := client.FieldOwner(m.Desired.Owner.Manager())
	if err := refused(s.Client.Apply(ctx, configuration.Body(), owner, client.ForceOwnership), m.Desired); err != nil {
		return err
	}
	m.Written, m.Version = true, configuration.Version()
	return nil
}

// refused classifies what the API server answered to an apply.
func refused(err error, d output.Desired) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err):
		return fault.New(fault.Conflict, "%s %q was replaced while it was being written; retrying", d.Kind, d.Name)
	}
	return classify(err, fmt.Sprintf("writing %s %s/%s", d.Kind, d.Owner.Namespace, d.Name))
}

// classify tells refusals, which somebody has to do something about, from failures of the API server.
func classify(err error, doing string) error {
	switch {
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err),
		apierrors.IsRequestEntityTooLargeError(err), refusal.Denied(err):
		return fault.New(fault.Conflict, "%s: the API server refuses it: %s", doing, refusal.Describe(err))
	}
	return refusal.Wrap(err, "%s", doing)
}

// objectOf names the live object to a client.
func objectOf(live output.Live) client.Object {
	if live.Kind == output.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: live.ObjectMeta}
	}
	return &corev1.Secret{ObjectMeta: live.ObjectMeta}
}
