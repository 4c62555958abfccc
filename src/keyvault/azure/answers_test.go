package azure_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	emulated "github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// reader returns a client whose configuration a test changes.
func reader(t *testing.T, a *azuretest.Azure, change func(*azure.Config)) *azure.Fetcher {
	t.Helper()
	public, err := cloud.Parse("")
	require.NoError(t, err)
	values := map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": a.AppSecret}
	cred, err := credential.New(credential.Config{Mode: credential.ModeEnvironment, Cloud: public, Transport: a.Client, Clock: time.Now, ReadFile: os.ReadFile,
		LookupEnv: func(name string) (string, bool) { value, ok := values[name]; return value, ok }})
	require.NoError(t, err)
	config := azure.Config{Credential: cred, Cloud: public, Transport: a.Client}
	change(&config)
	vaults, err := azure.New(config)
	require.NoError(t, err)
	return vaults
}

func TestWhatStandsInBetweenIsNamedAndNeverTakenForTheVault(t *testing.T) {
	const html = "<html><body>Blocked " + canary + "</body></html>"
	for name, c := range map[string]struct {
		fault emulated.Fault
		kind  fault.Kind
		says  string
	}{
		"200 with HTML":         {emulated.Fault{Body: html}, fault.Unavailable, "answered in its place (200)"},
		"200 with HTML as JSON": {emulated.Fault{Body: html, Header: map[string]string{"Content-Type": "application/json"}}, fault.Unavailable, "answered in its place (200)"},
		"200 and nothing":       {emulated.Fault{Body: " "}, fault.Unavailable, "answered in its place (200)"},
		"302 to a sign-in page": {emulated.Fault{Status: 302, Body: html, Header: map[string]string{"Location": "https://kv1.vault.azure.net/login"}}, fault.Unavailable, "redirects to another page (302)"},
		"307 to the same vault": {emulated.Fault{Status: 307, Body: html, Header: map[string]string{"Location": "/secrets/other"}}, fault.Unavailable, "redirects to another page (307)"},
		"400 with HTML":         {emulated.Fault{Status: 400, Body: html}, fault.Unavailable, "answered in its place (400)"},
		"401 with HTML":         {emulated.Fault{Status: 401, Body: html, Header: map[string]string{"WWW-Authenticate": "Basic realm=corp"}}, fault.Unavailable, "requires its own sign-in (401)"},
		"403 with HTML":         {emulated.Fault{Status: 403, Body: html}, fault.Unavailable, "blocked the request (403)"},
		"403 with another JSON": {emulated.Fault{Status: 403, Body: `{"message":"blocked"}`}, fault.Unavailable, "blocked the request (403)"},
		"403 with a JSON text":  {emulated.Fault{Status: 403, Body: `"error"`}, fault.Unavailable, "blocked the request (403)"},
		"404 with HTML":         {emulated.Fault{Status: 404, Body: html}, fault.Unavailable, "answered in its place (404)"},
		"407":                   {emulated.Fault{Status: 407, Body: html}, fault.Unavailable, "requires a sign-in (407)"},
		"429 with HTML":         {emulated.Fault{Status: 429, Body: html, Header: map[string]string{"Retry-After": "31536000"}}, fault.Throttled, "too many requests (429)"},
		"470":                   {emulated.Fault{Status: 470, Body: html}, fault.Unavailable, "answered in its place (470)"},
		"503 with HTML":         {emulated.Fault{Status: 503, Body: html}, fault.Unavailable, "returned a server error (503)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := azuretest.Start(t)
			a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: "v"})
			c.fault.Operation = "get"
			a.Vaults.AddFault(c.fault)
			v := reader(t, a, func(c *azure.Config) {
				c.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://user:" + canary + "@proxy.corp:3128") }
			})
			_, err := v.Fetch(t.Context(), secret("kv1", ""))
			assert.Equal(t, c.kind, fault.KindOf(err), "%v", err)
			assert.Contains(t, strings.Replace(fault.CauseOf(err), " (through the proxy proxy.corp:3128)", "", 1), c.says)
			assert.Contains(t, err.Error(), "kv1.vault.azure.net")
			assert.Contains(t, err.Error(), "proxy.corp:3128")
			assert.NotEmpty(t, fault.NextStepOf(err))
			assert.NotContains(t, err.Error(), "role")
			assert.NotContains(t, err.Error(), canary)
			assert.LessOrEqual(t, fault.RetryAfter(err), limits.VaultRetryAfter)
		})
	}
}

