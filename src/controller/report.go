package controller

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Event reasons; the first three are the predecessor's, and users alert on them.
const (
	eventSynced         = "Synced"
	eventErrVault       = "ErrAzureVault"
	eventResourceExists = "ErrResourceExists"
	eventIgnored        = "AzureIdentityIgnored"
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
	if equality.Semantic.DeepEqual(resource.Status, updated.Status) {
		return nil
	}
	err := c.Client.Status().Patch(ctx, updated, client.MergeFrom(resource))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing the status of AzureKeyVaultSecret %s/%s: %w", resource.Namespace, resource.Name, err)
	}
	return nil
}

// fill makes the new status. After a failure everything but the condition stays: it describes the last good output.
func (c *Controller) fill(status *v2beta1.AzureKeyVaultSecretStatus, generation int64, o outcome) {
	status.ObservedGeneration = generation
	condition := metav1.Condition{Type: v2beta1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: generation,
		LastTransitionTime: metav1.NewTime(c.Clock())}
	if o.err != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, o.kind().Reason(), message(o.err)
		meta.SetStatusCondition(&status.Conditions, condition)
		return
	}
	condition.Reason, condition.Message = eventSynced, o.summary()
	if as := o.contents[0].Object.Ref.As; as != (keyvault.Identity{}) {
		condition.Message += ", read as " + as.String()
	} else if o.recipe.Identity != "" {
		condition.Message += "; " + identityIgnored
	}
	meta.SetStatusCondition(&status.Conditions, condition)
	if o.changed() || status.LastAzureUpdate == nil {
		now := metav1.NewTime(c.Clock()).Rfc3339Copy()
		status.LastAzureUpdate = &now
	}
	status.SecretName, status.SecretHash, status.ConfigMapName, status.ConfigMapHash = "", "", "", ""
	for _, m := range o.outputs {
		if m.Desired.Kind == output.ConfigMap {
			status.ConfigMapName, status.ConfigMapHash = m.Desired.Name, m.Hash
		} else {
			status.SecretName, status.SecretHash = m.Desired.Name, m.Hash
		}
	}
	status.VaultVersion, status.Expires = "", nil
	if len(o.contents) == 1 {
		status.VaultVersion = o.contents[0].Object.Version
	}
	if at := expires(o.contents); !at.IsZero() {
		expires := metav1.NewTime(at).Rfc3339Copy()
		status.Expires = &expires
	}
}

// message keeps what is no fault of the vault's or the user's (and so may hold anything) out of the status.
func message(err error) string {
	if fault.KindOf(err) == fault.Bug {
		return "something went wrong inside the controller; see its log"
	}
	text := strings.ToValidUTF8(err.Error(), "?")
	if len(text) <= maxMessage {
		return text
	}
	end := maxMessage
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
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
