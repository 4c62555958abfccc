package refresh

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cache"
)

func one(name string) keyvault.Ref {
	return keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: name}
}

func TestACensusForgetsObjectsAndTheirIntervals(t *testing.T) {
	now := time.Now()
	c := newPlan(now)
	for i := range 1000 { // the interval of one object changes repeatedly
		c.trackObject(one("same"), time.Duration(i+1)*time.Second, now)
	}
	assert.Len(t, c.tracked, 1)
	assert.Equal(t, map[time.Duration]int{1000 * time.Second: 1}, c.countByInterval)

	c = newPlan(now)
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
		of := newPlan(now)
		for i := range c.objects {
			of.trackObject(one(fmt.Sprint("o", i)), time.Minute, now)
		}
		of.listEntries, of.avoidListUntil = c.entries, now.Add(c.avoid)
		assert.Equal(t, c.want, of.chooseMethod(c.every, now), name)
	}
}

func TestAnAnswerOfAListIsOnlyForAnObjectAsItWasRead(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	known := cache.Result{Ref: one("Db"), Object: keyvault.Object{Updated: at, ResponseDate: at.Add(time.Minute)}}
	list := func(e keyvault.Entry) cache.Result {
		return cache.Result{EntriesByName: map[string]keyvault.Entry{"db": e}}
	}
	for name, c := range map[string]struct {
		known     cache.Result
		list      cache.Result
		unchanged bool
	}{
		"as it was":                {known, list(keyvault.Entry{Updated: at}), true},
		"changed":                  {known, list(keyvault.Entry{Updated: at.Add(time.Second)}), false},
		"disabled":                 {known, list(keyvault.Entry{Updated: at, Disabled: true}), false},
		"not in the list":          {known, cache.Result{EntriesByName: map[string]keyvault.Entry{}}, false},
		"a refusal":                {cache.Result{Ref: known.Ref, Object: known.Object, Err: errors.New("x")}, list(keyvault.Entry{Updated: at}), false},
		"changed as it was read":   {cache.Result{Ref: known.Ref, Object: keyvault.Object{Updated: at, ResponseDate: at.Add(dateMargin)}}, list(keyvault.Entry{Updated: at}), false},
		"one without a date":       {cache.Result{Ref: known.Ref, Object: keyvault.Object{ResponseDate: at}}, list(keyvault.Entry{}), false},
		"a date without an answer": {cache.Result{Ref: known.Ref, Object: keyvault.Object{Updated: at}}, list(keyvault.Entry{Updated: at}), false},
	} {
		assert.Equal(t, c.unchanged, isConfirmedBy(c.known, c.list), name)
	}
}
