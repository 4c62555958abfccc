package cache

import (
	"container/list"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func remembering(entries, bytes int) *lruCache {
	return &lruCache{maxEntries: entries, maxBytes: bytes, ttl: time.Minute, elements: map[keyvault.Ref]*list.Element{}}
}

func said(name string, size int) Result {
	return Result{Ref: keyvault.Ref{Name: name}, Object: keyvault.Object{Value: keyvault.NewValue(make([]byte, size))}, RequestedAt: time.Unix(1000, 0)}
}

func TestMemoryIsBoundedInBytes(t *testing.T) {
	m := remembering(1000, 100<<10)
	for i := range 50 {
		m.put(said(fmt.Sprint(i), 25<<10))
	}
	assert.Equal(t, 3, m.lru.Len())
	assert.LessOrEqual(t, m.usedBytes, m.maxBytes)
	m.put(said("large", 200<<10))
	assert.Zero(t, m.lru.Len(), "what does not fit is not kept")
	assert.Zero(t, m.usedBytes)
}

func TestWhatLeavesMemoryIsOverwritten(t *testing.T) {
	for name, leave := range map[string]func(m *lruCache){
		"dropped":  func(m *lruCache) { m.remove(keyvault.Ref{Name: "a"}) },
		"replaced": func(m *lruCache) { m.put(said("a", 3)) },
		"refused": func(m *lruCache) {
			m.put(Result{Ref: keyvault.Ref{Name: "a"}, Err: fault.New(fault.Denied, "403")})
		},
		"crowded": func(m *lruCache) { m.put(said("b", 3)) },
		"old":     func(m *lruCache) { m.removeExpired(time.Unix(2000, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			m := remembering(1, 1<<20)
			a := said("a", 0)
			a.Object.Value = keyvault.NewValue([]byte("canary"))
			m.put(a)
			kept, _ := m.get(a.Ref)
			held, given := kept.Object.Value, kept.copyObject()
			leave(m)
			assert.Equal(t, make([]byte, 6), held.Reveal())
			assert.Equal(t, "canary", string(given.Value.Reveal()), "what was given to somebody stays his")
			assert.Equal(t, "canary", string(a.Object.Value.Reveal()), "and so does the vault's answer")
		})
	}
}

func TestWhatIsLookedAtAgainStaysUntilItWasMissedTwice(t *testing.T) {
	m := remembering(10, 1<<20)
	once, often, seldom := said("once", 1), said("often", 1), said("seldom", 1)
	often.RefreshInterval, seldom.RefreshInterval = 10*time.Minute, 24*time.Hour
	for _, a := range []Result{once, often, seldom} {
		m.put(a)
	}
	left := func(after time.Duration) int {
		m.removeExpired(once.RequestedAt.Add(after))
		return m.lru.Len()
	}
	assert.Equal(t, 3, left(time.Minute))
	assert.Equal(t, 2, left(time.Minute+time.Second))
	assert.Equal(t, 2, left(20*time.Minute))
	kept, _ := m.get(often.Ref)
	kept.confirmedAt = once.RequestedAt.Add(10 * time.Minute)
	assert.Equal(t, 2, left(30*time.Minute), "a list that confirms it makes it young")
	assert.Equal(t, 1, left(31*time.Minute))
	assert.Equal(t, 0, left(2*time.Hour+time.Second), "no value stays for hours")
}

func TestWhatMemoryKeepsAfterAnError(t *testing.T) {
	for kind, good := range map[fault.Kind]bool{fault.Unauthenticated: false, fault.Unavailable: true, fault.Throttled: true, fault.Bug: true, fault.Malformed: true} {
		m := remembering(10, 1<<20)
		m.put(said("a", 10))
		m.put(Result{Ref: said("a", 0).Ref, Err: fault.New(kind, "x")})
		known, ok := m.get(said("a", 0).Ref)
		assert.Equal(t, good, ok && known.Err == nil, kind)
	}
	m := remembering(2, 1<<20)
	m.put(said("a", 10))
	m.put(said("b", 10))
	m.get(said("a", 0).Ref)
	m.put(said("c", 10))
	_, a := m.get(said("a", 0).Ref)
	_, b := m.get(said("b", 0).Ref)
	assert.Equal(t, []bool{true, false}, []bool{a, b}, "what was used last stays")
}

func TestWhatIsLookedAtInVainIsNotKeptForEver(t *testing.T) {
	now := time.Now()
	m := remembering(10, 1<<20)
	m.ttl = time.Minute
	old := said("a", 10)
	old.RequestedAt, old.lastRefreshedAt, old.RefreshInterval = now.Add(-limits.CachedAnswerAge-time.Second), now, 365*24*time.Hour
	m.put(old)
	m.removeExpired(now)
	_, ok := m.get(old.Ref)
	assert.False(t, ok)
}
