package refresh_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cache"
	"github.com/akv2k8s/akv2k8s/src/keyvault/refresh"
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

func TestNothingIsKeptOfVaultsThatNeverAnsweredAndLittleOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openWith(t, everywhere{}, cache.Config{TTL: time.Minute, Entries: limits.CachedAnswers, Bytes: limits.CachedAnswerBytes}, refresh.Config{})
		ctx := keyvault.WithPurpose(t.Context(), keyvault.Purpose{RefreshInterval: time.Minute})
		read := func(vault string) {
			_, _ = r.Read(ctx, keyvault.Ref{Vault: vault, Kind: keyvault.KindSecret, Name: "a"}, time.Second)
		}
		for n := range 3000 {
			read(fmt.Sprint("made-up-", n))
		}
		assert.Zero(t, r.TrackedLists())
		for n := range limits.RefreshedLists + 500 {
			read(fmt.Sprint("kv-", n))
		}
		assert.Equal(t, limits.RefreshedLists, r.TrackedLists())
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		assert.Zero(t, r.TrackedLists(), "nobody looks at their objects any more")
	})
}
