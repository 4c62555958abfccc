package decodepool

import (
	"container/list"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"slices"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// Output is the result of decoding: values by data key, or the items that searches found.
type Output struct {
	Values map[string]keyvault.Value
	Items  []recipe.Item
}

// entryBytes is the size of a cache entry without its content.
const entryBytes = 512

func (o Output) size() int {
	size := entryBytes
	for key, value := range o.Values {
		size += len(key) + value.Len() + 64
	}
	for _, item := range o.Items {
		size += len(item.Name) + len(item.DataKey) + 128
	}
	return size
}

func (o Output) clone() Output {
	values := maps.Clone(o.Values)
	for key, value := range values {
		values[key] = keyvault.NewValue(value.Reveal())
	}
	return Output{values, slices.Clone(o.Items)}
}

func (o Output) wipe() {
	for _, value := range o.Values {
		value.Wipe()
	}
}

// Key identifies an input. It is a keyed hash (HMAC-SHA-256), so it reveals nothing about a value.
type Key [sha256.Size]byte

// Key computes the cache key of an input: the kind of output (what), its spec without values, and the objects. The key
// covers everything that decoding reads, so a cache entry is never stale.
func (s Share) Key(what string, spec any, objects ...keyvault.Object) Key {
	var key Key
	if s.pool == nil {
		return key
	}
	mac := hmac.New(sha256.New, s.pool.secret)
	written, err := json.Marshal(spec)
	add(mac, s.namespace, what, string(written), fmt.Sprint(err))
	for _, o := range objects {
		add(mac, fmt.Sprintf("%q", []string{o.Ref.Vault, string(o.Ref.Kind), o.Ref.Name, o.Ref.Version,
			o.Ref.As.String(), o.Version, o.ContentType, o.Fallback}))
		content := o.Value.Reveal()
		add(mac, string(content))
		clear(content)
		for _, e := range o.Entries {
			tags := slices.Sorted(maps.Keys(e.Tags))
			for i, name := range tags {
				tags[i] += "=" + e.Tags[name]
			}
			add(mac, e.Name, fmt.Sprintf("%t %t %q", e.Disabled, e.Managed, tags))
		}
	}
	mac.Sum(key[:0])
	return key
}

// add writes texts with their lengths, so different texts never give the same bytes.
func add(to hash.Hash, texts ...string) {
	for _, text := range texts {
		_ = binary.Write(to, binary.BigEndian, uint64(len(text)))
		to.Write([]byte(text))
	}
}

// cache holds results up to a maximum size in bytes, and evicts the least recently used one first. The pool's lock
// guards it.
type cache struct {
	most, size int
	entries    map[Key]*list.Element
	recent     *list.List
}

type entry struct {
	key  Key
	size int
	result
}

func newCache(most int) cache {
	return cache{most: most, entries: map[Key]*list.Element{}, recent: list.New()}
}

// recall returns a copy of the cached result.
func (p *Pool) recall(key Key) (result, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	element, ok := p.cache.entries[key]
	if !ok {
		return result{}, false
	}
	p.cache.recent.MoveToFront(element)
	found := element.Value.(*entry).result
	return result{found.output.clone(), found.err}, true
}

// remember caches a copy of a result, if the same input would give it again.
func (p *Pool) remember(key Key, r result) {
	switch fault.KindOf(r.err) {
	case "", fault.Malformed, fault.Invalid, fault.NotFound:
	default:
		return
	}
	size := r.output.size()
	if r.err != nil {
		size += len(r.err.Error())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &p.cache
	if _, there := c.entries[key]; there || size > c.most/4 {
		return
	}
	c.entries[key] = c.recent.PushFront(&entry{key, size, result{r.output.clone(), r.err}})
	for c.size += size; c.size > c.most; {
		oldest := c.recent.Remove(c.recent.Back()).(*entry)
		delete(c.entries, oldest.key)
		c.size -= oldest.size
		oldest.output.wipe()
	}
}
