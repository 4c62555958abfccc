package controller

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// eventContested is the reason of the event and of the condition.
const eventContested = "SeveralInstallations"

// cacheDelay is the time for which the cache may still return a status from before this process's last write.
const cacheDelay = 30 * time.Second

// claim records that this process wrote its installation into the status of a resource. A different installation in the
// status after that belongs to a running process; one from before can be uninstalled.
type claim struct {
	uid       types.UID
	claimedAt time.Time
	// contested is true if another installation was found.
	contested bool
}

// claimOf returns the claim on a resource; zero except for the uid if this process has made none.
func (m *stateStore) claimOf(name types.NamespacedName, uid types.UID) claim {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.claims[name]; known.uid == uid {
		return known
	}
	return claim{uid: uid}
}

func (m *stateStore) setClaim(name types.NamespacedName, made claim) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.claims == nil {
		m.claims = map[types.NamespacedName]claim{}
	}
	m.claims[name] = made
}

// countContested returns the number of resources that another installation also syncs.
func (m *stateStore) countContested() (count int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, made := range m.claims {
		if made.contested {
			count++
		}
	}
	return count
}

// claimResource writes this installation into the status, and sets the condition Contested if another installation does
// the same. Two installations would overwrite each other in turn, so the name of a running one is overwritten only once
// per claimWindow. The condition is removed if no other installation was found for that time. The caller stores the
// returned claim after it has written the status.
func (c *Controller) claimResource(resource *v2beta1.AzureKeyVaultSecret, status *v2beta1.AzureKeyVaultSecretStatus,
	r recipe.Recipe) claim {
	if c.Installation == "" {
		return claim{}
	}
	made, now := c.state.claimOf(client.ObjectKeyFromObject(resource), resource.UID), c.Clock()
	first, age := made.claimedAt.IsZero(), now.Sub(made.claimedAt)
	held := !first && age >= c.claimWindow(r)
	if other := status.SyncedBy; other != "" && other != c.Installation && !first && age >= cacheDelay {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: v2beta1.ConditionContested, Status: metav1.ConditionTrue, Reason: eventContested,
			ObservedGeneration: resource.Generation,
			LastTransitionTime: metav1.NewTime(now), Message: contestedMessage(c.Installation, other)})
		made.contested = true
		if !held {
			return made
		}
		made.claimedAt = now
	} else if first || held {
		meta.RemoveStatusCondition(&status.Conditions, v2beta1.ConditionContested)
		made.contested = false
	}
	if first {
		made.claimedAt = now
	}
	status.SyncedBy = c.Installation
	return made
}

// claimWindow is longer than the time between two syncs by another installation, so that its claim is found in time.
func (c *Controller) claimWindow(r recipe.Recipe) time.Duration {
	return max(limits.SyncedByInterval, 3*r.RefreshIntervalOr(c.RefreshInterval))
}

// contestedMessage returns the same text for both installations, so that they don't overwrite each other's condition.
func contestedMessage(installations ...string) string {
	slices.Sort(installations)
	return truncateText(fmt.Sprintf("the installations %q and %q both sync this resource, each with its own identity "+
		"and settings; uninstall one of them, or give each its own resources with controller.env.OBJECT_LABELS or "+
		"watchAllNamespaces=false", installations[0], installations[1]),
		limits.ConditionMessageBytes)
}

// recordContestedEvent records an event when another installation is first found.
func (c *Controller) recordContestedEvent(before, after *v2beta1.AzureKeyVaultSecret) {
	if found := becameTrue(before, after, v2beta1.ConditionContested); found != nil &&
		c.failureEventLimiter.AllowN(c.Clock(), 1) {
		c.recordEvent(before, corev1.EventTypeWarning, eventContested, found.Message)
	}
}
