package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
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
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Event reasons. The first three are those of akv2k8s 1.8, and users alert on them.
const (
	eventSynced         = "Synced"
	eventErrVault       = "ErrAzureVault"
	eventResourceExists = "ErrResourceExists"
	eventIgnored        = "AzureIdentityIgnored"
	eventExpiring       = "ExpiringSoon"
	eventRestarted      = "RolloutRestarted"
	eventRestartRefused = "RolloutRestartRefused"
	eventShared         = "OutputShared"
)

// identityIgnored is the warning for a field that akv2k8s 1.8 documented but silently ignored.
const identityIgnored = "spec.vault.azureIdentity is ignored: this installation reads every vault with its own " +
	"identity; see the chart value identity.serviceAccounts"

// reportResult writes the status if it changed, and records events. An unchanged status costs no write.
func (c *Controller) reportResult(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, o syncResult) error {
	c.Metrics.CountSync(resource.Status.LastAzureUpdate == nil, o.err)
	updated := resource.DeepCopy()
	c.fillStatus(&updated.Status, resource.Generation, o)
	made := c.claimResource(resource, &updated.Status, o.recipe)
	if needsEvent(resource, updated, o) {
		c.recordSyncEvents(resource, o)
	}
	for _, m := range o.outputs {
		if m.BecameShared {
			c.recordEvent(resource, corev1.EventTypeNormal, eventShared, fmt.Sprintf(
				"%s %q also holds data of others: deleting this resource removes its keys but keeps the %[1]s",
				m.Desired.Kind, m.Desired.Name))
		}
	}
	if expiring := becameTrue(resource, updated, v2beta1.ConditionExpiringSoon); expiring != nil {
		c.recordEvent(resource, corev1.EventTypeWarning, eventExpiring, expiring.Message)
	}
	c.recordContestedEvent(resource, updated)
	name := client.ObjectKeyFromObject(resource)
	if equality.Semantic.DeepEqual(resource.Status, updated.Status) {
		c.state.setClaim(name, made)
		return nil
	}
	err := c.Client.Status().Patch(ctx, updated, client.MergeFrom(resource))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing the status of AzureKeyVaultSecret %s/%s: %w", resource.Namespace, resource.Name, err)
	}
	c.state.setClaim(name, made)
	return nil
}

// recordEvent records an event. The text is shortened, because the API server rejects one that is too long.
func (c *Controller) recordEvent(resource *v2beta1.AzureKeyVaultSecret, kind, reason, text string) {
	c.Events.Eventf(resource, nil, kind, reason, "Sync", "%s", truncateText(text, limits.EventNoteBytes))
}

// needsEvent reports whether an event is needed: the data changed, or the condition Ready has another status or reason.
func needsEvent(before, after *v2beta1.AzureKeyVaultSecret, o syncResult) bool {
	if o.hasChangedData() {
		return true
	}
	was := meta.FindStatusCondition(before.Status.Conditions, v2beta1.ConditionReady)
	is := meta.FindStatusCondition(after.Status.Conditions, v2beta1.ConditionReady)
	return was == nil || was.Status != is.Status || was.Reason != is.Reason
}

// becameTrue returns the condition if it has just become true, or true for another reason; otherwise nil.
func becameTrue(before, after *v2beta1.AzureKeyVaultSecret, condition string) *metav1.Condition {
	was := meta.FindStatusCondition(before.Status.Conditions, condition)
	is := meta.FindStatusCondition(after.Status.Conditions, condition)
	if is == nil || is.Status != metav1.ConditionTrue ||
		(was != nil && was.Status == is.Status && was.Reason == is.Reason) {
		return nil
	}
	return is
}

