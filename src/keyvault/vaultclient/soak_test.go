package vaultclient

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/fault"
	kv "github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// soak is a client on the real SDK and an emulator with random faults; the seed sets their order.
type soak struct {
	*testing.T
	azure  *azuretest.Azure
	client *Client
	random *rand.Rand
	mu     sync.Mutex
	// values are the values in the vault; "" for a disabled secret.
	values         map[int]string
	reads, refused atomic.Int64
}

const (
	soaked   = 200 // secrets
	soakTime = 10 * time.Second
	looks    = 2 * time.Second
)

// TestSoak runs for ten seconds in make check, two minutes in make test, and ten minutes in make soak (SOAK, a
// duration; SOAK_SEED, a number). The soak test of the whole product is in tests/e2e.
func TestSoak(t *testing.T) {
	lasts, seed := soakTime, uint64(7)
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		lasts, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	if text := os.Getenv("SOAK_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	a, client := running(t, Config{CacheTTL: time.Minute, callTimeout: 5 * time.Second})
	s := &soak{T: t, azure: a, client: client, random: rand.New(rand.NewPCG(seed, seed)), values: map[int]string{}}
	for i := range soaked {
		s.rotate(i)
	}
	before := goroutines(a)
	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() { s.controller(ctx, i) })
	}
	for range 4 {
		group.Go(func() { s.pods(ctx) })
	}
	s.trouble(ctx)
	group.Wait()
	a.Vaults.RemoveFaults("")
	s.settles()
	for name, count := range a.Counters() {
		assert.False(t, strings.HasSuffix(name, " in-pause"), "%d calls in a pause", count)
	}
	assert.Positive(t, s.refused.Load(), "the faults were felt")
	assert.Eventually(t, func() bool { return goroutines(a) <= before+5 }, 30*time.Second, 100*time.Millisecond, "goroutines are back to where they were")
	t.Logf("seed %d, %s: %d reads, %d of them refused, %d calls", seed, lasts, s.reads.Load(), s.refused.Load(), total(a))
}

func goroutines(a *azuretest.Azure) int {
	a.Client.CloseIdleConnections()
	runtime.GC()
	return runtime.NumGoroutine()
}

func (s *soak) read(ctx context.Context, i int, p kv.Purpose) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	object, err := s.client.Read(kv.WithPurpose(ctx, p), secret(i), time.Second)
	s.reads.Add(1)
	if err != nil {
		s.refused.Add(1)
		if fault.KindOf(err) == fault.Bug {
			assert.NoError(s, err, "an error that nobody classified")
		}
	}
	return string(object.Value.Reveal()), err
}

// controller refreshes its part of the secrets repeatedly.
func (s *soak) controller(ctx context.Context, part int) {
	for ctx.Err() == nil {
		for i := part; i < soaked && ctx.Err() == nil; i += 16 {
			_, _ = s.read(ctx, i, kv.Purpose{Namespace: fmt.Sprint("n", i%5), Priority: kv.PriorityRefresh, RefreshInterval: looks})
		}
		pause(ctx, looks)
	}
}

func (s *soak) pods(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		i, wait := s.random.IntN(soaked), time.Duration(s.random.IntN(50))*time.Millisecond
		s.mu.Unlock()
		_, _ = s.read(ctx, i, kv.Purpose{Namespace: "pods", Priority: kv.PriorityPodStart})
		pause(ctx, wait)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// rotate changes the value of a secret; the caller holds mu, or is the only one.
func (s *soak) rotate(i int) {
	s.values[i] = fmt.Sprintf("value %d of %d", s.random.Uint32(), i)
	s.azure.Vaults.PutSecret("kv1", secret(i).Name, keyvault.Secret{Value: s.values[i]})
}

// trouble injects faults and changes secrets until ctx ends.
func (s *soak) trouble(ctx context.Context) {
	faults := []keyvault.Fault{{Status: 429, RetryAfter: 1}, {Status: 429}, {Status: 503, RetryAfter: 1}, {Status: 500}, {Status: 403, Code: "Forbidden"},
		{LatencyMillis: 300}, {Drop: true}, {RefuseTokens: true}, {RefuseTokens: true, Challenge: `Bearer authorization="https://login.microsoftonline.com", resource="https://vault.azure.net"`},
		{Body: "nonsense"}, {Operation: "list", Status: 500}, {Operation: "list", Status: 403}, {Operation: "get", Body: `{"value":"x"}`}, {Status: 404}}
	for ctx.Err() == nil {
		s.mu.Lock()
		f := faults[s.random.IntN(len(faults))]
		f.Times = 1 + s.random.IntN(5)
		i, wait := s.random.IntN(soaked), time.Duration(200+s.random.IntN(1500))*time.Millisecond
		if s.random.IntN(4) == 0 {
			s.values[i] = ""
			s.azure.Vaults.ChangeSecret("kv1", secret(i).Name, func(v *keyvault.Secret) { v.Disabled = true })
		} else {
			s.rotate(i)
		}
		s.mu.Unlock()
		s.azure.Vaults.AddFault(f)
		pause(ctx, wait)
	}
}

// settles waits until every read returns the value in the vault.
func (s *soak) settles() {
	s.Helper()
	for i := range soaked {
		assert.Eventually(s, func() bool {
			value, err := s.read(s.Context(), i, kv.Purpose{Priority: kv.PriorityRefresh, RefreshInterval: looks})
			if s.values[i] == "" {
				return fault.KindOf(err) == fault.Disabled
			}
			return err == nil && value == s.values[i]
		}, time.Minute, 200*time.Millisecond, "secret %d", i)
	}
}
