package controller

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/state"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// cacheDelay is the time for which the cache may still return a status from before this process's last write.
const cacheDelay = 30 * time.Second

// claimResource writes this installation into the status, and sets the condition Contested if another installation does
// the same. Two installations would overwrite each other in turn, so the name of a running one is overwritten only once
// per claim window. The condition is removed if no other installation was found for that time. The caller remembers the
// returned claim after it has written the status.
func (s *resourceSync) claimResource(status *v2beta1.AzureKeyVaultSecretStatus) state.Claim {
	if s.Installation == "" {
		return state.Claim{}
	}
	made, now := s.last.Claim, s.Clock()
	if made.UID != s.resource.UID {
		made = state.Claim{UID: s.resource.UID}
	}
	first, age := made.ClaimedAt.IsZero(), now.Sub(made.ClaimedAt)
	// The window is longer than the time between two syncs by another installation, so that its claim is found in time.
	held := !first && age >= max(limits.SyncedByInterval, 3*s.recipe.RefreshIntervalOr(s.RefreshInterval))
	if other := status.SyncedBy; other != "" && other != s.Installation && !first && age >= cacheDelay {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: v2beta1.ConditionContested, Status: metav1.ConditionTrue, Reason: eventContested,
			ObservedGeneration: s.resource.Generation,
			LastTransitionTime: metav1.NewTime(now), Message: s.contestedMessage(s.Installation, other)})
		made.Contested = true
		if !held {
			return made
		}
		made.ClaimedAt = now
	} else if first || held {
		meta.RemoveStatusCondition(&status.Conditions, v2beta1.ConditionContested)
		made.Contested = false
	}
	if first {
		made.ClaimedAt = now
	}
	status.SyncedBy = s.Installation
	return made
}

// contestedMessage returns the same text for both installations, so that they don't overwrite each other's condition.
func (s *resourceSync) contestedMessage(installations ...string) string {
	slices.Sort(installations)
	text := fmt.Sprintf("the installations %q and %q both sync this resource, each with its own identity "+
		"and settings; uninstall one of them, or give each its own resources with controller.env.OBJECT_LABELS or "+
		"watchAllNamespaces=false", installations[0], installations[1])
	if s.isForPodsOnly() {
		text += ", or set controller.watchInjected=false in one of them"
	}
	return truncateText(text, limits.ConditionMessageBytes)
}