func TestEachRefusalOfAVaultHasCauseAndNextStepApart(t *testing.T) {
	for name, c := range map[string]struct {
		arrange     func(*azuretest.Azure)
		kind        fault.Kind
		cause, next string
	}{
		"a private endpoint": {func(a *azuretest.Azure) { a.Vaults.SetPrivateOnly("kv1", true) }, fault.Denied, "private endpoint alone", "privatelink.vaultcore.azure.net"},
		"the same as a fault": {func(a *azuretest.Azure) {
			a.Vaults.AddFault(emulated.Fault{Status: 403, Code: "Forbidden", Inner: "ForbiddenByConnection"})
		}, fault.Denied, "ForbiddenByConnection", "so that kv1.vault.azure.net resolves to the private endpoint"},
		"a role that is missing or young": {func(a *azuretest.Azure) { a.Vaults.SetPermissions("kv1", azuretest.AppObjectID, nil) }, fault.Denied, "has no role", "ten minutes"},
		"an access policy": {func(a *azuretest.Azure) {
			a.Vaults.AddFault(emulated.Fault{Status: 403, Code: "Forbidden", Inner: "ForbiddenByPolicy"})
		}, fault.Denied,
			"access policies do not allow", "add get on secrets"},
		"a firewall":       {func(a *azuretest.Azure) { a.Vaults.SetFirewall("kv1", true) }, fault.Denied, "firewall denies this address", "outbound address"},
		"not yet valid":    {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{Status: 403, Inner: "SecretNotYetValid"}) }, fault.Disabled, "not yet valid", "activation date"},
		"too many":         {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{Status: 429}) }, fault.Throttled, "too many requests", "vaultLimits.perVault"},
		"a server error":   {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{Status: 500}) }, fault.Unavailable, "server error (500", "status page"},
		"a status of none": {func(a *azuretest.Azure) { a.Vaults.AddFault(emulated.Fault{Status: 418}) }, fault.Unavailable, "unexpected status (418", "proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := azuretest.Start(t)
			a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: "v"})
			c.arrange(a)
			_, err := reader(t, a, func(c *azure.Config) { c.CredentialHint = " (a hint)" }).Fetch(t.Context(), secret("kv1", ""))
			assert.Equal(t, c.kind, fault.KindOf(err), "%v", err)
			assert.Contains(t, fault.CauseOf(err), c.cause)
			assert.Contains(t, fault.NextStepOf(err), c.next)
			assert.NotContains(t, fault.CauseOf(err), fault.NextStepOf(err))
			assert.Equal(t, name == "a role that is missing or young" || name == "an access policy", strings.Contains(err.Error(), "(a hint)"), "%v", err)
		})
	}
}

func TestAProxyThatRefusesTheConnectionIsNamed(t *testing.T) {
	for status, says := range map[int]string{403: "blocked the request", 407: "requires a sign-in", 470: "answered in its place", 503: "server error"} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			a := azuretest.Start(t)
			v := reader(t, a, func(*azure.Config) {})
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, status) }))
			defer proxy.Close()
			address, err := url.Parse(proxy.URL)
			require.NoError(t, err)
			transport := a.Client.Transport.(*http.Transport)
			transport.Proxy = http.ProxyURL(address)
			transport.DialContext = nil
			_, err = v.Fetch(t.Context(), secret("kv1", ""))
			assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
			assert.Contains(t, fault.CauseOf(err), says)
			assert.ErrorContains(t, err, address.Host)
			assert.Contains(t, fault.NextStepOf(err), "HTTPS_PROXY")
			assert.NotContains(t, err.Error(), canary)
		})
	}
}

