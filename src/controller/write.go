package controller

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
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

// write applies the desired Secret unless the live one already is it. It returns whether it wrote, and the resourceVersion at
// which the Secret is right.
func (c *Controller) write(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, o outcome) (bool, string, error) {
	owner := ownerOf(resource)
	desired := output.DesiredSecret(owner, *o.recipe.Secret, o.data)
	var live corev1.Secret
	err := c.Live.Get(ctx, types.NamespacedName{Namespace: owner.Namespace, Name: *desired.Name}, &live)
	switch {
	case apierrors.IsNotFound(err):
		return c.apply(ctx, owner, desired)
	case err != nil:
		return false, "", fmt.Errorf("reading Secret %s/%s: %w", owner.Namespace, *desired.Name, err)
	}
	if err := c.allowed(ctx, resource, &live, desired); err != nil {
		return false, "", err
	}
	if output.InSync(owner, &live, desired) {
		return false, live.ResourceVersion, nil
	}
	// Between the read and the apply somebody may have put another object in its place; with the uid the apply then fails
	// instead of adopting it.
	desired.WithUID(live.UID)
	return c.apply(ctx, owner, desired)
}

// apply always forces: what may be overwritten was decided before, and a hand-made edit of our own key has to give way.
func (c *Controller) apply(ctx context.Context, owner output.Owner, desired *corev1ac.SecretApplyConfiguration) (bool, string, error) {
	name, sent := *desired.Name, maps.Clone(desired.Data)
	err := c.Client.Apply(ctx, desired, client.FieldOwner(owner.Manager()), client.ForceOwnership)
	switch {
	case apierrors.IsConflict(err):
		return false, "", fault.New(fault.Conflict, "Secret %q was replaced while it was being written; it is tried again", name)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return false, "", fault.New(fault.Conflict, "the API server refuses Secret %q: %s", name, scrub(err.Error(), sent))
	case err != nil:
		return false, "", fault.New(fault.Bug, "applying Secret %s/%s: %s", owner.Namespace, name, scrub(err.Error(), sent))
	case desired.ResourceVersion == nil:
		return true, "", nil
	}
	return true, *desired.ResourceVersion, nil
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

// allowed refuses objects of others, and data keys that an elder resource holds.
func (c *Controller) allowed(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, live *corev1.Secret,
	desired *corev1ac.SecretApplyConfiguration,
) error {
	owner := ownerOf(resource)
	if err := output.Writable(owner, live, desired); err != nil {
		return err
	}
	claims := output.Claims(owner, live, desired)
	if len(claims) == 0 {
		return nil
	}
	var others v2beta1.AzureKeyVaultSecretList
	if err := c.Client.List(ctx, &others, client.InNamespace(resource.Namespace)); err != nil {
		return fmt.Errorf("listing the AzureKeyVaultSecrets of %s: %w", resource.Namespace, err)
	}
	for i := range others.Items {
		other := &others.Items[i]
		for _, uid := range claims {
			if string(other.UID) == uid && elder(other, resource) {
				return fault.New(fault.Conflict, "Secret %q already has the data key from AzureKeyVaultSecret %q, which is older; "+
					"choose another spec.output.secret.dataKey or spec.output.secret.name", live.Name, other.Name)
			}
		}
	}
	return nil
}

// elder decides between two resources that claim one data key, the same way on every replica and after every restart.
func elder(a, b *v2beta1.AzureKeyVaultSecret) bool {
	at, bt := a.CreationTimestamp.Truncate(time.Second), b.CreationTimestamp.Truncate(time.Second)
	if at.Equal(bt) {
		return a.UID < b.UID
	}
	return at.Before(bt)
}
