package controller

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// The reasons of ExpiringSoon, which docs/reference/events.md lists. The reasons of Ready and Stale are Synced and
// those of fault.Kind.
const (
	reasonExpired  = "Expired"
	reasonExpiring = "Expiring"
	reasonNotSoon  = "NotSoon"
)

// fillStatus sets the new status. After a failure only the conditions and the observed generation change; the other
// fields still describe the last good output.
func (s *resourceSync) fillStatus(status *v2beta1.AzureKeyVaultSecretStatus) {
	generation := s.resource.Generation
	status.ObservedGeneration = generation
	status.Refresh = s.answeredRequest()
	s.fillPendingRestart(status)
	if s.err == nil {
		s.fillSyncedStatus(status)
	}
	set := func(condition metav1.Condition) {
		condition.ObservedGeneration, condition.LastTransitionTime = generation, metav1.NewTime(s.Clock())
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	if s.err != nil || len(s.contents) > 0 { // reused outputs need no new message
		set(s.readyCondition())
	}
	if s.err == nil || len(outputsInStatus(status)) > 0 || s.isForPodsOnly() && status.LastAzureUpdate != nil {
		set(s.staleCondition(*status))
	}
	if status.Expires == nil {
		meta.RemoveStatusCondition(&status.Conditions, v2beta1.ConditionExpiringSoon)
	} else {
		set(s.expiringCondition(status.Expires.Time))
	}
}

// fillSyncedStatus describes the outputs after a successful sync.
func (s *resourceSync) fillSyncedStatus(status *v2beta1.AzureKeyVaultSecretStatus) {
	if s.hasChangedData() || status.LastAzureUpdate == nil {
		now := metav1.NewTime(s.Clock()).Rfc3339Copy()
		status.LastAzureUpdate = &now
	}
	for _, kind := range output.Kinds() {
		fields := kind.StatusFields(status)
		*fields.Name, *fields.Hash = "", ""
	}
	for _, m := range s.outputs {
		hash := m.Hash
		if s.Hasher.UnavailableReason() != "" {
			hash = ""
		}
		fields := m.Desired.Kind.StatusFields(status)
		*fields.Name, *fields.Hash = m.Desired.Name, hash
	}
	if !s.isForPodsOnly() {
		status.ValueHash = ""
	}
	if len(s.contents) == 0 {
		return
	}
	if status.ValueHash = s.valueHash; s.Hasher.UnavailableReason() != "" {
		status.ValueHash = ""
	}
	status.VaultVersion, status.Expires = "", nil
	if len(s.contents) == 1 {
		status.VaultVersion = s.contents[0].Object.Version
	}
	if at := s.firstExpiry(); !at.IsZero() {
		expires := metav1.NewTime(at).Rfc3339Copy()
		status.Expires = &expires
	}
}

func (s *resourceSync) readyCondition() (condition metav1.Condition) {
	condition = metav1.Condition{Type: v2beta1.ConditionReady, Status: metav1.ConditionTrue, Reason: eventSynced}
	if s.err != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, fault.KindOf(s.err).Reason(),
			userMessage(s.err)
		return condition
	}
	condition.Message = s.summaryText()
	defer func() { condition.Message = truncateText(condition.Message, limits.ConditionMessageBytes) }()
	if as := s.contents[0].Object.Ref.Identity; as != (keyvault.Identity{}) {
		condition.Message += ", read as " + as.String()
	} else if s.recipe.Identity != "" {
		condition.Message += "; " + identityIgnored
	}
	if s.recipe.Restart != nil && s.Restarter == nil {
		condition.Message += "; " + restartsIgnored
	}
	if missing := s.Hasher.UnavailableReason(); missing != "" {
		condition.Message += "; hashes are not shown in the status: " + missing
	}
	return condition
}

// staleCondition returns the condition Stale. It describes outputs that exist, or the last successful read of a
// resource that only pods use.
func (s *resourceSync) staleCondition(status v2beta1.AzureKeyVaultSecretStatus) metav1.Condition {
	condition := metav1.Condition{Type: v2beta1.ConditionStale, Status: metav1.ConditionFalse, Reason: eventSynced}
	if s.err == nil {
		return condition
	}
	condition.Status, condition.Reason = metav1.ConditionTrue, fault.KindOf(s.err).Reason()
	if s.isForPodsOnly() {
		condition.Message = "the status describes the last successful read; the condition Ready shows why the vault " +
			"can't be read"
		return condition
	}
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

func (s *resourceSync) expiringCondition(at time.Time) metav1.Condition {
	condition := metav1.Condition{Type: v2beta1.ConditionExpiringSoon, Status: metav1.ConditionTrue}
	now, date := s.Clock(), at.UTC().Format(time.RFC3339)
	switch {
	case !at.After(now):
		condition.Reason, condition.Message = reasonExpired,
			"the object expired at "+date+"; issue a new version in the vault"
	case !at.After(now.Add(s.ExpiryWarning)):
		condition.Reason, condition.Message = reasonExpiring,
			"the object expires at "+date+"; issue a new version in the vault"
	default:
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, reasonNotSoon,
			"the object expires at "+date
	}
	return condition
}
