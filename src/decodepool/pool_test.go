package decodepool_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/davecgh/go-spew/spew"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

func object(value string) keyvault.Object {
	return keyvault.Object{Ref: keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: "o"}, Version: "1", Value: keyvault.NewValue([]byte(value))}
}

func values(text string) decodepool.Output {
	return decodepool.Output{Values: map[string]keyvault.Value{"k": keyvault.NewValue([]byte(text))}}
}

// give decodes to a text at once.
func give(text string) decodepool.DecodeFunc {
	return func(context.Context) (decodepool.Output, error) { return values(text), nil }
}

// hang decodes until release is closed and ignores its context.
func hang(started chan<- struct{}, release <-chan struct{}) decodepool.DecodeFunc {
	return func(context.Context) (decodepool.Output, error) {
		started <- struct{}{}
		<-release
		return values("late"), nil
	}
}

func do(t *testing.T, p *decodepool.Pool, namespace, what string, decode decodepool.DecodeFunc) (string, error) {
	t.Helper()
	share := p.ForNamespace(namespace)
	out, err := share.Do(t.Context(), share.CacheKey(what, nil, object(what)), decode)
	return string(out.Values["k"].Reveal()), err
}

func TestWhatDidNotChangeIsDecodedOnce(t *testing.T) {
	p := decodepool.New(decodepool.Config{})
	var decoded atomic.Int32
	counting := func(output decodepool.Output, err error) decodepool.DecodeFunc {
		return func(context.Context) (decodepool.Output, error) {
			decoded.Add(1)
			return output, err
		}
	}
	share := p.ForNamespace("shop")
	key := share.CacheKey("Secret", recipe.Item{Name: "o"}, object("v"))
	first, err := share.Do(t.Context(), key, counting(values("v"), nil))
	require.NoError(t, err)
	first.Values["k"].Wipe()
	delete(first.Values, "k")
	second, err := share.Do(t.Context(), key, counting(values("v"), nil))
	require.NoError(t, err)
	assert.Equal(t, "v", string(second.Values["k"].Reveal()), "what is given is the caller's own")
	assert.EqualValues(t, 1, decoded.Load())

	malformed := share.CacheKey("Secret", recipe.Item{Name: "bad"}, object("v"))
	for range 3 {
		_, err = share.Do(t.Context(), malformed, counting(decodepool.Output{}, fault.New(fault.Malformed, "bad")))
		assert.Equal(t, fault.Malformed, fault.KindOf(err))
	}
	assert.EqualValues(t, 2, decoded.Load(), "an object that can't be decoded is not tried at each refresh")

	transient := share.CacheKey("Secret", recipe.Item{Name: "away"}, object("v"))
	for range 2 {
		_, err = share.Do(t.Context(), transient, counting(decodepool.Output{}, fault.New(fault.Unavailable, "away")))
		assert.Equal(t, fault.Unavailable, fault.KindOf(err))
	}
	assert.EqualValues(t, 4, decoded.Load(), "what may pass is tried again")
}

