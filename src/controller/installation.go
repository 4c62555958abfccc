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

// eventContested and the condition's reason have one word.
const eventContested = "SeveralInstallations"

// cacheDelay is for how long the cache may still show the status as it was before this process wrote it.
const cacheDelay = 30 * time.Second

// claim is when this process last put its installation into the status of a resource. A status that names another
// installation after that was written by one that runs now; before that, it may be of one that was uninstalled.
type claim struct {
	uid types.UID
	at  time.Time
	// contested says that another installation was seen.
	contested bool
}

// claimOf gives the claim on a resource, zero if this process made none.
func (m *memory) claimOf(name types.NamespacedName, uid types.UID) claim {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.claims[name]; known.uid == uid {
		return known
	}
	return claim{uid: uid}
}

func (m *memory) setClaim(name types.NamespacedName, made claim) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.claims == nil {
		m.claims = map[types.NamespacedName]claim{}
	}
	m.claims[name] = made
}

// countContested counts the resources for which another installation was seen.
func (m *memory) countContested() (count int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, made := range m.claims {
		if made.contested {
			count++
		}
	}
	return count
}

// claimResource puts this installation into the status, and says in a condition if another one does the same. Two
// installations would write in turns, so the name of a running one is overwritten only once per claimWindow; and the
// condition goes when nobody did so for as long. What it returns is to be kept once the status is written.
func (c *Controller) claimResource(resource *v2beta1.AzureKeyVaultSecret, status *v2beta1.AzureKeyVaultSecretStatus,
	r recipe.Recipe) claim {
	if c.Installation == "" {
		return claim{}
	}
	made, now := c.memory.claimOf(client.ObjectKeyFromObject(resource), resource.UID), c.Clock()
	first, age := made.at.IsZero(), now.Sub(made.at)
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
		made.at = now
	} else if first || held {
		meta.RemoveStatusCondition(&status.Conditions, v2beta1.ConditionContested)
		made.contested = false
	}
	if first {
		made.at = now
	}
	status.SyncedBy = c.Installation
	return made
}

// claimWindow is longer than any of the syncs that would see another installation's claim are apart.
func (c *Controller) claimWindow(r recipe.Recipe) time.Duration {
	return max(limits.ClaimWindow, 3*r.Interval(c.Interval))
}

// contestedMessage is the same text from both installations, so that they don't write it in turns.
func contestedMessage(installations ...string) string {
	slices.Sort(installations)
	return shorten(fmt.Sprintf("the installations %q and %q both sync this resource, each with its own identity and "+
		"settings; uninstall one of them, or give each its own resources with controller.env.OBJECT_LABELS or "+
		"watchAllNamespaces=false", installations[0], installations[1]),
		limits.ConditionMessage)
}

// tellContested records an event when another installation is first seen.
func (c *Controller) tellContested(before, after *v2beta1.AzureKeyVaultSecret) {
	if found := turned(before, after, v2beta1.ConditionContested); found != nil && c.failures.AllowN(c.Clock(), 1) {
		c.tell(before, corev1.EventTypeWarning, eventContested, found.Message)
	}
}
