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

// report writes the status if it changed, and records events. An unchanged status costs no write.
func (c *Controller) report(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, o outcome) error {
	c.Metrics.Synced(resource.Status.LastAzureUpdate == nil, o.err)
	updated := resource.DeepCopy()
	c.fill(&updated.Status, resource.Generation, o)
	made := c.claimResource(resource, &updated.Status, o.recipe)
	if news(resource, updated, o) {
		c.announce(resource, o)
	}
	for _, m := range o.outputs {
		if m.Detached {
			c.tell(resource, corev1.EventTypeNormal, eventShared, fmt.Sprintf(
				"%s %q also holds data of others: deleting this resource removes its keys but keeps the %[1]s",
				m.Desired.Kind, m.Desired.Name))
		}
	}
	if expiring := turned(resource, updated, v2beta1.ConditionExpiringSoon); expiring != nil {
		c.tell(resource, corev1.EventTypeWarning, eventExpiring, expiring.Message)
	}
	c.tellContested(resource, updated)
	name := client.ObjectKeyFromObject(resource)
	if equality.Semantic.DeepEqual(resource.Status, updated.Status) {
		c.memory.setClaim(name, made)
		return nil
	}
	err := c.Client.Status().Patch(ctx, updated, client.MergeFrom(resource))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing the status of AzureKeyVaultSecret %s/%s: %w", resource.Namespace, resource.Name, err)
	}
	c.memory.setClaim(name, made)
	return nil
}

// tell records an event. The text is shortened, because the API server rejects one that is too long.
func (c *Controller) tell(resource *v2beta1.AzureKeyVaultSecret, kind, reason, text string) {
	c.Events.Eventf(resource, nil, kind, reason, "Sync", "%s", shorten(text, limits.EventNote))
}

// news reports whether an event is needed: the data changed, or the condition Ready has another status or reason.
func news(before, after *v2beta1.AzureKeyVaultSecret, o outcome) bool {
	if o.changed() {
		return true
	}
	was := meta.FindStatusCondition(before.Status.Conditions, v2beta1.ConditionReady)
	is := meta.FindStatusCondition(after.Status.Conditions, v2beta1.ConditionReady)
	return was == nil || was.Status != is.Status || was.Reason != is.Reason
}

// turned returns the condition if it has just become true, or true for another reason; otherwise nil.
func turned(before, after *v2beta1.AzureKeyVaultSecret, condition string) *metav1.Condition {
	was := meta.FindStatusCondition(before.Status.Conditions, condition)
	is := meta.FindStatusCondition(after.Status.Conditions, condition)
	if is == nil || is.Status != metav1.ConditionTrue ||
		(was != nil && was.Status == is.Status && was.Reason == is.Reason) {
		return nil
	}
	return is
}

