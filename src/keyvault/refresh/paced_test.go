package refresh_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cache"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/keyvault/refresh"
)

// These tests run with the fake clock of synctest, so sleeps take no time.

// pacedVault has only refreshed objects. Its calls, including pages of its list, pass a rate limiter.
type pacedVault struct {
	governor *ratelimit.Limiter

	mu          sync.Mutex
	throttles   bool
	put         []time.Time
	gets, pages int
}

func (p *pacedVault) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	pages := 1
	if ref.Kind.ItemKind() != "" {
		pages = len(p.put)/25 + 1
	}
	for range pages {
		if err := p.call(ctx, ref.Vault); err != nil {
			return keyvault.Object{}, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if pages == 1 {
		p.gets++
		var i int
		_, _ = fmt.Sscanf(ref.Name, "o-%d", &i)
		return keyvault.Object{Ref: ref, Version: p.put[i].String(), Updated: p.put[i], ResponseDate: time.Now().UTC().Truncate(time.Second)}, nil
	}
	p.pages += pages
	list := keyvault.Object{Ref: ref, Version: "list"}
	for i, put := range p.put {
		list.Entries = append(list.Entries, keyvault.Entry{Name: fmt.Sprint("o-", i), Updated: put})
	}
	return list, nil
}

func (p *pacedVault) call(ctx context.Context, vault string) error {
	leave, err := p.governor.Acquire(ctx, vault)
	if err != nil {
		return err
	}
	time.Sleep(5 * time.Millisecond) // the time of a response
	p.mu.Lock()
	throttled := p.throttles
	p.mu.Unlock()
	if throttled {
		leave(ratelimit.Response{Status: 429, RetryAfter: 10 * time.Second})
		return &fault.Error{Kind: fault.Throttled, Operation: "429", RetryAfter: 10 * time.Second}
	}
	leave(ratelimit.Response{Status: 200})
	return nil
}

// set runs do with the lock held.
func (p *pacedVault) set(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
}

// lookers refreshes objects as the controller does: each at its time in the interval, with limited concurrency, and
// again after a delay if the read was deferred.
type lookers struct {
	reader reader
	places chan struct{}
	stop   context.CancelFunc

	mu   sync.Mutex
	seen map[int]string
	errs map[string]int
}

func (l *lookers) look(ctx context.Context, i, n int) {
	for wait := interval * time.Duration(i) / time.Duration(n); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		l.places <- struct{}{}
		began := time.Now()
		patience, stop := context.WithTimeout(ctx, 25*time.Second)
		object, err := l.reader.Read(keyvault.WithPurpose(patience, keyvault.Purpose{Namespace: fmt.Sprint(i % 200), Priority: keyvault.PriorityRefresh, RefreshInterval: interval}), ref(fmt.Sprint("o-", i)), time.Second)
		stop()
		<-l.places
		wait = interval - time.Since(began)
		l.mu.Lock()
		switch {
		case err == nil:
			l.seen[i] = object.Version
		case ratelimit.IsDeferred(err):
			wait = max(fault.RetryAfter(err), time.Second) + time.Duration(i)*time.Millisecond
		default:
			l.errs[err.Error()]++
		}
		l.mu.Unlock()
	}
}

// watchPaced starts to refresh n objects of a vault with the given limit in ten seconds, and waits until all of them
// were read.
func watchPaced(t *testing.T, n, limit int) (*pacedVault, *lookers) {
	t.Helper()
	g, err := ratelimit.New(ratelimit.Config{Clock: time.Now, VaultLimit: limit, TotalLimit: 10 * limit, MaxConcurrent: 32})
	require.NoError(t, err)
	v := &pacedVault{governor: g, put: make([]time.Time, n)}
	for i := range v.put {
		v.put[i] = time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	}
	r := openWith(t, v, cache.Config{TTL: 15 * time.Second, Entries: 10000, Bytes: 32 << 20}, refresh.Config{})
	l := &lookers{reader: r, places: make(chan struct{}, 32), seen: map[int]string{}, errs: map[string]int{}}
	var ctx context.Context
	ctx, l.stop = context.WithCancel(t.Context())
	for i := range n {
		go l.look(ctx, i, n)
	}
	for len(l.where(v)) < n {
		time.Sleep(time.Second)
	}
	time.Sleep(2 * interval) // results read just after a change are read again
	v.set(func() { v.gets, v.pages = 0, 0 })
	return v, l
}

// end stops all refreshes and waits until they have ended.
func (l *lookers) end() {
	l.stop()
	time.Sleep(time.Minute) // longer than any call: no goroutine can outlive its synctest bubble
}

// where returns the objects whose last read value is the current one.
func (l *lookers) where(v *pacedVault) (right []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, put := range v.put {
		if l.seen[i] == put.String() {
			right = append(right, i)
		}
	}
	return right
}

func TestWhatChangedInAVaultThatThrottledIsFoundSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, l := watchPaced(t, 1000, 1200)
		defer l.end()
		v.set(func() { v.throttles, v.gets = true, 0 })
		time.Sleep(2 * time.Minute)
		v.set(func() {
			v.throttles = false
			for i := range 50 {
				v.put[20*i] = time.Now().UTC().Truncate(time.Second)
			}
		})
		began := time.Now()
		for len(l.where(v)) < 1000 && time.Since(began) < time.Hour {
			time.Sleep(time.Second)
		}
		took := time.Since(began)
		v.set(func() { t.Logf("all of 50 after %s; %d reads, %d pages", took, v.gets, v.pages) })
		assert.Less(t, took, 80*time.Second)
		assert.Empty(t, l.errs)
	})
}
