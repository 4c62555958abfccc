package cache_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cache"
)

func TestAResultIsComparedWithoutItsValueAndConfirmedWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openWith(t, everywhere{}, cache.Config{TTL: time.Minute, Entries: 10, Bytes: 1 << 20})
		_, ok := r.Lookup(ref("a"))
		assert.False(t, ok)
		_, ok = r.RecordRefresh(ref("a"))
		assert.False(t, ok)
		_, ok = r.ConfirmResult(t.Context(), ref("a"), time.Now(), func(cache.Result) bool { return true })
		assert.False(t, ok, "there is nothing to confirm")
		began := time.Now()
		_, err := r.Read(t.Context(), ref("a"), 0)
		require.NoError(t, err)
		for _, look := range []func(keyvault.Ref) (cache.Result, bool){r.Lookup, r.RecordRefresh} {
			known, ok := look(ref("a"))
			assert.True(t, ok)
			assert.Equal(t, []any{ref("a"), "1", began, 0}, []any{known.Ref, known.Object.Version, known.RequestedAt, known.Object.Value.Len()})
			assert.False(t, r.IsFresh(known, keyvault.Purpose{}))
			assert.True(t, r.IsFresh(known, keyvault.Purpose{MaxAge: 1}))
		}
		time.Sleep(10 * time.Second)
		_, ok = r.ConfirmResult(t.Context(), ref("a"), time.Now(), func(cache.Result) bool { return false })
		assert.False(t, ok)
		_, ok = r.LastGood(ref("a"), 9*time.Second)
		assert.False(t, ok, "it is as old as it was")
		given, ok := r.ConfirmResult(t.Context(), ref("a"), time.Now(), func(known cache.Result) bool { return known.Object.Value.Len() == 0 })
		assert.True(t, ok)
		assert.Equal(t, "v", string(given.Object.Value.Reveal()))
		_, ok = r.LastGood(ref("a"), 9*time.Second)
		assert.True(t, ok)
	})
}

func TestTheReceiverOfResultsHasThemBeforeTheReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openWith(t, tagged{}, cache.Config{TTL: time.Minute, Entries: 10, Bytes: 1 << 20})
		list := keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecretList}
		var received []cache.Result
		notified := 0
		r.OnResult(func(a cache.Result) func() {
			received = append(received, a)
			return func() { notified++ }
		})
		_, err := r.Read(t.Context(), list, 0)
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, received, 1)
		assert.Equal(t, list, received[0].Ref)
		assert.Contains(t, received[0].EntriesByName, "a")
		assert.Equal(t, 1, notified)
	})
}