func TestAVaultThatDoesNotExistIsNotFoundOnlyIfTheDNSIsSound(t *testing.T) {
	a := azuretest.Start(t)
	a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: "v"})
	sound := true
	v := reader(t, a, func(c *azure.Config) {
		c.CanResolve = func(_ context.Context, host string) bool {
			assert.Equal(t, "login.microsoftonline.com", host)
			return sound
		}
	})
	_, err := v.Fetch(t.Context(), secret("nowhere", ""))
	assert.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
	assert.Contains(t, fault.CauseOf(err), "there is no such vault: the name nowhere.vault.azure.net does not exist")
	assert.Contains(t, fault.NextStepOf(err), "privatelink.vaultcore.azure.net")
	sound = false
	_, err = v.Fetch(t.Context(), secret("nowhere", ""))
	assert.Equal(t, fault.Unavailable, fault.KindOf(err), "DNS that knows no other name either")
	assert.Contains(t, fault.CauseOf(err), "does not resolve")

	sound = true
	_, err = v.Fetch(t.Context(), secret("kv1", ""))
	require.NoError(t, err)
	transport := a.Client.Transport.(*http.Transport)
	transport.CloseIdleConnections()
	transport.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		host, _, _ := strings.Cut(address, ":")
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	}
	_, err = v.Fetch(t.Context(), secret("kv1", ""))
	assert.Equal(t, fault.Unavailable, fault.KindOf(err), "a vault that answered before was not deleted a moment ago: %v", err)
	transport.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		host, _, _ := strings.Cut(address, ":")
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}}
	}
	_, err = v.Fetch(t.Context(), secret("nowhere", ""))
	assert.Equal(t, fault.Unavailable, fault.KindOf(err), "a DNS server that fails says nothing of names")
}

func TestAnObjectOfAnotherTypeIsNamed(t *testing.T) {
	a := azuretest.Start(t)
	now := time.Now()
	v := reader(t, a, func(c *azure.Config) { c.Clock = func() time.Time { return now } })
	a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: "v"})
	certificate := keyvault.Ref{Vault: "kv1", Kind: keyvault.KindCertificate, Name: "db"}
	_, err := v.Fetch(t.Context(), certificate)
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
	assert.Contains(t, fault.CauseOf(err), "the vault has no certificate of this name, but a secret")
	assert.Contains(t, fault.NextStepOf(err), "type to secret")
	assert.Equal(t, 1, a.Counters()["kv1 versions 200"])
	_, err = v.Fetch(t.Context(), certificate)
	assert.Contains(t, fault.CauseOf(err), "but a secret")
	assert.Equal(t, 1, a.Counters()["kv1 versions 200"], "it is known for a while")
	now = now.Add(11 * time.Minute)
	a.Vaults.DeleteSecret("kv1", "db")
	_, err = v.Fetch(t.Context(), certificate)
	assert.Contains(t, fault.CauseOf(err), "the vault has no such object of type certificate", "and then looked for again")

	now = now.Add(11 * time.Minute)
	a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: "v"})
	a.Vaults.SetPermissions("kv1", azuretest.AppObjectID, []string{"get", "certificates/get", "keys/get"})
	_, err = v.Fetch(t.Context(), certificate)
	assert.Equal(t, fault.NotFound, fault.KindOf(err), "without the permission to list, it stays a 404")
	assert.Contains(t, fault.CauseOf(err), "of type certificate")
}

