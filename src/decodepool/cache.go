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

// entryOverheadBytes is the size of a cache entry without its content.
const entryOverheadBytes = 512

func (o Output) size() int {
	size := entryOverheadBytes
	for key, value := range o.Values {
		size += len(key) + value.Len() + 64
	}
	for _, item := range o.Items {
		size += len(item.Name) + len(item.DataKey) + 128
	}
	return size
}

func (o Output) deepCopy() Output {
	values := maps.Clone(o.Values)
	for key, value := range values {
		values[key] = keyvault.NewValue(value.Reveal())
	}
	return Output{values, slices.Clone(o.Items)}
}

func (o Output) wipeValues() {
	for _, value := range o.Values {
		value.Wipe()
	}
}

// CacheKey identifies an input. It is a keyed hash (HMAC-SHA-256), so it reveals nothing about a value.
type CacheKey [sha256.Size]byte

// CacheKey computes the cache key of an input: the kind of output (what), its spec without values, and the objects. The
// key covers everything that decoding reads, so a cache entry is never stale.
func (s NamespacePool) CacheKey(what string, spec any, objects ...keyvault.Object) CacheKey {
	var key CacheKey
	if s.pool == nil {
		return key
	}
	mac := hmac.New(sha256.New, s.pool.hashKey)
	written, err := json.Marshal(spec)
	writeFields(mac, s.namespace, what, string(written), fmt.Sprint(err))
	for _, o := range objects {
		writeFields(mac, fmt.Sprintf("%q", []string{o.Ref.Vault, string(o.Ref.Kind), o.Ref.Name, o.Ref.Version,
			o.Ref.Identity.String(), o.Version, o.ContentType, o.FallbackVault}))
		content := o.Value.Reveal()
		writeFields(mac, string(content))
		clear(content)
		for _, e := range o.Entries {
			tags := slices.Sorted(maps.Keys(e.Tags))
			for i, name := range tags {
				tags[i] += "=" + e.Tags[name]
			}
			writeFields(mac, e.Name, fmt.Sprintf("%t %t %q", e.Disabled, e.Managed, tags))
		}
	}
	mac.Sum(key[:0])
	return key
}

// writeFields writes texts with their lengths, so different texts never give the same bytes.
func writeFields(to hash.Hash, texts ...string) {
	for _, text := range texts {
		_ = binary.Write(to, binary.BigEndian, uint64(len(text)))
		to.Write([]byte(text))
	}
}

// cache holds results up to a maximum size in bytes, and evicts the least recently used one first. The pool's lock
// guards it.
type cache struct {
	maxBytes, totalBytes int
	entries              map[CacheKey]*list.Element
	recentlyUsed         *list.List
}

type cacheEntry struct {
	key   CacheKey
	bytes int
	result
}

func newCache(most int) cache {
	return cache{maxBytes: most, entries: map[CacheKey]*list.Element{}, recentlyUsed: list.New()}
}

// cachedResult returns a copy of the cached result.
func (p *Pool) cachedResult(key CacheKey) (result, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	element, ok := p.cache.entries[key]
	if !ok {
		return result{}, false
	}
	p.cache.recentlyUsed.MoveToFront(element)
	found := element.Value.(*cacheEntry).result
	return result{found.output.deepCopy(), found.err}, true
}

// cacheResult caches a copy of a result, if the same input would give it again.
func (p *Pool) cacheResult(key CacheKey, r result) {
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
	if _, there := c.entries[key]; there || size > c.maxBytes/4 {
		return
	}
	c.entries[key] = c.recentlyUsed.PushFront(&cacheEntry{key, size, result{r.output.deepCopy(), r.err}})
	for c.totalBytes += size; c.totalBytes > c.maxBytes; {
		oldest := c.recentlyUsed.Remove(c.recentlyUsed.Back()).(*cacheEntry)
		delete(c.entries, oldest.key)
		c.totalBytes -= oldest.bytes
		oldest.output.wipeValues()
	}
}
