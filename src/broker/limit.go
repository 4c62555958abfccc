package broker

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Bounds of requests that are worked on at once. Each costs the API server a review of its token at least, and whoever can reach the port can
// send one; a pod has one request for each container that starts.
const (
	atOnce       = 128
	atOncePerPod = 8
)

// comeBack is when whoever is too many is told to ask again.
const comeBack = time.Second

// limits count the requests that are worked on.
type limits struct {
	mu     sync.Mutex
	all    int
	perPod map[types.UID]int
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

// enterPod does the same for one pod, so that a single one can't take the place of all others.
func (l *limits) enterPod(pod types.UID) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perPod[pod] >= atOncePerPod {
		return nil, tooMany("this pod asks too much at once")
	}
	if l.perPod == nil {
		l.perPod = map[types.UID]int{}
	}
	l.perPod[pod]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.perPod[pod]--; l.perPod[pod] == 0 {
			delete(l.perPod, pod)
		}
	}, nil
}

func tooMany(text string) error {
	return &fault.Error{Kind: fault.Throttled, Doing: text, RetryAfter: comeBack}
}