func TestEverythingThatDecodingReadsIsAPartOfTheKey(t *testing.T) {
	p := decodepool.New(decodepool.Config{})
	share, o := p.ForNamespace("shop"), object("v")
	seen := map[decodepool.CacheKey]string{share.CacheKey("Secret", recipe.Item{Name: "o"}, o): "the same"}
	add := func(name string, key decodepool.CacheKey) {
		other, there := seen[key]
		assert.False(t, there, "%s has the key of %s", name, other)
		seen[key] = name
	}
	item := recipe.Item{Name: "o"}
	add("another namespace", p.ForNamespace("other").CacheKey("Secret", item, o))
	add("another kind", share.CacheKey("ConfigMap", item, o))
	add("another recipe", share.CacheKey("Secret", recipe.Item{Name: "o", Transforms: []string{"trim"}}, o))
	add("no object", share.CacheKey("Secret", item))
	add("twice the object", share.CacheKey("Secret", item, o, o))
	for name, change := range map[string]func(*keyvault.Object){
		"another value":    func(o *keyvault.Object) { o.Value = keyvault.NewValue([]byte("w")) },
		"another version":  func(o *keyvault.Object) { o.Version = "2" },
		"another name":     func(o *keyvault.Object) { o.Ref.Name = "p" },
		"another vault":    func(o *keyvault.Object) { o.Ref.Vault = "kv2" },
		"another type":     func(o *keyvault.Object) { o.Ref.Kind = keyvault.KindCertificate },
		"another identity": func(o *keyvault.Object) { o.Ref.Identity = keyvault.Identity{Namespace: "shop", ServiceAccount: "a"} },
		"another content":  func(o *keyvault.Object) { o.ContentType = "x" },
		"a fallback":       func(o *keyvault.Object) { o.FallbackVault = "kv3" },
		"an entry":         func(o *keyvault.Object) { o.Entries = []keyvault.Entry{{Name: "e"}} },
		"an entry's state": func(o *keyvault.Object) { o.Entries = []keyvault.Entry{{Name: "e", Disabled: true}} },
		"a managed entry":  func(o *keyvault.Object) { o.Entries = []keyvault.Entry{{Name: "e", Managed: true}} },
		"an entry's tag":   func(o *keyvault.Object) { o.Entries = []keyvault.Entry{{Name: "e", Tags: map[string]string{"a": "b"}}} },
		"another tag":      func(o *keyvault.Object) { o.Entries = []keyvault.Entry{{Name: "e", Tags: map[string]string{"a": "c"}}} },
	} {
		changed := o
		change(&changed)
		add(name, share.CacheKey("Secret", item, changed))
	}
	assert.NotEqual(t, share.CacheKey("x", nil, o), decodepool.New(decodepool.Config{}).ForNamespace("shop").CacheKey("x", nil, o), "keys can't be computed elsewhere")
}

func TestWhatIsRememberedIsBoundedInBytes(t *testing.T) {
	p := decodepool.New(decodepool.Config{CacheBytes: 64 << 10})
	decoded := map[string]int{}
	ask := func(what string, size int) {
		_, err := do(t, p, "shop", what, func(context.Context) (decodepool.Output, error) {
			decoded[what]++
			return values(strings.Repeat("x", size)), nil
		})
		require.NoError(t, err)
	}
	ask("kept", 100)
	ask("too large to keep", 40<<10)
	ask("too large to keep", 40<<10)
	assert.Equal(t, 2, decoded["too large to keep"])
	for n := range 50 {
		ask(fmt.Sprint("other ", n), 4<<10)
		ask("kept", 100)
	}
	assert.Equal(t, 1, decoded["kept"], "what is used stays")
	ask("other 0", 4<<10)
	assert.Equal(t, 2, decoded["other 0"], "what is not used goes")
}

func TestTheValuesThatAreRememberedDoNotPrint(t *testing.T) {
	p := decodepool.New(decodepool.Config{})
	_, err := do(t, p, "shop", "x", give("canary"))
	require.NoError(t, err)
	dump := (&spew.ConfigState{DisableMethods: true, Indent: " "}).Sdump(p) + fmt.Sprintf("%+v", p)
	assert.NotContains(t, dump, "canary")
}

