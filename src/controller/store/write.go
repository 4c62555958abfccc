package store

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
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
	// Version is the resourceVersion at which the output was seen to be right.
	Version string
}

// OwnerOf is the resource as the owner of its outputs.
func OwnerOf(resource *v2beta1.AzureKeyVaultSecret) output.Owner {
	return output.Owner{
		Name: resource.Name, Namespace: resource.Namespace, UID: resource.UID,
		Labels: resource.Labels, Annotations: resource.Annotations,
	}
}

// Write applies the desired output unless the live one already is it, and fills what was made. Data keys that an elder resource holds are left
// out, and that is the error; the others are written all the same.
func (s *Store) Write(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, m *Made) error {
	live, found, err := s.live(ctx, m.Desired)
	if err != nil {
		return err
	}
	m.Changed = !found || output.Changes(live, m.Desired)
	if !found {
		return s.apply(ctx, m, m.Desired.Configuration(""))
	}
	if err := output.Writable(live, m.Desired); err != nil {
		return err
	}
	others, err := s.others(ctx, resource, live)
	if err != nil {
		return err
	}
	conflict := s.yield(live, m, others)
	if reason := output.Fixed(live, m.Desired); reason != "" {
		return s.replace(ctx, m, live, others, reason)
	}
	if output.InSync(live, m.Desired) {
		m.Version = live.ResourceVersion
	} else if err := s.apply(ctx, m, m.Desired.Configuration(live.UID)); err != nil {
		// Between the read and the apply somebody may have put another object in its place; with the uid the apply then fails
		// instead of adopting it.
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
	d := m.Desired
	err := s.Client.Apply(ctx, configuration.Body(), client.FieldOwner(d.Owner.Manager()), client.ForceOwnership)
	switch {
	case apierrors.IsConflict(err):
		return fault.New(fault.Conflict, "%s %q was replaced while it was being written; it is tried again", d.Kind, d.Name)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return fault.New(fault.Conflict, "the API server refuses %s %q: %s", d.Kind, d.Name, scrub(err.Error(), d.Data))
	case err != nil:
		return fault.New(fault.Bug, "applying %s %s/%s: %s", d.Kind, d.Owner.Namespace, d.Name, scrub(err.Error(), d.Data))
	}
	m.Written, m.Version = true, configuration.Version()
	return nil
}

// replace makes an object anew that can't be changed in place. An elder that still feeds it has the say; keys of younger ones come back by
// their own syncs, since the deletion wakes them.
func (s *Store) replace(ctx context.Context, m *Made, live output.Live, others rivals, reason string) error {
	if len(others.elder) > 0 {
		return fault.New(fault.Conflict, "%s %q %s, but AzureKeyVaultSecret %q, which is older, feeds it too; choose another name in spec.output",
			live.Kind, live.Name, reason, others.elder[0].Name)
	}
	if !output.OnlyOf(live, m.Desired.Owner) && len(others.younger) == 0 {
		return fault.New(fault.Conflict, "%s %q %s, and holds data of others; delete it and it is made anew", live.Kind, live.Name, reason)
	}
	if err := s.remove(ctx, live); err != nil {
		return err
	}
	return s.apply(ctx, m, m.Desired.Configuration(""))
}

// remove deletes exactly the object that was looked at.
func (s *Store) remove(ctx context.Context, live output.Live) error {
	uid, version := live.UID, live.ResourceVersion
	err := s.Client.Delete(ctx, objectOf(live), client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsConflict(err) {
		return fault.New(fault.Conflict, "%s %q was changed while it was being removed; it is tried again", live.Kind, live.Name)
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %s %s/%s: %w", live.Kind, live.Namespace, live.Name, err)
	}
	return nil
}

// objectOf names the live object to a client.
func objectOf(live output.Live) client.Object {
	if live.Kind == output.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: live.ObjectMeta}
	}
	return &corev1.Secret{ObjectMeta: live.ObjectMeta}
}

// yield leaves out the data keys that an elder holds.
func (s *Store) yield(live output.Live, m *Made, others rivals) error {
	claims := output.Claims(live, m.Desired)
	var conflict error
	for _, other := range others.elder {
		keys := claims[string(other.UID)]
		if len(keys) == 0 {
			continue
		}
		m.Desired = m.Desired.Without(keys)
		conflict = fault.New(fault.Conflict, "%s %q already has the data key %s from AzureKeyVaultSecret %q, which is older; "+
			"choose another dataKey or name in spec.output", live.Kind, live.Name, strings.Join(keys, ", "), other.Name)
	}
	return conflict
}

// rivals are the other resources that have something of an output, in the order of their age; gone are uids of which there is no resource.
type rivals struct {
	elder, younger []*v2beta1.AzureKeyVaultSecret
	gone           []string
}

// others finds them. Most outputs have one owner, and cost no look.
func (s *Store) others(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, live output.Live) (rivals, error) {
	var r rivals
	uids := output.Others(live, OwnerOf(resource))
	if len(uids) == 0 {
		return r, nil
	}
	// Not from the cache: with OBJECT_LABELS it has a part of the resources, and one that is not seen is not one that is gone.
	var all v2beta1.AzureKeyVaultSecretList
	if err := s.Live.List(ctx, &all, client.InNamespace(resource.Namespace)); err != nil {
		return r, fmt.Errorf("listing the AzureKeyVaultSecrets of %s: %w", resource.Namespace, err)
	}
	for i := range all.Items {
		other := &all.Items[i]
		at := slices.Index(uids, string(other.UID))
		if at < 0 {
			continue
		}
		uids = slices.Delete(uids, at, at+1)
		if elder(other, resource) {
			r.elder = append(r.elder, other)
		} else {
			r.younger = append(r.younger, other)
		}
	}
	r.gone = uids
	return r, nil
}

// evict takes what resources left behind that no longer exist: their keys would stay for ever, since the object has an owner that lives. Typed
// Secrets need their keys, and are left to the garbage collector.
func (s *Store) evict(ctx context.Context, m *Made, live output.Live, others rivals) error {
	for _, uid := range others.gone {
		if live.Typed() || !output.Applied(live, uid) {
			continue
		}
		left := output.Owner{UID: types.UID(uid)}
		nothing := output.Nothing(live)
		if err := s.Client.Apply(ctx, nothing.Body(), client.FieldOwner(left.Manager()), client.ForceOwnership); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("removing what a deleted AzureKeyVaultSecret left in %s %s/%s: %w", live.Kind, live.Namespace, live.Name, err)
		}
		m.Version = nothing.Version()
	}
	return nil
}

// scrub takes the values that were sent out of a text that somebody else wrote: an admission webhook may quote what it refuses.
func scrub(text string, sent map[string][]byte) string {
	for _, value := range sent {
		if len(value) == 0 {
			continue
		}
		for _, form := range []string{string(value), strconv.Quote(string(value)), base64.StdEncoding.EncodeToString(value)} {
			text = strings.ReplaceAll(text, strings.Trim(form, `"`), keyvault.Redacted)
		}
	}
	return text
}

// elder decides between two resources that claim one data key, the same way on every replica and after every restart.
func elder(a, b *v2beta1.AzureKeyVaultSecret) bool {
	at, bt := a.CreationTimestamp.Truncate(time.Second), b.CreationTimestamp.Truncate(time.Second)
	if at.Equal(bt) {
		return a.UID < b.UID
	}
	return at.Before(bt)
}
