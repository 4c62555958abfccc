package vaultclient

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/fault"
	kv "github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// cluster is a fake API server with annotated ServiceAccounts; it signs their tokens.
type cluster struct {
	key    *rsa.PrivateKey
	mu     sync.Mutex
	apps   map[kv.Identity][2]string // tenant and client
	tokens int
	err    error
}

func (c *cluster) ApplicationIDs(_ context.Context, who kv.Identity) (tenant, client string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	app, ok := c.apps[who]
	if !ok {
		return "", "", fault.New(fault.Unauthenticated, "there is no %s", who)
	}
	return app[0], app[1], nil
}

func (c *cluster) Token(_ context.Context, who kv.Identity) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens++
	if c.err != nil {
		return "", c.err
	}
	return jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{Issuer: "https://cluster", Subject: "system:serviceaccount:" + who.Namespace + ":" + who.ServiceAccount,
		Audience: jwt.ClaimStrings{"api://AzureADTokenExchange"}, IssuedAt: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))}).SignedString(c.key)
}

// bench is an installation that can read vault kv1, and two tenants that can each read one other vault.
type bench struct {
	*testing.T
	azure   *azuretest.Azure
	cluster *cluster
	tenants *identityFetcher
}

var (
	one = kv.Identity{Namespace: "one", ServiceAccount: "reader"}
	two = kv.Identity{Namespace: "two", ServiceAccount: "reader"}
)

const (
	clientOne, objectOne = "e0000001-0000-4000-8000-000000000001", "e0000001-0000-4000-8000-000000000002"
	clientTwo, objectTwo = "e0000002-0000-4000-8000-000000000001", "e0000002-0000-4000-8000-000000000002"
)

func newBench(t *testing.T) *bench {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	issuer := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	b := &bench{T: t, azure: azuretest.Start(t), cluster: &cluster{key: key,
		apps: map[kv.Identity][2]string{one: {azuretest.Tenant, clientOne}, two: {"", clientTwo}}}}
	principal := func(name, client, object, namespace string) entra.Principal {
		return entra.Principal{Name: name, ClientID: client, ObjectID: object, Federated: []entra.Federation{{Issuer: "https://cluster",
			Subject: "system:serviceaccount:" + namespace + ":reader", Key: issuer}}}
	}
	vault := func(object, value string) emulator.VaultSeed {
		return emulator.VaultSeed{Permissions: map[string][]string{object: {"get"}}, Secrets: map[string]keyvault.Secret{"db": {Value: value}}}
	}
	require.NoError(t, b.azure.ApplySeed(emulator.Seed{Principals: []entra.Principal{principal("one", clientOne, objectOne, "one"), principal("two", clientTwo, objectTwo, "two")},
		Vaults: map[string]emulator.VaultSeed{"kv-one": vault(objectOne, "1"), "kv-two": vault(objectTwo, "2"), "kv1": vault(azuretest.AppObjectID, "0")}}))
	public, err := cloud.Parse("")
	require.NoError(t, err)
	env := map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": b.azure.AppSecret}
	identity := credential.Config{Mode: credential.ModeEnvironment, Cloud: public, Transport: b.azure.Client, Clock: time.Now,
		LookupEnv: func(name string) (string, bool) { value, ok := env[name]; return value, ok }, ReadFile: func(string) ([]byte, error) { return nil, nil }}
	own, err := credential.New(identity)
	require.NoError(t, err)
	shared := azure.Config{Credential: own, Cloud: public, Transport: b.azure.Client}
	installation, err := azure.New(shared)
	require.NoError(t, err)
	b.tenants = &identityFetcher{installation: installation, azureConfig: shared, credentialConfig: identity, defaultTenantID: azuretest.Tenant, accounts: b.cluster, fetchers: map[kv.Identity]*cachedFetcher{}}
	return b
}

func (b *bench) read(vault string, as kv.Identity) (string, error) {
	object, err := b.tenants.Fetch(b.Context(), kv.Ref{Vault: vault, Kind: kv.KindSecret, Name: "db", Identity: as})
	return string(object.Value.Reveal()), err
}

