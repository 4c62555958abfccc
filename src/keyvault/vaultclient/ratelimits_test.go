package vaultclient

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/fault"
	kv "github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// filled returns an emulator whose vault kv1 has a hundred secrets, and the environment of a program that may read it.
func filled(t *testing.T) (*azuretest.Azure, func(string) (string, bool)) {
	t.Helper()
	a := azuretest.Start(t)
	for i := range 100 {
		a.Vaults.PutSecret("kv1", fmt.Sprintf("s-%d", i), keyvault.Secret{Value: "v"})
	}
	env := map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": a.AppSecret}
	return a, func(name string) (string, bool) { value, ok := env[name]; return value, ok }
}

// running returns a client as New builds it, on the emulator. It knows the vault already.
func running(t *testing.T, c Config) (*azuretest.Azure, *Client) {
	t.Helper()
	a, lookup := filled(t)
	c.AuthType, c.LookupEnv, c.transport = string(credential.ModeEnvironment), lookup, a.Client
	client, err := New(c)
	require.NoError(t, err)
	_, err = client.identities.Fetch(t.Context(), secret(0))
	require.NoError(t, err)
	a.ResetCounters()
	return a, client
}

// paced returns the real SDK on the emulator, with the rate limiter in between. Vault kv1 has a hundred secrets.
func paced(t *testing.T, limits RateLimits) (*azuretest.Azure, *azure.Fetcher) {
	t.Helper()
	a, lookup := filled(t)
	public, err := cloud.Parse("")
	require.NoError(t, err)
	own, err := credential.New(credential.Config{Mode: credential.ModeEnvironment, Cloud: public, Transport: a.Client, Clock: time.Now,
		LookupEnv: lookup, ReadFile: func(string) ([]byte, error) { return nil, nil }})
	require.NoError(t, err)
	pace, err := Config{RateLimits: limits}.newRateLimiter()
	require.NoError(t, err)
	vaults, err := azure.New(azure.Config{Credential: own, Cloud: public, Transport: rateLimitedTransport{a.Client, pace}})
	require.NoError(t, err)
	_, err = vaults.Fetch(t.Context(), secret(0))
	require.NoError(t, err)
	a.ResetCounters()
	return a, vaults
}

func secret(i int) kv.Ref {
	return kv.Ref{Vault: "kv1", Kind: kv.KindSecret, Name: fmt.Sprintf("s-%d", i)}
}

// total returns the number of requests that the vault received.
func total(a *azuretest.Azure) (n int) {
	for name, count := range a.Counters() {
		if name != "kv1 in-pause" {
			n += count
		}
	}
	return n
}

func TestTheSDKsOwnRetriesBreakNoPause(t *testing.T) {
	for name, f := range map[string]keyvault.Fault{
		"429 with Retry-After":    {Status: 429, RetryAfter: 2},
		"429 without Retry-After": {Status: 429},
		"503 with Retry-After":    {Status: 503, RetryAfter: 2},
		"503 with a short one":    {Status: 503, RetryAfter: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, vaults := paced(t, RateLimits{})
			f.Times = 1
			a.Vaults.AddFault(f)
			_, err := vaults.Fetch(t.Context(), secret(1))
			if f.Status == 429 {
				assert.Equal(t, fault.Throttled, fault.KindOf(err))
				assert.Equal(t, time.Duration(f.RetryAfter)*time.Second, fault.RetryAfter(err))
			}
			var group sync.WaitGroup
			for i := range 50 {
				group.Go(func() {
					for {
						_, err := vaults.Fetch(t.Context(), secret(i))
						if err == nil {
							return
						}
						if !assert.True(t, ratelimit.IsDeferred(err), err) {
							return
						}
						time.Sleep(fault.RetryAfter(err))
					}
				})
			}
			group.Wait()
			assert.Zero(t, a.Counters()["kv1 in-pause"])
			assert.LessOrEqual(t, total(a), 52)
		})
	}
}

func TestTheRealSDKStaysBelowTheLimits(t *testing.T) {
	a, vaults := paced(t, RateLimits{Vault: 120, Readers: 3}) // 20 at once, then 2 per second
	began := time.Now()
	var group sync.WaitGroup
	var putOff atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	for i := range 100 {
		group.Go(func() {
			if _, err := vaults.Fetch(ctx, secret(i)); err != nil {
				assert.Equal(t, fault.Throttled, fault.KindOf(err), err)
				putOff.Add(1)
			}
		})
	}
	group.Wait()
	assert.Less(t, time.Since(began), 4*time.Second, "deadlines pass through")
	assert.InDelta(t, 22, total(a), 3)
	assert.EqualValues(t, 100, int64(total(a))+putOff.Load())
}

func TestLimitsAreDivided(t *testing.T) {
	for _, limits := range []RateLimits{{Vault: -1}, {Subscription: -1}, {Readers: -1}} {
		_, err := Config{RateLimits: limits}.newRateLimiter()
		assert.Equal(t, fault.Invalid, fault.KindOf(err), "%+v", limits)
	}
	_, err := Config{RateLimits: RateLimits{Vault: 1, Readers: 100}}.newRateLimiter()
	assert.NoError(t, err, "something is always left")
}

func TestFallbacksAreNamesOfTwoVaults(t *testing.T) {
	var f VaultFallbacks
	require.NoError(t, f.Add("KV-one=kv-two"))
	require.NoError(t, f.Add("kv-three=kv-two"))
	assert.Equal(t, VaultFallbacks{"kv-one": "kv-two", "kv-three": "kv-two"}, f)
	for _, text := range []string{"", "kv-one", "kv-one=", "=kv-two", "kv-one=kv-one", "kv-one=evil.example.org", "kv-one=a/b"} {
		assert.Error(t, f.Add(text), text)
	}
}