func (c *Controller) recordSyncEvents(resource *v2beta1.AzureKeyVaultSecret, o syncResult) {
	if o.err == nil {
		if c.eventLimiter.AllowN(c.Clock(), 1) {
			c.recordEvent(resource, corev1.EventTypeNormal, eventSynced, o.summaryText())
		}
		if o.recipe.Identity != "" && !c.Identities.AllowServiceAccounts {
			c.recordEvent(resource, corev1.EventTypeWarning, eventIgnored, identityIgnored)
		}
		if o.recipe.Restart != nil && c.Restarter == nil {
			c.recordEvent(resource, corev1.EventTypeWarning, eventRestartRefused, restartsIgnored)
		}
		return
	}
	if c.failureEventLimiter.AllowN(c.Clock(), 1) {
		c.recordEvent(resource, corev1.EventTypeWarning, eventReason(o.errorKind()), userMessage(o.err))
	}
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

// The reasons of ExpiringSoon. The reasons of Ready and Stale are Synced and those of fault.Kind.
const (
	reasonExpired  = "Expired"
	reasonExpiring = "Expiring"
	reasonNotSoon  = "NotSoon"
)

// fillStatus sets the new status. After a failure only the conditions and the observed generation change; the other
// fields still describe the last good output.
func (c *Controller) fillStatus(status *v2beta1.AzureKeyVaultSecretStatus, generation int64, o syncResult) {
	status.ObservedGeneration = generation
	if o.err == nil {
		c.fillSyncedStatus(status, o)
	}
	set := func(condition metav1.Condition) {
		condition.ObservedGeneration, condition.LastTransitionTime = generation, metav1.NewTime(c.Clock())
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	if o.err != nil || len(o.contents) > 0 { // reused outputs need no new message
		set(c.readyCondition(o))
	}
	if o.err == nil || len(outputsInStatus(status)) > 0 {
		set(staleCondition(*status, o))
	}
	if status.Expires == nil {
		meta.RemoveStatusCondition(&status.Conditions, v2beta1.ConditionExpiringSoon)
	} else {
		set(c.expiringCondition(status.Expires.Time))
	}
}

// fillSyncedStatus describes the outputs after a successful sync.
func (c *Controller) fillSyncedStatus(status *v2beta1.AzureKeyVaultSecretStatus, o syncResult) {
	if o.hasChangedData() || status.LastAzureUpdate == nil {
		now := metav1.NewTime(c.Clock()).Rfc3339Copy()
		status.LastAzureUpdate = &now
	}
	for _, kind := range output.Kinds() {
		fields := kind.StatusFields(status)
		*fields.Name, *fields.Hash = "", ""
	}
	for _, m := range o.outputs {
		hash := m.Hash
		if c.Hasher.UnavailableReason() != "" {
			hash = ""
		}
		fields := m.Desired.Kind.StatusFields(status)
		*fields.Name, *fields.Hash = m.Desired.Name, hash
	}
	if len(o.contents) == 0 {
		return
	}
	status.VaultVersion, status.Expires = "", nil
	if len(o.contents) == 1 {
		status.VaultVersion = o.contents[0].Object.Version
	}
	if at := firstExpiry(o.contents); !at.IsZero() {
		expires := metav1.NewTime(at).Rfc3339Copy()
		status.Expires = &expires
	}
}

func (c *Controller) readyCondition(o syncResult) (condition metav1.Condition) {
	condition = metav1.Condition{Type: v2beta1.ConditionReady, Status: metav1.ConditionTrue, Reason: eventSynced}
	if o.err != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, o.errorKind().Reason(),
			userMessage(o.err)
		return condition
	}
	condition.Message = o.summaryText()
	defer func() { condition.Message = truncateText(condition.Message, limits.ConditionMessageBytes) }()
	if as := o.contents[0].Object.Ref.Identity; as != (keyvault.Identity{}) {
		condition.Message += ", read as " + as.String()
	} else if o.recipe.Identity != "" {
		condition.Message += "; " + identityIgnored
	}
	if o.recipe.Restart != nil && c.Restarter == nil {
		condition.Message += "; " + restartsIgnored
	}
	if missing := c.Hasher.UnavailableReason(); missing != "" {
		condition.Message += "; hashes are not shown in the status: " + missing
	}
	return condition
}

// staleCondition returns the condition Stale. It describes outputs that exist.
func staleCondition(status v2beta1.AzureKeyVaultSecretStatus, o syncResult) metav1.Condition {
	condition := metav1.Condition{Type: v2beta1.ConditionStale, Status: metav1.ConditionFalse, Reason: eventSynced}
	if o.err == nil {
		return condition
	}
	condition.Status, condition.Reason = metav1.ConditionTrue, o.errorKind().Reason()
	condition.Message = "the last synced data stays in " + strings.Join(outputsInStatus(&status), " and ") +
		"; the condition Ready shows why it can't be updated"
	return condition
}

// outputsInStatus returns the outputs in a status, each as KIND "NAME", sorted.
func outputsInStatus(status *v2beta1.AzureKeyVaultSecretStatus) []string {
	var names []string
	for _, kind := range output.Kinds() {
		if name := output.NameInStatus(kind, status); name != "" {
			names = append(names, fmt.Sprintf("%s %q", kind, name))
		}
	}
	slices.Sort(names)
	return names
}

func (c *Controller) expiringCondition(at time.Time) metav1.Condition {
	condition := metav1.Condition{Type: v2beta1.ConditionExpiringSoon, Status: metav1.ConditionTrue}
	now, date := c.Clock(), at.UTC().Format(time.RFC3339)
	switch {
	case !at.After(now):
		condition.Reason, condition.Message = reasonExpired,
			"the object expired at "+date+"; issue a new version in the vault"
	case !at.After(now.Add(c.ExpiryWarning)):
		condition.Reason, condition.Message = reasonExpiring,
			"the object expires at "+date+"; issue a new version in the vault"
	default:
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, reasonNotSoon,
			"the object expires at "+date
	}
	return condition
}

// outputExpiry returns the first expiry date of the objects that the outputs hold; zero if no object expires.
func (o syncResult) outputExpiry(resource *v2beta1.AzureKeyVaultSecret) time.Time {
	if len(o.contents) == 0 && resource.Status.Expires != nil {
		return resource.Status.Expires.Time
	}
	return firstExpiry(o.contents)
}

// userMessage returns the text for the status. The text of an unclassified error can contain anything, so it is
// replaced.
func userMessage(err error) string {
	if fault.KindOf(err) == fault.Bug {
		return "internal error; see the log of the controller"
	}
	return truncateText(strings.ToValidUTF8(err.Error(), "?"), limits.ConditionMessageBytes)
}

// truncateText truncates a text to most bytes, at the end of a character.
func truncateText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
