package cache_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cache"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// everywhere responds for all vaults, except made-up ones, which do not resolve.
type everywhere struct{}

func (everywhere) Fetch(_ context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if strings.HasPrefix(ref.Vault, "made-up") {
		return keyvault.Object{}, fault.New(fault.Unavailable, "the name does not resolve")
	}
	return keyvault.Object{Ref: ref, Version: "1", Value: keyvault.NewValue([]byte("v"))}, nil
}

func TestNothingIsKeptOfVaultsThatNeverAnsweredAndOfOthersForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openWith(t, everywhere{}, cache.Config{TTL: time.Minute, Entries: limits.CachedAnswers, Bytes: limits.CachedAnswerBytes})
		ctx := keyvault.WithPurpose(t.Context(), keyvault.Purpose{RefreshInterval: time.Minute})
		read := func(vault string) {
			_, _ = r.Read(ctx, keyvault.Ref{Vault: vault, Kind: keyvault.KindSecret, Name: "a"}, time.Second)
		}
		for n := range 3000 {
			read(fmt.Sprint("made-up-", n))
		}
		assert.Zero(t, r.UsedBytes())
		for n := range limits.RefreshedLists + 500 {
			read(fmt.Sprint("kv-", n))
		}
		assert.Positive(t, r.UsedBytes())
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		assert.Zero(t, r.UsedBytes())
	})
}

// tagged returns a list with a large tag.
type tagged struct{}

func (tagged) Fetch(_ context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	return keyvault.Object{Ref: ref, Version: "list", Entries: []keyvault.Entry{{Name: "a", Tags: map[string]string{"t": strings.Repeat("x", 10_000)}}}}, nil
}

func TestTagsInListsCountAgainstTheBytesInMemory(t *testing.T) {
	r := openWith(t, tagged{}, cache.Config{CallTimeout: 20 * time.Second, TTL: time.Hour, Entries: 1000, Bytes: 100_000})
	for n := range 100 {
		_, err := r.Read(t.Context(), keyvault.Ref{Vault: fmt.Sprint("kv-", n), Kind: keyvault.KindSecretList}, time.Minute)
		require.NoError(t, err)
	}
	bytes := r.UsedBytes()
	assert.LessOrEqual(t, bytes, 100_000)
	assert.Greater(t, bytes, 60_000)
}
