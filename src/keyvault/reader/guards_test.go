package reader

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func one(name string) keyvault.Ref {
	return keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: name}
}

func TestACensusForgetsObjectsAndTheirIntervals(t *testing.T) {
	now := time.Now()
	c := newRefreshPlan(now)
	for i := range 1000 { // the interval of one object changes repeatedly
		c.trackObject(one("same"), time.Duration(i+1)*time.Second, now)
	}
	assert.Len(t, c.tracked, 1)
	assert.Equal(t, map[time.Duration]int{1000 * time.Second: 1}, c.countByInterval)

	c = newRefreshPlan(now)
	c.trackObject(one("old"), time.Second, now)
	now = now.Add(2*time.Second + trackingGrace + 1)
	c.trackObject(one("new"), time.Second, now)
	assert.Len(t, c.tracked, 1, "an object that nobody looks at any more goes without anybody sweeping")
	assert.Equal(t, map[time.Duration]int{time.Second: 1}, c.countByInterval)
	assert.False(t, c.removeStale(now))
	assert.True(t, c.removeStale(now.Add(time.Hour)))
}

func TestAListIsWorthItsCostAlone(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		objects, entries int
		avoid            time.Duration
		every            time.Duration
		want             string
	}{
		"enough objects":                      {minObjectsForList, 0, 0, time.Minute, methodList},
		"fewer objects":                       {minObjectsForList - 1, 0, 0, time.Minute, methodGet},
		"a list that is to be avoided":        {minObjectsForList, 0, time.Second, time.Minute, methodGet},
		"a list of many others":               {minObjectsForList, 200, 0, time.Minute, methodGet},
		"more objects of a list of many":      {20, 200, 0, time.Minute, methodList},
		"looks that are more frequent by far": {minObjectsForList, 0, 0, time.Second, methodGet},
	} {
		of := newRefreshPlan(now)
		for i := range c.objects {
			of.trackObject(one(fmt.Sprint("o", i)), time.Minute, now)
		}
		of.listEntries, of.avoidListUntil = c.entries, now.Add(c.avoid)
		assert.Equal(t, c.want, of.chooseMethod(c.every, now), name)
	}
}

func TestADoorIsClosedBySilencesAloneAndNeverForLongerThanItsBound(t *testing.T) {
	now := time.Now()
	d := &circuitBreakers{clock: func() time.Time { return now }, maxConcurrent: 4, maxPerNamespace: 4, callTimeout: 10 * time.Second, byKey: map[breakerKey]*circuitBreaker{}}
	key := breakerKey{vault: "kv1"}
	call := func(took time.Duration, err error) error {
		at, trying, refused := d.acquireBreaker(key)
		if refused != nil {
			return refused
		}
		d.recordOutcome(key, at, callOutcome{err: err, duration: took, isProbe: trying})
		return nil
	}
	silence := fault.New(fault.Unavailable, "no answer")
	for name, c := range map[string]struct {
		took time.Duration
		err  error
	}{
		"a quick failure": {time.Second, silence}, "a slow refusal": {9 * time.Second, fault.New(fault.Denied, "no")}, "a slow answer": {9 * time.Second, nil},
		"a slow error without a kind": {9 * time.Second, errors.New("x")},
	} {
		for range 3 * timeoutsToTrip {
			require.NoError(t, call(c.took, c.err), name)
		}
		assert.Empty(t, d.byKey, "nothing is kept of it: %s", name)
	}
	var waits []time.Duration
	for range timeoutsToTrip {
		now = now.Add(10 * time.Second)
		require.NoError(t, call(9*time.Second, silence))
		if d.byKey[key].consecutiveTimeouts < timeoutsToTrip {
			require.NoError(t, call(9*time.Second, ratelimit.BusyError("kv1", time.Second)), "a call that was not made says nothing of the vault")
		}
	}
	for range 8 {
		err := call(0, nil)
		require.Error(t, err)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		wait := d.byKey[key].retryAt.Sub(now)
		waits = append(waits, wait)
		now = now.Add(wait + 10*time.Second)
		require.NoError(t, call(9*time.Second, silence), "one call looks whether it answers again")
	}
	assert.Equal(t, []time.Duration{2, 4, 8, 16, 30, 30, 30, 30}, inSeconds(waits))
	now = now.Add(time.Minute)
	require.NoError(t, call(time.Second, nil))
	assert.Empty(t, d.byKey, "an answer opens it, and forgets")
	assert.LessOrEqual(t, len(d.byKey), limits.CircuitBreakers)
}

func inSeconds(times []time.Duration) (all []time.Duration) {
	for _, d := range times {
		all = append(all, d/time.Second)
	}
	return all
}

func TestAnAnswerOfAListIsOnlyForAnObjectAsItWasRead(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	known := fetchResult{ref: one("Db"), object: keyvault.Object{Updated: at, ResponseDate: at.Add(time.Minute)}}
	list := func(e keyvault.Entry) fetchResult {
		return fetchResult{entriesByName: map[string]keyvault.Entry{"db": e}}
	}
	for name, c := range map[string]struct {
		known     fetchResult
		list      fetchResult
		unchanged bool
	}{
		"as it was":                {known, list(keyvault.Entry{Updated: at}), true},
		"changed":                  {known, list(keyvault.Entry{Updated: at.Add(time.Second)}), false},
		"disabled":                 {known, list(keyvault.Entry{Updated: at, Disabled: true}), false},
		"not in the list":          {known, fetchResult{entriesByName: map[string]keyvault.Entry{}}, false},
		"a refusal":                {fetchResult{ref: known.ref, object: known.object, err: errors.New("x")}, list(keyvault.Entry{Updated: at}), false},
		"changed as it was read":   {fetchResult{ref: known.ref, object: keyvault.Object{Updated: at, ResponseDate: at.Add(dateMargin)}}, list(keyvault.Entry{Updated: at}), false},
		"one without a date":       {fetchResult{ref: known.ref, object: keyvault.Object{ResponseDate: at}}, list(keyvault.Entry{}), false},
		"a date without an answer": {fetchResult{ref: known.ref, object: keyvault.Object{Updated: at}}, list(keyvault.Entry{Updated: at}), false},
	} {
		assert.Equal(t, c.unchanged, c.known.isConfirmedBy(c.list), name)
	}
}
