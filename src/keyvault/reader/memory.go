package reader

import (
	"container/list"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// answer is what a vault said, and when it was asked.
type answer struct {
	ref    keyvault.Ref
	object keyvault.Object
	err    error
	asked  time.Time
	// confirmed is when a list last said that it is still so; zero if none did.
	confirmed time.Time
	// every is how often it is looked at again, and wanted is when that was tried last.
	every  time.Duration
	wanted time.Time
	// index finds the entries of a list by name, in lower case.
	index map[string]keyvault.Entry
	// bytes is its size, as it was when it was put into memory.
	bytes int
}

// asOf is when the vault last said so.
func (a *answer) asOf() time.Time {
	if a.confirmed.After(a.asked) {
		return a.confirmed
	}
	return a.asked
}

// overhead is what an answer takes besides what it holds, in bytes and roughly.
const overhead = 512

func (a *answer) size() int {
	size := overhead + a.object.Value.Len() + len(a.object.ContentType)
	for _, e := range a.object.Entries {
		size += 2 * e.Size() // once more in the index
	}
	for name, value := range a.object.Tags {
		size += len(name) + len(value)
	}
	return size
}

// copied is the object with a value of its own: the one in memory is overwritten when it leaves.
func (a *answer) copied() keyvault.Object {
	object := a.object
	if object.Value.Len() > 0 {
		content := object.Value.Reveal()
		object.Value = keyvault.NewValue(content)
		clear(content)
	}
	return object
}

// memory holds answers, bounded in number, bytes and age. It is not safe for concurrent use.
type memory struct {
	entries, bytes int
	keep           time.Duration

	known map[keyvault.Ref]*list.Element
	// order has what was used last in front.
	order list.List
	size  int
}

func (m *memory) get(ref keyvault.Ref) (*answer, bool) {
	e, ok := m.known[ref]
	if !ok {
		return nil, false
	}
	m.order.MoveToFront(e)
	return e.Value.(*answer), true
}

// put keeps what may be shared. A refusal takes the place of a good answer: whoever lost access must not be served from
// memory.
func (m *memory) put(a answer) {
	switch fault.KindOf(a.err) {
	case "", fault.NotFound, fault.Denied, fault.Disabled:
		m.drop(a.ref)
		a.object = a.copied()
		a.bytes = a.size()
		m.known[a.ref] = m.order.PushFront(&a)
		m.size += a.bytes
	case fault.Unauthenticated:
		m.drop(a.ref)
	}
	for m.order.Len() > m.entries || m.size > m.bytes {
		m.drop(m.order.Back().Value.(*answer).ref)
	}
}

// drop forgets an answer, and overwrites its value.
func (m *memory) drop(ref keyvault.Ref) {
	e, ok := m.known[ref]
	if !ok {
		return
	}
	a := m.order.Remove(e).(*answer)
	delete(m.known, ref)
	m.size -= a.bytes
	a.object.Value.Wipe()
}

// sweep drops what is too old to be of use: what is looked at again is kept until that failed to happen twice. A vault
// that can't be asked for a while does not make it useless: afterwards a list says what changed meanwhile, and a
// thousand objects need not be read again.
func (m *memory) sweep(now time.Time) {
	for e := m.order.Front(); e != nil; {
		a := e.Value.(*answer)
		e = e.Next()
		age, unwanted := now.Sub(a.asOf()), now.Sub(a.wanted)
		if age > max(m.keep, limits.RememberedTime) ||
			min(age, unwanted) > max(m.keep, min(2*a.every, limits.RememberedTime)) {
			m.drop(a.ref)
		}
	}
}
