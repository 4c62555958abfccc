package controller

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// The reasons of ExpiringSoon; those of Ready and Stale are Synced and what fault.Kind says.
const (
	reasonExpired  = "Expired"
	reasonExpiring = "Expiring"
	reasonNotSoon  = "NotSoon"
)

// fill makes the new status. After a failure everything but the conditions stays: it describes the last good output.
func (c *Controller) fill(status *v2beta1.AzureKeyVaultSecretStatus, generation int64, o outcome) {
	status.ObservedGeneration = generation
	if o.err == nil {
		c.fillGood(status, o)
	}
	set := func(condition metav1.Condition) {
		condition.ObservedGeneration, condition.LastTransitionTime = generation, metav1.NewTime(c.Clock())
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	if o.err != nil || len(o.contents) > 0 { // what was recalled needs no new words
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

// fillGood describes the outputs, which are now as they should be.
func (c *Controller) fillGood(status *v2beta1.AzureKeyVaultSecretStatus, o outcome) {
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

func (c *Controller) ready(o outcome) metav1.Condition {
	condition := metav1.Condition{Type: v2beta1.ConditionReady, Status: metav1.ConditionTrue, Reason: eventSynced}
	if o.err != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, o.kind().Reason(), message(o.err)
		return condition
	}
	condition.Message = o.summary()
	if as := o.contents[0].Object.Ref.As; as != (keyvault.Identity{}) {
		condition.Message += ", read as " + as.String()
	} else if o.recipe.Identity != "" {
		condition.Message += "; " + identityIgnored
	}
	return condition
}

// stale is about outputs that are there.
func stale(status v2beta1.AzureKeyVaultSecretStatus, o outcome) metav1.Condition {
	condition := metav1.Condition{Type: v2beta1.ConditionStale, Status: metav1.ConditionFalse, Reason: eventSynced}
	if o.err == nil {
		return condition
	}
	condition.Status, condition.Reason = metav1.ConditionTrue, o.kind().Reason()
	var names []string
	for kind, name := range map[output.Kind]string{output.Secret: status.SecretName, output.ConfigMap: status.ConfigMapName} {
		if name != "" {
			names = append(names, fmt.Sprintf("%s %q", kind, name))
		}
	}
	slices.Sort(names)
	condition.Message = "what was brought last stays in " + strings.Join(names, " and ") + "; Ready says why it can't be brought up to date"
	return condition
}

func (c *Controller) expiring(at time.Time) metav1.Condition {
	condition := metav1.Condition{Type: v2beta1.ConditionExpiringSoon, Status: metav1.ConditionTrue}
	now, date := c.Clock(), at.UTC().Format(time.RFC3339)
	switch {
	case !at.After(now):
		condition.Reason, condition.Message = reasonExpired, "the object expired at "+date+"; issue a new version in the vault"
	case !at.After(now.Add(c.ExpiryWarning)):
		condition.Reason, condition.Message = reasonExpiring, "the object expires at "+date+"; issue a new version in the vault"
	default:
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, reasonNotSoon, "the object expires at "+date
	}
	return condition
}

// expires is the first expiry date of what the outputs hold, zero if there is none.
func (o outcome) expires(resource *v2beta1.AzureKeyVaultSecret) time.Time {
	if len(o.contents) == 0 && resource.Status.Expires != nil {
		return resource.Status.Expires.Time
	}
	return expires(o.contents)
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