func TestAHangCostsItsNamespaceItsShareOnly(t *testing.T) {
	p := decodepool.New(decodepool.Config{Workers: 2, Timeout: 500 * time.Millisecond})
	started, release := make(chan struct{}, 10), make(chan struct{})
	for n := range limits.StuckDecodes {
		_, err := do(t, p, "bad", fmt.Sprint("hang ", n), hang(started, release))
		assert.Equal(t, fault.Throttled, fault.KindOf(err))
		assert.ErrorContains(t, err, "decoding takes longer than 500 milliseconds")
		assert.NotZero(t, fault.RetryAfter(err))
		got, err := do(t, p, "good", fmt.Sprint("meanwhile ", n), give("v"))
		require.NoError(t, err)
		assert.Equal(t, "v", got)
	}
	_, err := do(t, p, "bad", "another", give("v"))
	assert.Equal(t, fault.Throttled, fault.KindOf(err))
	assert.ErrorContains(t, err, "namespace bad")
	assert.Equal(t, limits.StuckDecodes, len(started), "nothing more of it was started")
	for n := range 20 {
		_, err := do(t, p, fmt.Sprint("other ", n), "x", give("v"))
		require.NoError(t, err, "others are served by all workers")
	}
	close(release)
	require.Eventually(t, func() bool {
		got, err := do(t, p, "bad", "another", give("v"))
		return err == nil && got == "v"
	}, 10*time.Second, 5*time.Millisecond, "when they end, the namespace is served again")
	got, err := do(t, p, "bad", "hang 0", give("v"))
	require.NoError(t, err)
	assert.Equal(t, "late", got, "what came late is remembered")
}

func TestWhatIsStuckInAllNamespacesIsBounded(t *testing.T) {
	p := decodepool.New(decodepool.Config{Workers: 2, Timeout: 20 * time.Millisecond})
	started, release := make(chan struct{}, 100), make(chan struct{})
	defer close(release)
	var group sync.WaitGroup
	for n := range limits.TotalStuckDecodes + 20 {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			share := p.ForNamespace(fmt.Sprint("ns", n))
			_, err := share.Do(ctx, share.CacheKey("x", n), hang(started, release))
			assert.Equal(t, fault.Throttled, fault.KindOf(err))
		})
	}
	group.Wait()
	assert.Equal(t, limits.TotalStuckDecodes+2, len(started), "then the workers are kept")
}

func TestNamespacesTakeTurns(t *testing.T) {
	p := decodepool.New(decodepool.Config{Workers: 1, Timeout: time.Minute})
	release, started := make(chan struct{}), make(chan struct{}, 1)
	var group sync.WaitGroup
	group.Go(func() { _, _ = do(t, p, "many", "first", hang(started, release)) })
	<-started
	var mu sync.Mutex
	var order []string
	wait := func(namespace string, n int) {
		ready := make(chan struct{})
		group.Go(func() {
			close(ready)
			_, err := do(t, p, namespace, fmt.Sprint(namespace, n), func(context.Context) (decodepool.Output, error) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, namespace)
				return values("v"), nil
			})
			assert.NoError(t, err)
		})
		<-ready
	}
	for n := range 20 {
		wait("many", n)
	}
	// Real time: the pool's workers never end, which testing/synctest does not allow. Nothing shows that a goroutine
	// waits inside the pool, so each gets half a second to reach its place in the queue.
	time.Sleep(500 * time.Millisecond)
	wait("one", 0)
	time.Sleep(500 * time.Millisecond)
	close(release)
	group.Wait()
	assert.Len(t, order, 21)
	assert.Contains(t, order[:3], "one", "it does not wait for all of the others")
}

func TestANamespaceHasHalfOfTheWorkers(t *testing.T) {
	p := decodepool.New(decodepool.Config{Workers: 4, Timeout: time.Minute})
	started, release := make(chan struct{}, 10), make(chan struct{})
	var group sync.WaitGroup
	for n := range 6 {
		group.Go(func() { _, _ = do(t, p, "many", fmt.Sprint(n), hang(started, release)) })
	}
	<-started
	<-started
	got, err := do(t, p, "other", "x", give("v"))
	require.NoError(t, err)
	assert.Equal(t, "v", got)
	assert.Empty(t, started, "a third one of the namespace waits")
	close(release)
	group.Wait()
}

