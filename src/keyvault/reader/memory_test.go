package reader

import (
	"container/list"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

func remembering(entries, bytes int) *memory {
	return &memory{entries: entries, bytes: bytes, keep: time.Minute, known: map[keyvault.Ref]*list.Element{}}
}

func said(name string, size int) answer {
	return answer{ref: keyvault.Ref{Name: name}, object: keyvault.Object{Value: keyvault.NewValue(make([]byte, size))}, asked: time.Unix(1000, 0)}
}

func TestMemoryIsBoundedInBytes(t *testing.T) {
	m := remembering(1000, 100<<10)
	for i := range 50 {
		m.put(said(fmt.Sprint(i), 25<<10))
	}
	assert.Equal(t, 3, m.order.Len())
	assert.LessOrEqual(t, m.size, m.bytes)
	m.put(said("large", 200<<10))
	assert.Zero(t, m.order.Len(), "what does not fit is not kept")
	assert.Zero(t, m.size)
}

func TestWhatLeavesMemoryIsOverwritten(t *testing.T) {
	for name, leave := range map[string]func(m *memory){
		"dropped":  func(m *memory) { m.drop(keyvault.Ref{Name: "a"}) },
		"replaced": func(m *memory) { m.put(said("a", 3)) },
		"refused":  func(m *memory) { m.put(answer{ref: keyvault.Ref{Name: "a"}, err: fault.New(fault.Denied, "403")}) },
		"crowded":  func(m *memory) { m.put(said("b", 3)) },
		"old":      func(m *memory) { m.sweep(time.Unix(2000, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			m := remembering(1, 1<<20)
			a := said("a", 0)
			a.object.Value = keyvault.NewValue([]byte("canary"))
			m.put(a)
			kept, _ := m.get(a.ref)
			held, given := kept.object.Value, kept.copied()
			leave(m)
			assert.Equal(t, make([]byte, 6), held.Reveal())
			assert.Equal(t, "canary", string(given.Value.Reveal()), "what was given to somebody stays his")
			assert.Equal(t, "canary", string(a.object.Value.Reveal()), "and so does the vault's answer")
		})
	}
}

func TestWhatIsLookedAtAgainStaysUntilItWasMissedTwice(t *testing.T) {
	m := remembering(10, 1<<20)
	once, often, seldom := said("once", 1), said("often", 1), said("seldom", 1)
	often.every, seldom.every = 10*time.Minute, 24*time.Hour
	for _, a := range []answer{once, often, seldom} {
		m.put(a)
	}
	left := func(after time.Duration) int {
		m.sweep(once.asked.Add(after))
		return m.order.Len()
	}
	assert.Equal(t, 3, left(time.Minute))
	assert.Equal(t, 2, left(time.Minute+time.Second))
	assert.Equal(t, 2, left(20*time.Minute))
	kept, _ := m.get(often.ref)
	kept.confirmed = once.asked.Add(10 * time.Minute)
	assert.Equal(t, 2, left(30*time.Minute), "a list that confirms it makes it young")
	assert.Equal(t, 1, left(31*time.Minute))
	assert.Equal(t, 0, left(2*time.Hour+time.Second), "no value stays for hours")
}
