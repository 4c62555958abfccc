package azure_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	emulated "github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

const canary = "canary-90c2"

func open(t *testing.T, a *azuretest.Azure) *azure.Fetcher {
	t.Helper()
	return openWith(t, a, a.Client)
}

func openWith(t *testing.T, a *azuretest.Azure, transport policy.Transporter) *azure.Fetcher {
	t.Helper()
	public, err := cloud.Parse("")
	require.NoError(t, err)
	values := map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": a.AppSecret}
	cred, err := credential.New(credential.Config{Mode: credential.ModeEnvironment, Cloud: public, Transport: a.Client, Clock: time.Now, ReadFile: os.ReadFile,
		LookupEnv: func(name string) (string, bool) { value, ok := values[name]; return value, ok }})
	require.NoError(t, err)
	vaults, err := azure.New(azure.Config{Credential: cred, Cloud: public, Transport: transport})
	require.NoError(t, err)
	return vaults
}

func secret(vault, version string) keyvault.Ref {
	return keyvault.Ref{Vault: vault, Kind: keyvault.KindSecret, Name: "db", Version: version}
}

func TestFetchReadsEveryField(t *testing.T) {
	a := azuretest.Start(t)
	expires, begins := time.Now().Add(-time.Hour).Truncate(time.Second).UTC(), time.Now().Add(-2*time.Hour).Truncate(time.Second).UTC()
	old := a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: "old"})
	latest := a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: canary, ContentType: "text/plain", Expires: expires, NotBefore: begins,
		Tags: map[string]string{"team": "a"}})
	v := open(t, a)
	got, err := v.Fetch(t.Context(), secret("kv1", ""))
	require.NoError(t, err)
	assert.Equal(t, canary, string(got.Value.Reveal()))
	assert.Equal(t, latest, got.Version)
	assert.Equal(t, "text/plain", got.ContentType)
	assert.Equal(t, expires, got.Expires, "an expired secret is served, as Key Vault does; its date is told")
	assert.Equal(t, begins, got.NotBefore)
	assert.Equal(t, map[string]string{"team": "a"}, got.Tags)
	assert.WithinDuration(t, time.Now(), got.Updated, time.Minute)

	got, err = v.Fetch(t.Context(), secret("kv1", old))
	require.NoError(t, err)
	assert.Equal(t, "old", string(got.Value.Reveal()))
	assert.Equal(t, old, got.Version)
}

func TestWhoWaitsForTheFirstCallObeysTheDeadline(t *testing.T) {
	a := azuretest.Start(t)
	a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: "v"})
	a.Vaults.AddFault(emulated.Fault{LatencyMillis: 2000, Times: 2})
	v := open(t, a)
	done := make(chan error, 1)
	go func() {
		_, err := v.Fetch(t.Context(), secret("kv1", ""))
		done <- err
	}()
	require.Eventually(t, func() bool { return a.Counters()["kv1 get 401"] == 1 }, 5*time.Second, 10*time.Millisecond, "the first call is on its way")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := v.Fetch(ctx, secret("kv1", ""))
	assert.Equal(t, fault.Unavailable, fault.KindOf(err))
	assert.ErrorContains(t, err, "did not answer in time")
	require.NoError(t, <-done)
}

func TestOneChallengePerVaultAndOneTokenForAll(t *testing.T) {
	a := azuretest.Start(t)
	a.Vaults.SetPermissions("kv2", azuretest.AppObjectID, []string{"get"})
	for _, vault := range []string{"kv1", "kv2"} {
		a.Vaults.PutSecret(vault, "db", emulated.Secret{Value: "v"})
	}
	v := open(t, a)
	var group sync.WaitGroup
	for range 20 {
		for _, vault := range []string{"kv1", "kv2"} {
			group.Go(func() {
				_, err := v.Fetch(t.Context(), secret(vault, ""))
				assert.NoError(t, err)
			})
		}
	}
	group.Wait()
	counters := a.Counters()
	assert.Equal(t, 1, counters["kv1 get 401"])
	assert.Equal(t, 1, counters["kv2 get 401"])
	assert.Equal(t, 20, counters["kv1 get 200"])
	assert.Equal(t, 20, counters["kv2 get 200"])
	assert.Equal(t, 1, counters["token client-secret app 200"])
}