func TestEachIdentityReadsAsItselfAlone(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		vault string
		as    kv.Identity
		value string
	}{{"kv1", kv.Identity{}, "0"}, {"kv-one", one, "1"}, {"kv-two", two, "2"}} {
		value, err := b.read(c.vault, c.as)
		require.NoError(t, err)
		assert.Equal(t, c.value, value)
		for _, other := range []kv.Identity{{}, one, two} {
			if other == c.as {
				continue
			}
			_, err := b.read(c.vault, other)
			assert.Equal(t, fault.Denied, fault.KindOf(err), "%s as %s", c.vault, other)
		}
	}
	assert.Equal(t, 2, b.cluster.tokens, "one token an account, however many vaults it reads")
	counters := b.azure.Counters()
	assert.Equal(t, 1, counters["token assertion one 200"])
	assert.Equal(t, 1, counters["token assertion two 200"])
}

func TestWhatAnAccountLacksIsTold(t *testing.T) {
	b := newBench(t)
	_, err := b.read("kv-one", kv.Identity{Namespace: "three", ServiceAccount: "reader"})
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	assert.ErrorContains(t, err, `there is no ServiceAccount "reader" of namespace "three"`)

	b.tenants.defaultTenantID = ""
	_, err = b.read("kv-two", two)
	assert.ErrorContains(t, err, "azure.workload.identity/tenant-id")

	b.cluster.err = fault.New(fault.Denied, "add it to the value identity.serviceAccounts")
	_, err = b.read("kv-one", one)
	assert.Equal(t, fault.Denied, fault.KindOf(err), "the API server's refusal keeps its kind")
	assert.ErrorContains(t, err, "identity.serviceAccounts")

	b.cluster.err = nil
	b.cluster.apps[one] = [2]string{azuretest.Tenant, clientTwo}
	_, err = b.read("kv-one", one)
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err), "an application that does not trust the account")
	assert.ErrorContains(t, err, "AADSTS700213")
	assert.ErrorContains(t, err, `ServiceAccount "reader" of namespace "one"`)

	b.tenants.accounts = nil
	_, err = b.read("kv-one", one)
	assert.Equal(t, fault.Denied, fault.KindOf(err), "never as the installation instead")
}

func TestAnAccountThatIsAnnotatedOtherwiseBeginsAnew(t *testing.T) {
	b := newBench(t)
	b.cluster.apps[one] = [2]string{azuretest.Tenant, "e0000009-0000-4000-8000-000000000001"}
	_, err := b.read("kv-one", one)
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	b.cluster.apps[one] = [2]string{azuretest.Tenant, clientOne}
	value, err := b.read("kv-one", one)
	require.NoError(t, err)
	assert.Equal(t, "1", value)
	b.cluster.apps[one] = [2]string{"e0000009-0000-4000-8000-000000000002", clientOne}
	_, err = b.read("kv-one", one)
	assert.Error(t, err, "another tenant gave it no token")
}

func TestOldIdentitiesAreForgotten(t *testing.T) {
	b := newBench(t)
	for n := range limits.CachedIdentities + 5 {
		_, err := b.tenants.fetcherFor(kv.Identity{Namespace: "n", ServiceAccount: string(rune('a' + n))}, azuretest.Tenant, clientOne)
		require.NoError(t, err)
	}
	assert.Len(t, b.tenants.fetchers, limits.CachedIdentities)
}

// unwilling is a metadata service behind a redirect that returns no token.
type unwilling struct{ policy.Transporter }

func (u unwilling) Do(request *http.Request) (*http.Response, error) {
	if request.URL.Host != "169.254.169.254" {
		return u.Transporter.Do(request)
	}
	return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Header: http.Header{}, Request: request}, nil
}

func TestWhyThereIsNoTokenIsToldBeforeTheCallEnds(t *testing.T) {
	running := azuretest.Start(t)
	known, err := cloud.Parse("")
	require.NoError(t, err)
	own, err := credential.New(credential.Config{Mode: credential.ModeEnvironment, Cloud: known, Transport: unwilling{running.Client}, Clock: time.Now,
		LookupEnv: func(name string) (string, bool) {
			id := map[string]string{"AZURE_CLIENT_ID": "5e000000-0000-4000-8000-000000000001"}[name]
			return id, id != ""
		}, ReadFile: func(string) ([]byte, error) { return nil, nil }})
	require.NoError(t, err)
	vaults, err := azure.New(azure.Config{Credential: own, Cloud: known, Transport: running.Client})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = vaults.Fetch(ctx, kv.Ref{Vault: "kv1", Kind: kv.KindSecret, Name: "db"})
	assert.Equal(t, fault.Unavailable, fault.KindOf(err))
	assert.ErrorContains(t, err, "the metadata service answered 404")
	assert.ErrorContains(t, err, "addAzurePodIdentityException")
}