func TestClientsAreBoundedAndKeptForVaultsThatAnswerAlone(t *testing.T) {
	a := azuretest.Start(t)
	clients := azure.NewClientCache()
	v := reader(t, a, func(c *azure.Config) { c.ClientCache = clients })
	for n := range 100 {
		_, err := v.Fetch(t.Context(), secret(fmt.Sprintf("nowhere.n%d", n), ""))
		require.Error(t, err)
	}
	assert.Zero(t, clients.Len(), "made-up names that are no names")
	_, err := v.Fetch(t.Context(), secret("nowhere", ""))
	require.Error(t, err)
	assert.Zero(t, clients.Len(), "a name that does not resolve")
	a.Vaults.PutSecret("kv1", "db", emulated.Secret{Value: "v"})
	for range 3 {
		_, err := v.Fetch(t.Context(), secret("kv1", ""))
		require.NoError(t, err)
	}
	assert.Equal(t, 1, clients.Len())
	assert.Equal(t, 1, a.Counters()["kv1 get 401"], "it is kept")

	// All identities share the limit. The transport responds for every vault.
	always := answers(`{"error":{"code":"Forbidden","innererror":{"code":"ForbiddenByRbac"}}}`)
	first, second := reader(t, a, func(c *azure.Config) { c.ClientCache, c.Transport = clients, always }), reader(t, a, func(c *azure.Config) { c.ClientCache, c.Transport = clients, always })
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for n := worker; n < limits.VaultClients; n += 8 {
				_, err := first.Fetch(t.Context(), secret(fmt.Sprintf("vault-%d", n), ""))
				assert.Equal(t, fault.Denied, fault.KindOf(err))
				_, err = second.Fetch(t.Context(), secret(fmt.Sprintf("vault-%d", n), ""))
				assert.Equal(t, fault.Denied, fault.KindOf(err))
			}
		})
	}
	group.Wait()
	assert.Equal(t, limits.VaultClients, clients.Len())
	_, err = v.Fetch(t.Context(), secret("kv1", ""))
	require.NoError(t, err)
	assert.Equal(t, 2, a.Counters()["kv1 get 401"], "what was used least recently had to go")
}

// answers is a transport that rejects every call with the given body.
type answers string

func (a answers) Do(request *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	recorder.Header().Set("Content-Type", "application/json")
	recorder.WriteHeader(http.StatusForbidden)
	_, _ = recorder.WriteString(string(a))
	response := recorder.Result()
	response.Request = request
	return response, nil
}

func TestAnAnswerIsNotReadBeyondItsBound(t *testing.T) {
	a := azuretest.Start(t)
	for name, body := range map[string]string{
		"a value":         `{"value":"` + strings.Repeat("x", limits.VaultAnswerBytes) + `"}`,
		"blanks":          strings.Repeat(" ", limits.VaultAnswerBytes+1),
		"an error":        `{"error":{"code":"` + strings.Repeat("x", limits.VaultAnswerBytes) + `"}}`,
		"nested brackets": strings.Repeat("[", limits.VaultAnswerBytes+1),
	} {
		a.Vaults.AddFault(emulated.Fault{Body: body})
		_, err := open(t, a).Fetch(t.Context(), secret("kv1", ""))
		a.Vaults.RemoveFaults("")
		assert.Equal(t, fault.Unavailable, fault.KindOf(err), name)
		assert.ErrorContains(t, err, "exceeds 2 MiB", name)
		assert.Less(t, len(err.Error()), 1000)
	}
	a.Vaults.AddFault(emulated.Fault{Body: `{"value":"` + strings.Repeat("x", limits.VaultValueBytes+1) + `","id":"https://kv1.vault.azure.net/secrets/db/0123"}`})
	_, err := open(t, a).Fetch(t.Context(), secret("kv1", ""))
	assert.Equal(t, fault.Malformed, fault.KindOf(err), "%v", err)
	a.Vaults.RemoveFaults("")
	a.Vaults.AddFault(emulated.Fault{Body: `{}`, Header: map[string]string{"X-Long": strings.Repeat("x", 2*limits.ResponseHeaderBytes)}})
	_, err = open(t, a).Fetch(t.Context(), secret("kv1", ""))
	assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
	a.Vaults.RemoveFaults("")
	a.Vaults.AddFault(emulated.Fault{Status: 403, Body: `{"error":{"code":"` + strings.Repeat("x", limits.VaultErrorBytes) + `"}}`})
	_, err = open(t, a).Fetch(t.Context(), secret("kv1", ""))
	assert.Equal(t, fault.Unavailable, fault.KindOf(err), "an error of that size is not the vault's: %v", err)
}
