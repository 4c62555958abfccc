package fairshare_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
)

// grab takes single units for a key until it gets no more.
func grab(p *fairshare.Pool, key string) (got int) {
	for p.TryAcquire(key, 1) {
		got++
	}
	return got
}

func TestAGreedyKeyLeavesRoomForEveryOther(t *testing.T) {
	p := fairshare.NewPool(128)
	got := map[string]int{}
	for round := true; round; {
		round = false
		for n := range 7 { // in turns, as much as they get
			key := fmt.Sprintf("greedy-%d", n)
			if p.TryAcquire(key, 1) {
				got[key]++
				round = true
			}
		}
	}
	for key, n := range got {
		assert.Equal(t, 16, n, key)
	}
	assert.True(t, p.TryAcquire("modest", 1), "one of eight parts is free")
	assert.True(t, p.TryAcquire("modest", 1))
}

func TestAKeyAloneGetsHalf(t *testing.T) {
	p := fairshare.NewPool(128)
	assert.Equal(t, 64, grab(p, "a"))
	assert.Equal(t, 32, grab(p, "b"), "the next one half of the rest")
	p.Release("a", 64)
	assert.Equal(t, 32, grab(p, "b"), "and more when somebody leaves")
	assert.EqualValues(t, 64, p.Used())
}

func TestANewcomerGetsTheLastUnit(t *testing.T) {
	p := fairshare.NewPool(2)
	require.True(t, p.TryAcquire("a", 1))
	assert.False(t, p.TryAcquire("a", 1))
	assert.True(t, p.TryAcquire("b", 1))
	assert.False(t, p.TryAcquire("c", 1))
	assert.False(t, fairshare.NewPool(2).TryAcquire("a", 3), "never more than there are")
	assert.False(t, fairshare.NewPool(2).TryAcquire("a", -1))
	assert.True(t, p.TryAcquire("c", 0))
}

func TestWhoWaitsGetsWhatIsReleased(t *testing.T) {
	p := fairshare.NewPool(4)
	require.True(t, p.TryAcquire("a", 4))
	ctx, cancel := context.WithCancel(t.Context())
	acquired := make(chan error)
	go func() { acquired <- p.Acquire(ctx, "b", 3) }()
	p.Release("a", 2)
	select {
	case err := <-acquired:
		t.Fatal("two units are not three", err)
	case <-time.After(20 * time.Millisecond):
	}
	p.Release("a", 2)
	require.NoError(t, <-acquired)
	go func() { acquired <- p.Acquire(ctx, "c", 2) }()
	cancel()
	assert.ErrorIs(t, <-acquired, context.Canceled)
	p.Release("b", 3)
	assert.Zero(t, p.Used())
}

func TestWhoExceedsARateCanWait(t *testing.T) {
	r := fairshare.NewRateLimiter(2, 200*time.Millisecond, time.Now)
	require.NoError(t, r.Wait(t.Context(), "a"))
	require.NoError(t, r.Wait(t.Context(), "a"), "in the next window")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, r.Wait(ctx, "b"), context.Canceled)
}

func TestAnAddressIsAKeyWithoutItsPort(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.1:443": "10.0.0.1", "[::ffff:10.0.0.1]:80": "10.0.0.1", "[fd00::1]:80": "fd00::", "[fd00:0:0:1:2::1%eth0]:80": "fd00:0:0:1::", "": "unknown", "@": "unknown",
	} {
		assert.Equal(t, want, fairshare.AddressKey(remote), remote)
	}
}

func TestARateIsSharedByKeys(t *testing.T) {
	now := time.Unix(0, 0)
	r := fairshare.NewRateLimiter(8, time.Second, func() time.Time { return now })
	count := func(key string) (allowed int) {
		for range 100 {
			if r.Allow(key) {
				allowed++
			}
		}
		return allowed
	}
	assert.Equal(t, 4, count("flood"))
	assert.Equal(t, 2, count("other"))
	now = now.Add(time.Second - 1)
	assert.Zero(t, count("flood"))
	now = now.Add(1)
	assert.Equal(t, 4, count("flood"), "a window later")
	assert.Equal(t, 2, count("other"))
}
