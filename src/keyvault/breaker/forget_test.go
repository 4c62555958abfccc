package breaker_test

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
	"github.com/akv2k8s/akv2k8s/src/keyvault/breaker"
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

func openEverywhere(t *testing.T) (*breaker.Fetcher, keyvault.Fetcher) {
	t.Helper()
	b, err := breaker.New(everywhere{}, breaker.Config{Clock: time.Now, MaxConcurrent: 4, CallTimeout: 20 * time.Second})
	require.NoError(t, err)
	return b, timed{b, 20 * time.Second}
}

func TestNothingIsKeptOfVaultsThatNobodyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := openEverywhere(t)
		for _, vault := range []string{"made-up-", "kv-"} {
			for n := range 3000 {
				_, err := r.Fetch(t.Context(), keyvault.Ref{Vault: fmt.Sprint(vault, n), Kind: keyvault.KindSecret, Name: "a"})
				assert.Equal(t, vault == "made-up-", err != nil)
			}
			assert.Zero(t, b.Breakers(), "nobody is on the way")
		}
	})
}

func TestSilenceIsRememberedOfABoundedNumberOfVaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := openEverywhere(t)
		for n := range limits.CircuitBreakers + 10 {
			_, err := r.Fetch(t.Context(), keyvault.Ref{Vault: fmt.Sprint("silent-", n), Kind: keyvault.KindSecret, Name: "a"})
			require.Error(t, err)
			require.LessOrEqual(t, b.Breakers(), limits.CircuitBreakers)
		}
	})
}
