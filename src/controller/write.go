package controller

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

func ownerOf(resource *v2beta1.AzureKeyVaultSecret) output.Owner {
	return output.Owner{
		Name: resource.Name, Namespace: resource.Namespace, UID: resource.UID,
		Labels: resource.Labels, Annotations: resource.Annotations,
	}
}

// write applies the desired output unless the live one already is it, and fills what was made. Data keys that an elder resource holds are left
// out, and that is the error; the others are written all the same.
func (c *Controller) write(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, m *made) error {
	live, found, err := c.live(ctx, m.desired)
	if err != nil {
		return err
	}
	m.changed = !found || output.Changes(live, m.desired)
	if !found {
		return c.apply(ctx, m, m.desired.Configuration(""))
	}
	if err := output.Writable(live, m.desired); err != nil {
		return err
	}
	others, err := c.others(ctx, resource, live)
	if err != nil {
		return err
	}
	conflict := c.yield(live, m, others)
	if reason := output.Fixed(live, m.desired); reason != "" {
		return c.replace(ctx, m, live, others, reason)
	}
	if output.InSync(live, m.desired) {
		m.version = live.ResourceVersion
	} else if err := c.apply(ctx, m, m.desired.Configuration(live.UID)); err != nil {
		// Between the read and the apply somebody may have put another object in its place; with the uid the apply then fails
		// instead of adopting it.
		return err
	}
	if err := c.evict(ctx, m, live, others); err != nil {
		return err
	}
	if err := c.succeed(ctx, m, live, others); err != nil {
		return err
	}
	return conflict
}

// live reads the output with its data.
func (c *Controller) live(ctx context.Context, d output.Desired) (output.Live, bool, error) {
	var secret corev1.Secret
	var configMap corev1.ConfigMap
	var object client.Object = &secret
	if d.Kind == output.ConfigMap {
		object = &configMap
	}
	err := c.Live.Get(ctx, types.NamespacedName{Namespace: d.Owner.Namespace, Name: d.Name}, object)
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
func (c *Controller) apply(ctx context.Context, m *made, configuration output.Configuration) error {
	d := m.desired
	err := c.Client.Apply(ctx, configuration.Body(), client.FieldOwner(d.Owner.Manager()), client.ForceOwnership)
	switch {
	case apierrors.IsConflict(err):
		return fault.New(fault.Conflict, "%s %q was replaced while it was being written; it is tried again", d.Kind, d.Name)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return fault.New(fault.Conflict, "the API server refuses %s %q: %s", d.Kind, d.Name, scrub(err.Error(), d.Data))
	case err != nil:
		return fault.New(fault.Bug, "applying %s %s/%s: %s", d.Kind, d.Owner.Namespace, d.Name, scrub(err.Error(), d.Data))
	}
	m.written, m.version = true, configuration.Version()
	return nil
}

// replace makes an object anew that can't be changed in place. An elder that still feeds it has the say; keys of younger ones come back by
// their own syncs, since the deletion wakes them.
func (c *Controller) replace(ctx context.Context, m *made, live output.Live, others rivals, reason string) error {
	if len(others.elder) > 0 {
		return fault.New(fault.Conflict, "%s %q %s, but AzureKeyVaultSecret %q, which is older, feeds it too; choose another name in spec.output",
			live.Kind, live.Name, reason, others.elder[0].Name)
	}
	if !output.OnlyOf(live, m.desired.Owner) && len(others.younger) == 0 {
		return fault.New(fault.Conflict, "%s %q %s, and holds data of others; delete it and it is made anew", live.Kind, live.Name, reason)
	}
	if err := c.remove(ctx, live); err != nil {
		return err
	}
	return c.apply(ctx, m, m.desired.Configuration(""))
}

// remove deletes exactly the object that was looked at.
func (c *Controller) remove(ctx context.Context, live output.Live) error {
	object := client.Object(&corev1.Secret{ObjectMeta: live.ObjectMeta})
	if live.Kind == output.ConfigMap {
		object = &corev1.ConfigMap{ObjectMeta: live.ObjectMeta}
	}
	uid, version := live.UID, live.ResourceVersion
	err := c.Client.Delete(ctx, object, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsConflict(err) {
		return fault.New(fault.Conflict, "%s %q was changed while it was being removed; it is tried again", live.Kind, live.Name)
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %s %s/%s: %w", live.Kind, live.Namespace, live.Name, err)
	}
	return nil
}

// yield leaves out the data keys that an elder holds.
func (c *Controller) yield(live output.Live, m *made, others rivals) error {
	claims := output.Claims(live, m.desired)
	var conflict error
	for _, other := range others.elder {
		keys := claims[string(other.UID)]
		if len(keys) == 0 {
			continue
		}
		m.desired = m.desired.Without(keys)
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
func (c *Controller) others(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, live output.Live) (rivals, error) {
	var r rivals
	uids := output.Others(live, ownerOf(resource))
	if len(uids) == 0 {
		return r, nil
	}
	// Not from the cache: with OBJECT_LABELS it has a part of the resources, and one that is not seen is not one that is gone.
	var all v2beta1.AzureKeyVaultSecretList
	if err := c.Live.List(ctx, &all, client.InNamespace(resource.Namespace)); err != nil {
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
func (c *Controller) evict(ctx context.Context, m *made, live output.Live, others rivals) error {
	for _, uid := range others.gone {
		if live.Typed() || !output.Applied(live, uid) {
			continue
		}
		left := output.Owner{UID: types.UID(uid)}
		nothing := output.Nothing(live)
		if err := c.Client.Apply(ctx, nothing.Body(), client.FieldOwner(left.Manager()), client.ForceOwnership); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("removing what a deleted AzureKeyVaultSecret left in %s %s/%s: %w", live.Kind, live.Namespace, live.Name, err)
		}
		m.version = nothing.Version()
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