func (c *Controller) announce(resource *v2beta1.AzureKeyVaultSecret, o outcome) {
	if o.err == nil {
		if c.news.AllowN(c.Clock(), 1) {
			c.tell(resource, corev1.EventTypeNormal, eventSynced, o.summary())
		}
		if o.recipe.Identity != "" && !c.Identities.Allowed {
			c.tell(resource, corev1.EventTypeWarning, eventIgnored, identityIgnored)
		}
		if o.recipe.Restart != nil && c.Restarts == nil {
			c.tell(resource, corev1.EventTypeWarning, eventRestartRefused, restartsIgnored)
		}
		return
	}
	if c.failures.AllowN(c.Clock(), 1) {
		c.tell(resource, corev1.EventTypeWarning, eventReason(o.kind()), message(o.err))
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

// fill sets the new status. After a failure only the conditions and the observed generation change; the other fields
// still describe the last good output.
func (c *Controller) fill(status *v2beta1.AzureKeyVaultSecretStatus, generation int64, o outcome) {
	status.ObservedGeneration = generation
	if o.err == nil {
		c.fillGood(status, o)
	}
	set := func(condition metav1.Condition) {
		condition.ObservedGeneration, condition.LastTransitionTime = generation, metav1.NewTime(c.Clock())
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	if o.err != nil || len(o.contents) > 0 { // reused outputs need no new message
		set(c.ready(o))
	}
	if o.err == nil || status.SecretName+status.ConfigMapName != "" {
		set(stale(*status, o))
	}
	if status.Expires == nil {
		meta.RemoveStatusCondition(&status.Conditions, v2beta1.ConditionExpiringSoon)
	} else {
		set(c.expiring(status.Expires.Time))
	}
}

// fillGood describes the outputs after a successful sync.
func (c *Controller) fillGood(status *v2beta1.AzureKeyVaultSecretStatus, o outcome) {
	if o.changed() || status.LastAzureUpdate == nil {
		now := metav1.NewTime(c.Clock()).Rfc3339Copy()
		status.LastAzureUpdate = &now
	}
	status.SecretName, status.SecretHash, status.ConfigMapName, status.ConfigMapHash = "", "", "", ""
	for _, m := range o.outputs {
		hash := m.Hash
		if c.Hasher.Missing() != "" {
			hash = ""
		}
		if m.Desired.Kind == output.ConfigMap {
			status.ConfigMapName, status.ConfigMapHash = m.Desired.Name, hash
		} else {
			status.SecretName, status.SecretHash = m.Desired.Name, hash
		}
	}
	if len(o.contents) == 0 {
		return
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

func (c *Controller) ready(o outcome) (condition metav1.Condition) {
	condition = metav1.Condition{Type: v2beta1.ConditionReady, Status: metav1.ConditionTrue, Reason: eventSynced}
	if o.err != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, o.kind().Reason(), message(o.err)
		return condition
	}
	condition.Message = o.summary()
	defer func() { condition.Message = shorten(condition.Message, limits.ConditionMessage) }()
	if as := o.contents[0].Object.Ref.As; as != (keyvault.Identity{}) {
		condition.Message += ", read as " + as.String()
	} else if o.recipe.Identity != "" {
		condition.Message += "; " + identityIgnored
	}
	if o.recipe.Restart != nil && c.Restarts == nil {
		condition.Message += "; " + restartsIgnored
	}
	if missing := c.Hasher.Missing(); missing != "" {
		condition.Message += "; hashes are not shown in the status: " + missing
	}
	return condition
}

// stale returns the condition Stale. It describes outputs that exist.
func stale(status v2beta1.AzureKeyVaultSecretStatus, o outcome) metav1.Condition {
	condition := metav1.Condition{Type: v2beta1.ConditionStale, Status: metav1.ConditionFalse, Reason: eventSynced}
	if o.err == nil {
		return condition
	}
	condition.Status, condition.Reason = metav1.ConditionTrue, o.kind().Reason()
	var names []string
	for kind, name := range map[output.Kind]string{output.Secret: status.SecretName,
		output.ConfigMap: status.ConfigMapName} {
		if name != "" {
			names = append(names, fmt.Sprintf("%s %q", kind, name))
		}
	}
	slices.Sort(names)
	condition.Message = "the last synced data stays in " + strings.Join(names, " and ") +
		"; the condition Ready shows why it can't be updated"
	return condition
}

func (c *Controller) expiring(at time.Time) metav1.Condition {
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

// expires returns the first expiry date of the objects that the outputs hold; zero if no object expires.
func (o outcome) expires(resource *v2beta1.AzureKeyVaultSecret) time.Time {
	if len(o.contents) == 0 && resource.Status.Expires != nil {
		return resource.Status.Expires.Time
	}
	return expires(o.contents)
}

// message returns the text for the status. The text of an unclassified error can contain anything, so it is replaced.
func message(err error) string {
	if fault.KindOf(err) == fault.Bug {
		return "internal error; see the log of the controller"
	}
	return shorten(strings.ToValidUTF8(err.Error(), "?"), limits.ConditionMessage)
}

// shorten truncates a text to most bytes, at the end of a character.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