func TestEveryFailureHasItsKindAndSaysWhatToDo(t *testing.T) {
	cases := map[string]struct {
		arrange    func(*azuretest.Azure)
		vault      string
		kind       fault.Kind
		says       string
		retryAfter time.Duration
	}{
		"an absent secret": {func(a *azuretest.Azure) { a.Vaults.DeleteSecret("kv1", "db") }, "kv1", fault.NotFound, "recovered", 0},
		"a disabled secret": {func(a *azuretest.Azure) {
			a.Vaults.ChangeSecret("kv1", "db", func(s *emulated.Secret) { s.Disabled = true })
		}, "kv1", fault.Disabled, "enable this version", 0},
		"no permission": {func(a *azuretest.Azure) { a.Vaults.SetPermissions("kv1", azuretest.AppObjectID, nil) }, "kv1", fault.Denied,
			`"Key Vault Secrets User" on the vault (or an access policy with get on secrets) to the principal with object id ` + azuretest.AppObjectID, 0},
		"a firewall": {func(a *azuretest.Azure) { a.Vaults.SetFirewall("kv1", true) }, "kv1", fault.Denied, "firewall", 0},
		"throttled with Retry-After": {func(a *azuretest.Azure) {
			a.Vaults.AddFault(emulated.Fault{Operation: "get", Status: 429, RetryAfter: 17})
		},
			"kv1", fault.Throttled, "429", 17 * time.Second},
		"throttled without":                       {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{Status: 429}) }, "kv1", fault.Throttled, "429", 0},
		"a server error":                          {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{Status: 503}) }, "kv1", fault.Unavailable, "503", 0},
		"a bad request":                           {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{Status: 400, Code: "BadParameter"}) }, "kv1", fault.Invalid, "400", 0},
		"a 400 by somebody else, such as a proxy": {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{Status: 400}) }, "kv1", fault.Unavailable, "400", 0},
		"a token refused":                         {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{RefuseTokens: true}) }, "kv1", fault.Unauthenticated, "tenant", 0},
		"connection dropped":                      {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{Drop: true}) }, "kv1", fault.Unavailable, "failed", 0},
		"an answer that ends in the middle": {func(a *azuretest.Azure) {
			a.Vaults.AddFault(emulated.Fault{Drop: true, Body: `{"value":"` + canary})
		}, "kv1", fault.Unavailable, "the connection to kv1.vault.azure.net failed", 0},
		"JSON that makes no sense": {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{Body: `{"value":["` + canary + `"]}`}) }, "kv1", fault.Unavailable, "could not be parsed", 0},
		"JSON without a value":     {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{Body: `{}`}) }, "kv1", fault.Malformed, "incomplete", 0},
		"another secret's answer": {func(a *azuretest.Azure) {
			a.Vaults.AddFault(emulated.Fault{Body: `{"value":"` + canary + `","id":"https://kv1.vault.azure.net/secrets/other/0123","attributes":{"enabled":true}}`})
		}, "kv1", fault.Malformed, "another object", 0},
		"a challenge without a tenant, which makes the SDK panic": {func(a *azuretest.Azure) {
			a.Vaults.AddFault(emulated.Fault{RefuseTokens: true, Challenge: `Bearer authorization="https://login.microsoftonline.com", resource="https://vault.azure.net"`})
		}, "kv1", fault.Unavailable, "could not be parsed", 0},
		"a vault that is not there":    {func(*azuretest.Azure) {}, "kv9", fault.Unavailable, "kv9.vault.azure.net", 0},
		"a name that does not resolve": {func(*azuretest.Azure) {}, "nowhere", fault.Unavailable, "does not resolve", 0},
		"a name that leaves the cloud": {func(*azuretest.Azure) {}, "evil.example/", fault.Invalid, "vault name", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := azuretest.Start(t)
			a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: canary})
			c.arrange(a)
			v := open(t, a)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, first := v.Fetch(ctx, secret(c.vault, ""))
			_, second := v.Fetch(ctx, secret(c.vault, ""))
			assert.Equal(t, c.kind, fault.KindOf(first), "%v", first)
			require.ErrorContains(t, first, c.says)
			assert.Equal(t, c.retryAfter, fault.RetryAfter(first))
			assert.Equal(t, first.Error(), second.Error(), "the same cause must have the same text")
			assert.NotContains(t, fmt.Sprintf("%+v", first), canary)
		})
	}
}

func TestFetchObeysTheDeadline(t *testing.T) {
	a := azuretest.Start(t)
	a.Vaults.AddFault(emulated.Fault{Operation: "get", LatencyMillis: 20000})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := open(t, a).Fetch(ctx, secret("kv1", ""))
	assert.Equal(t, fault.Unavailable, fault.KindOf(err))
	assert.ErrorContains(t, err, "in time")
	assert.Less(t, time.Since(start), 5*time.Second)
}

func TestAWrongCredentialIsToldAsSuch(t *testing.T) {
	a := azuretest.Start(t)
	a.AppSecret = canary
	_, err := open(t, a).Fetch(t.Context(), secret("kv1", ""))
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	assert.ErrorContains(t, err, "AADSTS7000215")
	assert.NotContains(t, err.Error(), canary)
}

func TestNewWantsEverything(t *testing.T) {
	_, err := azure.New(azure.Config{})
	assert.Error(t, err)
}

func TestAVaultOfAPrivateCloudIsRead(t *testing.T) {
	a := azuretest.Start(t)
	a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: canary})
	private, err := cloud.ParseCustom([]byte(`{"activeDirectoryEndpoint":"https://login.private.example","keyVaultDNSSuffix":"vault.private.example"}`))
	require.NoError(t, err)
	values := map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": a.AppSecret}
	cred, err := credential.New(credential.Config{Mode: credential.ModeEnvironment, Cloud: private, Transport: a.Client, Clock: time.Now, ReadFile: os.ReadFile,
		LookupEnv: func(name string) (string, bool) { value, ok := values[name]; return value, ok }})
	require.NoError(t, err)
	vaults, err := azure.New(azure.Config{Credential: cred, Cloud: private, Transport: a.Client})
	require.NoError(t, err)
	got, err := vaults.Fetch(t.Context(), secret("kv1", ""))
	require.NoError(t, err)
	assert.Equal(t, canary, string(got.Value.Reveal()))
}