func TestWhatANamespaceHasWaitingIsBounded(t *testing.T) {
	p := decodepool.New(decodepool.Config{Workers: 2, Timeout: time.Minute})
	started, release := make(chan struct{}, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var refused atomic.Int32
	share := p.ForNamespace("many")
	group.Go(func() { _, _ = share.Do(ctx, share.CacheKey("first", nil), hang(started, release)) })
	<-started
	for n := range limits.QueuedDecodes + 10 {
		group.Go(func() {
			_, err := share.Do(ctx, share.CacheKey("x", n), give("v"))
			assert.Equal(t, fault.Throttled, fault.KindOf(err))
			if strings.Contains(err.Error(), "namespace many wait to be decoded") {
				refused.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return refused.Load() == 10 }, 10*time.Second, time.Millisecond)
	cancel()
	close(release)
	group.Wait()
	got, err := do(t, p, "many", "after", give("v"))
	require.NoError(t, err, "who leaves gives its place back")
	assert.Equal(t, "v", got)
}

func TestWhoLeavesEndsTheDecoding(t *testing.T) {
	p := decodepool.New(decodepool.Config{Workers: 2, Timeout: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	share := p.ForNamespace("shop")
	ended := make(chan struct{})
	_, err := share.Do(ctx, share.CacheKey("x", nil), func(ctx context.Context) (decodepool.Output, error) {
		cancel()
		<-ctx.Done()
		close(ended)
		return decodepool.Output{}, fault.Wrap(fault.Unavailable, ctx.Err(), "decoding")
	})
	assert.ErrorIs(t, err, context.Canceled)
	<-ended
	got, err := do(t, p, "shop", "x", give("v"))
	require.NoError(t, err)
	assert.Equal(t, "v", got)
}

func TestAPanicIsAnErrorThatQuotesNothing(t *testing.T) {
	for name, p := range map[string]*decodepool.Pool{"a pool": decodepool.New(decodepool.Config{}), "no pool": nil} {
		_, err := do(t, p, "shop", name, func(context.Context) (decodepool.Output, error) { panic("canary") })
		assert.Equal(t, fault.Bug, fault.KindOf(err))
		assert.NotContains(t, err.Error(), "canary")
		got, err := do(t, p, "shop", name+" after", give("v"))
		require.NoError(t, err)
		assert.Equal(t, "v", got)
	}
}

func TestNothingIsKeptOfANamespaceThatIsServed(t *testing.T) {
	p := decodepool.New(decodepool.Config{CacheBytes: 1 << 10})
	use := func(from, to int) {
		for n := from; n < to; n++ {
			_, err := do(t, p, fmt.Sprintf("namespace-%d", n), "x", give("v"))
			require.NoError(t, err)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	use(0, 100)
	before := heap()
	use(100, 5100)
	assert.Less(t, heap(), before+400_000)
}

func TestAValueThatIsForgottenIsOverwritten(t *testing.T) {
	p := decodepool.New(decodepool.Config{CacheBytes: 64 << 10})
	_, err := do(t, p, "shop", "first", give("canary"))
	require.NoError(t, err)
	kept, _ := p.CachedValues()
	require.Len(t, kept, 1)
	require.Equal(t, "canary", string(kept[0].Reveal()))
	for n := range 50 {
		_, err := do(t, p, "shop", fmt.Sprint("other ", n), give(strings.Repeat("x", 4<<10)))
		require.NoError(t, err)
	}
	assert.Equal(t, make([]byte, len("canary")), kept[0].Reveal())
}

func TestWhatTwoDecodeAtOnceIsRememberedOnce(t *testing.T) {
	p := decodepool.New(decodepool.Config{CacheBytes: 64 << 10})
	key := p.ForNamespace("shop").CacheKey("x", nil)
	p.CacheResult(key, values("v"), nil)
	kept, size := p.CachedValues()
	p.CacheResult(key, values("v"), nil)
	again, sizeThen := p.CachedValues()
	assert.Len(t, again, len(kept))
	assert.Equal(t, size, sizeThen)
	other := p.ForNamespace("shop").CacheKey("y", nil)
	p.CacheResult(other, decodepool.Output{}, fault.New(fault.Malformed, "%s", strings.Repeat("x", 20<<10)))
	_, then := p.CachedValues()
	assert.Equal(t, sizeThen, then, "an error counts with its text, and one that is too long is not kept")
}
