package broker

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Bounds of requests that are worked on at once. Each costs the API server a review of its token at least, and whoever can reach the port can
// send one; a pod has one request for each container that starts. A namespace can't take all places, so that pods of others start while its vault
// is slow, or while it has pods made without end.
const (
	atOnce             = 128
	atOncePerNamespace = 96
	atOncePerPod       = 8
)

// comeBack is when whoever is too many is told to ask again.
const comeBack = time.Second

// limits count the requests that are worked on.
type limits struct {
	mu         sync.Mutex
	all        int
	namespaces map[string]int
	pods       map[types.UID]int
}

// enter counts a request, or says that there are too many; what it gives ends the request.
func (l *limits) enter() (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= atOnce {
		return nil, tooMany("the auth service is asked too much at once")
	}
	l.all++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
	}, nil
}

// enterAs does the same for a pod and its namespace, so that no single one can take the place of all others.
func (l *limits) enterAs(who caller) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.namespaces == nil {
		l.namespaces, l.pods = map[string]int{}, map[types.UID]int{}
	}
	switch {
	case l.namespaces[who.Namespace] >= atOncePerNamespace:
		return nil, tooMany("this pod's namespace asks too much at once")
	case l.pods[who.UID] >= atOncePerPod:
		return nil, tooMany("this pod asks too much at once")
	}
	l.namespaces[who.Namespace]++
	l.pods[who.UID]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		leaveOne(l.namespaces, who.Namespace)
		leaveOne(l.pods, who.UID)
	}, nil
}

// leaveOne forgets those of whom nothing is worked on.
func leaveOne[K comparable](counts map[K]int, of K) {
	if counts[of]--; counts[of] == 0 {
		delete(counts, of)
	}
}

func tooMany(text string) error {
	return &fault.Error{Kind: fault.Throttled, Doing: text, RetryAfter: comeBack}
}
