package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Event reasons; the first three are the predecessor's, and users alert on them.
const (
	eventSynced         = "Synced"
	eventErrVault       = "ErrAzureVault"
	eventResourceExists = "ErrResourceExists"
	eventIgnored        = "AzureIdentityIgnored"
	eventExpiring       = "ExpiringSoon"
)

// identityIgnored tells what the predecessor never told: the field was documented and had no effect.
const identityIgnored = "spec.vault.azureIdentity is ignored: this installation reads every vault with its own identity; see the value identity.serviceAccounts"

// maxMessage bounds the message of a condition, in bytes.
const maxMessage = 1024

// report writes the status if it changed, and an event if something happened. An unchanged object costs no write.
func (c *Controller) report(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, o outcome) error {
	c.Metrics.synced(resource, o)
	updated := resource.DeepCopy()
	c.fill(&updated.Status, resource.Generation, o)
	if news(resource, updated, o) {
		c.announce(resource, o)
	}
	if expiring := turned(resource, updated, v2beta1.ConditionExpiringSoon); expiring != nil {
		c.Events.Eventf(resource, nil, corev1.EventTypeWarning, eventExpiring, "Sync", "%s", expiring.Message)
	}
	if equality.Semantic.DeepEqual(resource.Status, updated.Status) {
		return nil
	}
	err := c.Client.Status().Patch(ctx, updated, client.MergeFrom(resource))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing the status of AzureKeyVaultSecret %s/%s: %w", resource.Namespace, resource.Name, err)
	}
	return nil
}

// news says whether there is something to tell: the data changed, or the failure is not the one that was told last.
func news(before, after *v2beta1.AzureKeyVaultSecret, o outcome) bool {
	if o.changed() {
		return true
	}
	was := meta.FindStatusCondition(before.Status.Conditions, v2beta1.ConditionReady)
	is := meta.FindStatusCondition(after.Status.Conditions, v2beta1.ConditionReady)
	return was == nil || was.Status != is.Status || was.Reason != is.Reason
}

// turned gives a condition that became true just now, or true for another reason.
func turned(before, after *v2beta1.AzureKeyVaultSecret, condition string) *metav1.Condition {
	was := meta.FindStatusCondition(before.Status.Conditions, condition)
	is := meta.FindStatusCondition(after.Status.Conditions, condition)
	if is == nil || is.Status != metav1.ConditionTrue || (was != nil && was.Status == is.Status && was.Reason == is.Reason) {
		return nil
	}
	return is
}

func (c *Controller) announce(resource *v2beta1.AzureKeyVaultSecret, o outcome) {
	if o.err == nil {
		c.Events.Eventf(resource, nil, corev1.EventTypeNormal, eventSynced, "Sync", "%s", o.summary())
		if o.recipe.Identity != "" && !c.Identities.Allowed {
			c.Events.Eventf(resource, nil, corev1.EventTypeWarning, eventIgnored, "Sync", "%s", identityIgnored)
		}
		return
	}
	c.Events.Eventf(resource, nil, corev1.EventTypeWarning, eventReason(o.kind()), "Sync", "%s", message(o.err))
}

func eventReason(kind fault.Kind) string {
	switch kind {
	case fault.Conflict:
		return eventResourceExists
	case fault.Invalid, fault.Bug:
		return kind.Reason()
	default:
		return eventErrVault
	}
}
