package schedule_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/controller/schedule"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

func TestLooksAreSpreadOverTheIntervalAndStayWhereTheyAre(t *testing.T) {
	const interval, many = 30 * time.Second, 5000
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) // all at once
	perSecond := map[int64]int{}
	for range many {
		uid := types.UID(rand.Text())
		at := schedule.NextRefresh(uid, interval, created)
		assert.True(t, at.After(created) && !at.After(created.Add(interval)))
		perSecond[int64(at.Sub(created)/time.Second)]++
		assert.Equal(t, at.Add(interval), schedule.NextRefresh(uid, interval, at), "each cycle")
		assert.Equal(t, at.Add(10*interval), schedule.NextRefresh(uid, interval, at.Add(10*interval-time.Nanosecond)), "by another leader, later")
	}
	for second, n := range perSecond {
		assert.InDelta(t, many/30, n, 75, "second %d", second)
	}
}

func TestAWaitIsSpreadAndNeverShorter(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 100 {
		uid := types.UID(rand.Text())
		short, long := schedule.AddJitter(uid, 2*time.Second), schedule.AddJitter(uid, time.Hour)
		assert.True(t, short >= 2*time.Second && short < 4*time.Second)
		assert.True(t, long >= time.Hour && long < time.Hour+10*time.Second)
		seen[short] = true
		assert.Zero(t, schedule.AddJitter(uid, 0))
	}
	assert.Greater(t, len(seen), 90)
}

func TestWaitsDoubleUpToTheLongest(t *testing.T) {
	for kind, want := range map[fault.Kind][]time.Duration{
		fault.Unavailable: {1, 2, 4, 8, 16, 30, 30}, fault.Throttled: {2, 4, 8, 16, 32, 60, 60},
		fault.Denied: {2, 4, 8, 16, 32, 60, 60}, fault.Unauthenticated: {2, 4, 8, 16, 32, 60, 60}, fault.Conflict: {10, 20, 40, 80, 160, 300, 300},
	} {
		var waits []time.Duration
		for n := range want {
			waits = append(waits, schedule.RetryDelay("", fault.New(kind, "no"), n)/time.Second)
		}
		assert.Equal(t, want, waits, kind)
	}
	asked := &fault.Error{Kind: fault.Throttled, Operation: "no", RetryAfter: 42 * time.Second}
	for range 20 {
		wait := schedule.RetryDelay(types.UID(rand.Text()), asked, 0)
		assert.True(t, wait >= 42*time.Second && wait < 52*time.Second, "%s: not all come back in one moment", wait)
	}
}

func TestARightThatWasGrantedIsFoundWithinAMinuteForTheFirstTen(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Denied, fault.Unauthenticated} {
		passed, longest := time.Duration(0), time.Duration(0)
		for n := 0; passed < 3*time.Hour; n++ {
			wait := schedule.RetryDelay("", fault.New(kind, "no"), n)
			if passed < 10*time.Minute {
				assert.LessOrEqual(t, wait, time.Minute, "%s after %s", kind, passed)
			}
			passed, longest = passed+wait, max(longest, wait)
		}
		assert.Equal(t, 5*time.Minute, longest, "and then more seldom")
		assert.Equal(t, 5*time.Minute, schedule.RetryDelay("", fault.New(kind, "no"), 1<<40), "without counting for ever")
	}
}
