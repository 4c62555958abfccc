package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// Event reasons, which docs/reference/events.md lists. The first three are those of akv2k8s 1.8, and users alert on
// them. eventSynced and eventContested are also reasons of conditions.
const (
	eventSynced         = "Synced"
	eventErrVault       = "ErrAzureVault"
	eventResourceExists = "ErrResourceExists"
	eventIgnored        = "AzureIdentityIgnored"
	eventExpiring       = "ExpiringSoon"
	eventRestarted      = "RolloutRestarted"
	eventRestartRefused = "RolloutRestartRefused"
	eventShared         = "OutputShared"
	eventContested      = "SeveralInstallations"
)

// identityIgnored is the warning for a field that akv2k8s 1.8 documented but silently ignored.
const identityIgnored = "spec.vault.azureIdentity is ignored: this installation reads every vault with its own " +
	"identity; see the chart value identity.serviceAccounts"

// reportResult writes the status if it changed, and records events. An unchanged status costs no write.
func (s *resourceSync) reportResult(ctx context.Context) error {
	defer s.acquireWriteSlot()()
	s.Metrics.CountSync(s.resource.Status.LastAzureUpdate == nil, s.err)
	updated := s.resource.DeepCopy()
	s.fillStatus(&updated.Status)
	claim := s.claimResource(&updated.Status)
	s.recordEvents(updated.Status.Conditions)
	if !equality.Semantic.DeepEqual(s.resource.Status, updated.Status) {
		err := s.Client.Status().Patch(ctx, updated, client.MergeFrom(s.resource))
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("writing the status of AzureKeyVaultSecret %s: %w", s.name, err)
		}
	}
	s.last.Claim = claim
	return nil
}

// recordEvents records what has changed: the data, a condition, or whether an output is shared.
func (s *resourceSync) recordEvents(after []metav1.Condition) {
	before := s.resource.Status.Conditions
	was := meta.FindStatusCondition(before, v2beta1.ConditionReady)
	is := meta.FindStatusCondition(after, v2beta1.ConditionReady)
	if s.hasChangedData() || was == nil || was.Status != is.Status || was.Reason != is.Reason {
		s.recordSyncEvents()
	}
	for _, m := range s.outputs {
		if m.BecameShared {
			s.recordEvent(corev1.EventTypeNormal, eventShared, fmt.Sprintf(
				"%s %q also holds data of others: deleting this resource removes its keys but keeps the %[1]s",
				m.Desired.Kind, m.Desired.Name))
		}
	}
	if expiring := becameTrue(before, after, v2beta1.ConditionExpiringSoon); expiring != nil {
		s.recordEvent(corev1.EventTypeWarning, eventExpiring, expiring.Message)
	}
	if contested := becameTrue(before, after, v2beta1.ConditionContested); contested != nil &&
		s.failureEventLimiter.AllowN(s.Clock(), 1) {
		s.recordEvent(corev1.EventTypeWarning, eventContested, contested.Message)
	}
}

// recordEvent records an event. The text is shortened, because the API server rejects one that is too long.
func (s *resourceSync) recordEvent(kind, reason, text string) {
	s.Events.Eventf(s.resource, nil, kind, reason, "Sync", "%s", truncateText(text, limits.EventNoteBytes))
}

// becameTrue returns the condition if it has just become true, or true for another reason; otherwise nil.
func becameTrue(before, after []metav1.Condition, condition string) *metav1.Condition {
	was, is := meta.FindStatusCondition(before, condition), meta.FindStatusCondition(after, condition)
	if is == nil || is.Status != metav1.ConditionTrue ||
		(was != nil && was.Status == is.Status && was.Reason == is.Reason) {
		return nil
	}
	return is
}

// recordSyncEvents records the success or the error of the sync.
func (s *resourceSync) recordSyncEvents() {
	if s.err != nil {
		if s.failureEventLimiter.AllowN(s.Clock(), 1) {
			s.recordEvent(corev1.EventTypeWarning, eventReason(fault.KindOf(s.err)), userMessage(s.err))
		}
		return
	}
	if s.eventLimiter.AllowN(s.Clock(), 1) {
		s.recordEvent(corev1.EventTypeNormal, eventSynced, s.summaryText())
	}
	if s.recipe.Identity != "" && !s.Identities.AllowServiceAccounts {
		s.recordEvent(corev1.EventTypeWarning, eventIgnored, identityIgnored)
	}
	if s.recipe.Restart != nil && s.Restarter == nil {
		s.recordEvent(corev1.EventTypeWarning, eventRestartRefused, restartsIgnored)
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

// hasChangedData reports whether the data of any output was changed, or the value that pods get.
func (s *resourceSync) hasChangedData() bool {
	changed := func(m store.Result) bool { return m.Written && m.Changed }
	return s.hasChangedValue() || slices.ContainsFunc(s.outputs, changed)
}

// summaryText describes what the outputs hold, for events and conditions.
func (s *resourceSync) summaryText() string {
	var names []string
	for _, m := range s.outputs {
		names = append(names, fmt.Sprintf("%s %q", m.Desired.Kind, m.Desired.Name))
	}
	what, verb := fmt.Sprintf("%d objects of vault %q", len(s.contents), s.recipe.Vault), " holds "
	if len(s.contents) == 1 {
		what = fmt.Sprintf("version %s of %s", s.contents[0].Object.Version, s.contents[0].Object.Ref)
	}
	if other := decode.FallbackVault(s.contents); other != "" {
		what += fmt.Sprintf("; the vault is unavailable, so its fallback %q was read", other)
	}
	for _, m := range s.outputs {
		if m.Shared {
			what += fmt.Sprintf("; %s %q also holds data of others, so deleting this resource removes its keys "+
				"but keeps the %[1]s",
				m.Desired.Kind, m.Desired.Name)
		}
	}
	switch len(names) {
	case 0:
		return "read " + what + ", which only pods use"
	case 1:
	default:
		verb = " hold "
	}
	return strings.Join(names, " and ") + verb + what
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
