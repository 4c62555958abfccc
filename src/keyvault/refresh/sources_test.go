package refresh_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cache"
	"github.com/akv2k8s/akv2k8s/src/keyvault/fallback"
	"github.com/akv2k8s/akv2k8s/src/keyvault/refresh"
)

// fails returns an error for one vault.
type fails struct{ vault string }

func (f fails) Fetch(_ context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Vault == f.vault {
		return keyvault.Object{}, fault.New(fault.Unavailable, "no answer")
	}
	return keyvault.Object{Ref: ref, Version: "1"}, nil
}

// heardOf records the sources of results.
type heardOf struct{ from []string }

func (h *heardOf) RecordRead(_ keyvault.Ref, from string, _ error)          { h.from = append(h.from, from) }
func (h *heardOf) RecordChangeDetection(keyvault.Ref, string, string)       {}
func (h *heardOf) RecordListUnavailable(keyvault.Ref, error, time.Duration) {}

func TestTheLastAnswerServesUpToAnAgeAndEachSourceIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := &heardOf{}
		withFallback := fallback.New(fails{"away"}, map[string]string{"away": "second"}, 10*time.Second)
		cached, err := cache.New(withFallback, cache.Config{Clock: time.Now, CallTimeout: 10 * time.Second, TTL: time.Hour, Entries: 10, Bytes: 1 << 20})
		require.NoError(t, err)
		refreshed, err := refresh.New(cached, refresh.Config{Clock: time.Now, Observer: told})
		require.NoError(t, err)
		r := reader{refreshed}
		for range 2 {
			_, err = r.Read(t.Context(), ref("a"), time.Minute)
			require.NoError(t, err)
		}
		_, err = r.Read(t.Context(), keyvault.Ref{Vault: "away", Kind: keyvault.KindSecret, Name: "a"}, time.Minute)
		require.NoError(t, err)
		assert.Equal(t, []string{cache.SourceVault, cache.SourceCache, cache.SourceFallback}, told.from)
		time.Sleep(30 * time.Second)
		_, ok := cached.LastGood(ref("a"), 29*time.Second)
		assert.False(t, ok, "it is older than that")
		_, ok = cached.LastGood(ref("a"), 31*time.Second)
		assert.True(t, ok)
		_, ok = cached.LastGood(ref("b"), time.Hour)
		assert.False(t, ok)
		time.Sleep(3 * time.Hour) // until the cache is empty and its timer has stopped
	})
}

func TestNewRefusesAnIncompleteConfiguration(t *testing.T) {
	cached, err := cache.New(fails{}, cache.Config{Clock: time.Now, CallTimeout: time.Second, TTL: time.Second, Entries: 1, Bytes: 1})
	require.NoError(t, err)
	_, err = refresh.New(cached, refresh.Config{})
	require.ErrorContains(t, err, "refresh.New: missing or invalid: ")
	_, err = refresh.New(nil, refresh.Config{Clock: time.Now})
	require.ErrorContains(t, err, "refresh.New: missing or invalid: ")
}
