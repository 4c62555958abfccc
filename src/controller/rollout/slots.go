package rollout

import (
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// workloadKey identifies a workload in the cluster.
type workloadKey struct{ kind, namespace, name string }

// slots limits the workloads whose pods are being replaced. Namespaces share the slots. A slot is free again when its
// workload is done, or after limits.UnfinishedRolloutTime.
type slots struct {
	pool *fairshare.Pool

	mu   sync.Mutex
	held map[workloadKey]time.Time // until when
}

func newSlots(count int) *slots {
	return &slots{pool: fairshare.NewPool(int64(count)), held: map[workloadKey]time.Time{}}
}

// acquire takes a slot for a workload, unless it has one, or returns false.
func (s *slots) acquire(key workloadKey, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if _, ok := s.held[key]; ok {
		return true
	}
	if !s.pool.TryAcquire(key.namespace, 1) {
		return false
	}
	s.held[key] = now.Add(limits.UnfinishedRolloutTime)
	return true
}

// release frees the slot of a workload, and reports whether it had one.
func (s *slots) release(key workloadKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.held[key]
	if ok {
		delete(s.held, key)
		s.pool.Release(key.namespace, 1)
	}
	return ok
}

func (s *slots) hasFree(namespace string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if !s.pool.TryAcquire(namespace, 1) {
		return false
	}
	s.pool.Release(namespace, 1)
	return true
}

// expire frees slots whose time is over, such as those of deleted workloads. The caller holds mu.
func (s *slots) expire(now time.Time) {
	for key, until := range s.held {
		if now.After(until) {
			delete(s.held, key)
			s.pool.Release(key.namespace, 1)
		}
	}
}
