package reader_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/reader"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// everywhere responds for all vaults, except made-up ones, which do not resolve, and silent ones, which never respond.
type everywhere struct{}

func (everywhere) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	switch {
	case strings.HasPrefix(ref.Vault, "made-up"):
		return keyvault.Object{}, fault.New(fault.Unavailable, "the name does not resolve")
	case strings.HasPrefix(ref.Vault, "silent"):
		<-ctx.Done()
		return keyvault.Object{}, &fault.Error{Kind: fault.Unavailable, Operation: "reading", Cause: errors.New("no answer in time")}
	}
	return keyvault.Object{Ref: ref, Version: "1", Value: keyvault.NewValue([]byte("v"))}, nil
}

func large(t *testing.T) *reader.Reader {
	t.Helper()
	r, err := reader.New(reader.Config{Fetcher: everywhere{}, Clock: time.Now, MaxConcurrent: 4, CallTimeout: 20 * time.Second, CacheTTL: time.Minute,
		CacheEntries: limits.CachedAnswers, CacheBytes: limits.CachedAnswerBytes})
	require.NoError(t, err)
	return r
}

func TestNothingIsKeptOfVaultsThatNeverAnsweredAndLittleOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := large(t)
		ctx := keyvault.WithPurpose(t.Context(), keyvault.Purpose{RefreshInterval: time.Minute})
		read := func(vault string) {
			_, _ = r.Read(ctx, keyvault.Ref{Vault: vault, Kind: keyvault.KindSecret, Name: "a"}, time.Second)
		}
		for n := range 3000 {
			read(fmt.Sprint("made-up-", n))
		}
		lists, parties, bytes := r.RetainedState()
		assert.Zero(t, lists)
		assert.Zero(t, parties)
		assert.Zero(t, bytes)
		for n := range limits.RefreshedLists + 500 {
			read(fmt.Sprint("kv-", n))
		}
		lists, parties, _ = r.RetainedState()
		assert.Equal(t, limits.RefreshedLists, lists)
		assert.Zero(t, parties, "nobody is on the way")
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		lists, _, bytes = r.RetainedState()
		assert.Zero(t, lists, "nobody looks at their objects any more")
		assert.Zero(t, bytes)
	})
}

func TestSilenceIsRememberedOfABoundedNumberOfVaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := large(t)
		for n := range limits.CircuitBreakers + 10 {
			_, err := r.Read(t.Context(), keyvault.Ref{Vault: fmt.Sprint("silent-", n), Kind: keyvault.KindSecret, Name: "a"}, 0)
			require.Error(t, err)
			_, parties, _ := r.RetainedState()
			require.LessOrEqual(t, parties, limits.CircuitBreakers)
		}
	})
}

// tagged returns a list with a large tag.
type tagged struct{}

func (tagged) Fetch(_ context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	return keyvault.Object{Ref: ref, Version: "list", Entries: []keyvault.Entry{{Name: "a", Tags: map[string]string{"t": strings.Repeat("x", 10_000)}}}}, nil
}

func TestTagsInListsCountAgainstTheBytesInMemory(t *testing.T) {
	r, err := reader.New(reader.Config{Fetcher: tagged{}, Clock: time.Now, MaxConcurrent: 4, CallTimeout: 20 * time.Second, CacheTTL: time.Hour, CacheEntries: 1000, CacheBytes: 100_000})
	require.NoError(t, err)
	for n := range 100 {
		_, err := r.Read(t.Context(), keyvault.Ref{Vault: fmt.Sprint("kv-", n), Kind: keyvault.KindSecretList}, time.Minute)
		require.NoError(t, err)
	}
	_, _, bytes := r.RetainedState()
	assert.LessOrEqual(t, bytes, 100_000)
	assert.Greater(t, bytes, 60_000)
}
