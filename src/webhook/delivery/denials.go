package delivery

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Denials detects namespaces in which pods with an image volume are never created, because a policy denies them after
// the webhook. A controller whose pod was denied tries again, so the webhook sees the same creator while none of its
// pods exists. It is safe for concurrent use.
type Denials struct {
	// Reader lists the metadata of pods, without a cache.
	Reader client.Reader
	Clock  func() time.Time

	// listing is held while pods are listed: anyone can send reviews, and a list can have megabytes.
	listing sync.Mutex
	// lastList is the time of the last list; listing guards it.
	lastList time.Time

	mu sync.Mutex
	// attempts are the creators whose pods got an image volume.
	attempts map[creator]attempt
	// denied has the end of the time in which a namespace gets no image volumes.
	denied map[string]time.Time
}

// creator is what creates pods: a controller, or a user who creates a pod of that name.
type creator struct {
	namespace string
	// controller is the UID of the controller; with it name is empty.
	controller types.UID
	name       string
}

// attempt is what is known about the pods of a creator.
type attempt struct {
	first time.Time
	// created says that a pod was created after the first attempt.
	created bool
}

// creatorOf is the creator of a pod; ok is false if the pod does not tell. Admission comes before validation, so a name
// can have any length.
func creatorOf(pod *corev1.Pod) (who creator, ok bool) {
	who = creator{namespace: pod.Namespace, name: pod.Name}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		who.name, who.controller = "", owner.UID
	}
	size := len(who.name) + len(who.controller)
	return who, size > 0 && size <= limits.AdmissionNameBytes
}

// areDenied reports whether pods with an image volume are denied in the namespace of the pod, which would get one. It
// remembers the pod as an attempt.
func (r *Denials) areDenied(ctx context.Context, pod *corev1.Pod) bool {
	who, ok := creatorOf(pod)
	first, isSuspicious, isDenied := r.recordAttempt(who, ok)
	if isDenied || !isSuspicious || !r.listing.TryLock() {
		return isDenied
	}
	defer r.listing.Unlock()
	if r.Clock().Sub(r.lastList) < limits.ImageDenialPause {
		return false // a later attempt checks
	}
	r.lastList = r.Clock()
	exists, err := r.podExists(ctx, who, first)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if exists {
		r.attempts[who] = attempt{first: first, created: true}
		return false
	}
	delete(r.attempts, who)
	if r.denied == nil || len(r.denied) >= limits.AdmissionCacheEntries {
		r.denied = map[string]time.Time{}
	}
	r.denied[pod.Namespace] = r.Clock().Add(limits.ImageDenialAge)
	return true
}

// recordAttempt remembers an attempt, if its creator is known. It returns the time of the creator's first one, whether
// its pods have to be checked, and whether the namespace is known to deny image volumes.
func (r *Denials) recordAttempt(who creator, known bool) (first time.Time, isSuspicious, isDenied bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Clock()
	if end, denied := r.denied[who.namespace]; denied {
		if now.Before(end) {
			return now, false, true
		}
		delete(r.denied, who.namespace)
	}
	if !known {
		return now, false, false
	}
	before, again := r.attempts[who]
	if !again {
		if r.attempts == nil || len(r.attempts) >= limits.AdmissionCacheEntries {
			r.attempts = map[creator]attempt{}
		}
		r.attempts[who] = attempt{first: now}
		return now, false, false
	}
	return before.first, !before.created && now.Sub(before.first) >= limits.ImageDenialDelay, false
}

// clockSkew is the tolerated lead of our clock over the API server's.
const clockSkew = 10 * time.Second

// podExists reports whether a pod of the creator exists that was created since the first attempt. Of a namespace with
// more pods than the limit, some are not seen; a pod then counts as created.
func (r *Denials) podExists(ctx context.Context, who creator, first time.Time) (bool, error) {
	pods := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	err := r.Reader.List(ctx, pods, client.InNamespace(who.namespace), client.Limit(limits.PodsInNamespace))
	if err != nil {
		return false, err
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.CreationTimestamp.Time.Before(first.Add(-clockSkew)) {
			continue
		}
		owner := metav1.GetControllerOf(pod)
		isOwned := who.controller != "" && owner != nil && owner.UID == who.controller
		if isOwned || who.name != "" && pod.Name == who.name {
			return true, nil
		}
	}
	return pods.Continue != "", nil
}
