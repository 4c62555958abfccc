package azure_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/azure"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	emulated "github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	reader "github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// canary is the value of every secret. It must never be printed.
const canary = "canary-4711"

// vaults reads the emulator without a cache.
type vaults struct{ *reader.Fetcher }

func (v vaults) Read(ctx context.Context, ref keyvault.Ref, _ time.Duration) (keyvault.Object, error) {
	return v.Fetch(ctx, ref)
}

// bed is an emulator with the installation's settings and resources, into which a test plants a fault.
type bed struct {
	*azuretest.Azure
	environ   map[string]string
	addresses map[string]string
	rules     rule.AccessRules
	resources []azure.Resource
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{Azure: azuretest.Start(t), addresses: map[string]string{"kv1.vault.azure.net": "20.1.2.3",
		"login.microsoftonline.com": "20.4.5.6"}}
	b.environ = map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID,
		"AZURE_CLIENT_SECRET": b.AppSecret}
	for _, name := range []string{"db", "api"} {
		b.Vaults.PutSecret("kv1", name, emulated.Secret{Value: canary})
		b.resources = append(b.resources, resource(name, "secret"))
	}
	return b
}

// resource is an AzureKeyVaultSecret for an object of vault kv1.
func resource(object, kind string) azure.Resource {
	content, _ := json.Marshal(map[string]any{"spec": map[string]any{
		"vault":  map[string]any{"name": "kv1", "object": map[string]any{"name": object, "type": kind}},
		"output": map[string]any{"secret": map[string]any{"name": object, "dataKey": "value"}}}})
	return azure.Resource{Namespace: "team", Name: object, JSON: content}
}

func (b *bed) lookupHost(_ context.Context, host string) ([]string, error) {
	if address := b.addresses[host]; address != "" {
		return []string{address}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// check runs the checks with a new client.
func (b *bed) check(t *testing.T) []doctor.Finding {
	t.Helper()
	public, err := cloud.Parse("AzurePublicCloud")
	require.NoError(t, err)
	lookupEnv := func(name string) (string, bool) { value, ok := b.environ[name]; return value, ok }
	token, err := credential.New(credential.Config{Mode: credential.ModeEnvironment, Cloud: public, LookupEnv: lookupEnv,
		ReadFile: func(string) ([]byte, error) { return nil, assert.AnError }, Transport: b.Client, Clock: time.Now})
	require.NoError(t, err)
	fetcher, err := reader.New(reader.Config{Credential: token, Cloud: public, Transport: b.Client,
		CanResolve: func(ctx context.Context, host string) bool {
			_, err := b.lookupHost(ctx, host)
			return err == nil
		}})
	require.NoError(t, err)
	checker, err := azure.New(azure.Config{Vaults: vaults{fetcher}, Credential: token, Cloud: public,
		ClientID: b.environ["AZURE_CLIENT_ID"], LookupHost: b.lookupHost, Clock: time.Now, Rules: b.rules,
		Identities: rule.IdentityPolicy{}})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	started := time.Now()
	found := checker.Check(ctx, b.resources)
	assert.Less(t, time.Since(started), 10*time.Second, "a user waits for it")
	text, err := json.Marshal(found)
	require.NoError(t, err)
	assert.NotContains(t, string(text), canary)
	assert.NotContains(t, string(text), b.AppSecret)
	assert.NotContains(t, string(text), "eyJ", "a token")
	return found
}

func complaints(all []doctor.Finding) (found []doctor.Finding) {
	for _, f := range all {
		if f.Severity != doctor.OK {
			found = append(found, f)
		}
	}
	return found
}

func TestNothingIsSaidOfWhatWorks(t *testing.T) {
	b := newBed(t)
	found := b.check(t)
	assert.Empty(t, complaints(found))
	text := fmt.Sprint(found)
	assert.Contains(t, text, "object id "+azuretest.AppObjectID+", client id "+azuretest.AppClientID+", tenant "+azuretest.Tenant)
	assert.Contains(t, text, "kv1.vault.azure.net resolves to a public address, 20.1.2.3")
	assert.Contains(t, text, "2 vault objects can be read")
	b.addresses["kv1.vault.azure.net"] = "10.0.0.4"
	assert.Contains(t, fmt.Sprint(b.check(t)), "resolves to a private address, 10.0.0.4")
}

func TestEachPlantedFaultIsNamedFirstAndNothingElse(t *testing.T) {
	const role = `az role assignment create --role "Key Vault Secrets User" --assignee-object-id ` + azuretest.AppObjectID +
		` --assignee-principal-type ServicePrincipal --scope "$(az keyvault show --name kv1 --query id --output tsv)"`
	change := func(edit func(*emulated.Secret)) func(*testing.T, *bed) {
		return func(_ *testing.T, b *bed) { b.Vaults.ChangeSecret("kv1", "db", edit) }
	}
	deny := func(inner string) func(*testing.T, *bed) {
		return func(_ *testing.T, b *bed) {
			b.Vaults.AddFault(emulated.Fault{Status: 403, Code: "Forbidden", Inner: inner})
		}
	}
	principal := func(edit func(*entra.Principal)) func(*testing.T, *bed) {
		return func(_ *testing.T, b *bed) {
			p := entra.Principal{Name: "other", ClientID: "dddddddd-0000-4000-8000-000000000001", ObjectID: azuretest.AppObjectID, Secret: b.AppSecret}
			edit(&p)
			b.Directory.Register(p)
			b.environ["AZURE_CLIENT_ID"] = p.ClientID
		}
	}
	for name, c := range map[string]struct {
		plant func(*testing.T, *bed)
		// what, why, try and command are parts of the only complaint.
		what, why, try, command string
		object                  string
		severity                doctor.Severity
		noCommand               bool
	}{
		"a role that is missing": {plant: func(_ *testing.T, b *bed) { b.Vaults.SetPermissions("kv1", azuretest.AppObjectID, nil) },
			what: `secrets of vault "kv1": access is denied: the identity has no role`, try: `grant the role "Key Vault Secrets User"`,
			command: role, object: "akvs team/api, team/db"},
		"a role for certificates": {plant: func(t *testing.T, b *bed) {
			b.resources = append(b.resources, resource("tls", "certificate"))
			b.Vaults.AddFault(emulated.Fault{Name: "tls", Status: 403, Code: "Forbidden", Inner: "ForbiddenByRbac"})
		}, what: `of vault "kv1": access is denied`, command: "az role assignment create --role \"Key Vault"},
		"an access policy": {plant: deny("ForbiddenByPolicy"), what: "the vault's access policies do not allow it", try: "add get on secrets",
			command: "az keyvault set-policy --name kv1 --object-id " + azuretest.AppObjectID + " --secret-permissions get"},
		"a firewall": {plant: func(_ *testing.T, b *bed) { b.Vaults.SetFirewall("kv1", true) }, what: "the vault's firewall denies this address",
			try: "allow the cluster's outbound address", command: "az keyvault network-rule add --name kv1 --ip-address 203.0.113.7"},
		"a private endpoint without its zone": {plant: func(_ *testing.T, b *bed) { b.Vaults.SetPrivateOnly("kv1", true) },
			what: "through its private endpoint alone", why: "resolves to the public address 20.1.2.3 here", try: "link the private DNS zone",
			command: "az network private-dns link vnet create"},
		"the private endpoint of another vault": {plant: func(_ *testing.T, b *bed) {
			b.Vaults.SetPrivateOnly("kv1", true)
			b.addresses["kv1.vault.azure.net"] = "10.0.0.4"
		}, what: "through its private endpoint alone", why: "private address 10.0.0.4: its private endpoint is not approved"},
		"a vault that does not exist": {plant: func(_ *testing.T, b *bed) { delete(b.addresses, "kv1.vault.azure.net") },
			what: "there is no such vault: the name kv1.vault.azure.net does not exist", try: "link the private DNS zone", command: "az keyvault list", object: "vault kv1"},
		"a DNS that does not answer": {plant: func(_ *testing.T, b *bed) { b.addresses = nil },
			what: "the DNS did not answer for kv1.vault.azure.net", try: "network policies", command: "k8s-app=kube-dns", object: "vault kv1"},
		"an object that is missing": {plant: func(_ *testing.T, b *bed) { b.resources = append(b.resources, resource("nope", "secret")) },
			what: `secret "nope" of vault "kv1": the vault has no such object`, try: "check name, version and type",
			command: `az keyvault secret list --vault-name kv1 --query "[].name" --output tsv`, object: "akvs team/nope"},
		"an object that was deleted": {plant: func(_ *testing.T, b *bed) { b.Vaults.DeleteSecret("kv1", "db") },
			what: `secret "db" of vault "kv1" was deleted, and can be recovered`, try: "recover it",
			command: "az keyvault secret recover --vault-name kv1 --name db", object: "akvs team/db"},
		"an object that is disabled": {plant: change(func(s *emulated.Secret) { s.Disabled = true }), what: "it is disabled", try: "enable this version",
			command: "az keyvault secret set-attributes --vault-name kv1 --name db --enabled true", object: "akvs team/db"},
		"an object that has expired": {plant: change(func(s *emulated.Secret) { s.Expires = time.Now().Add(-time.Hour) }), what: "expired on",
			try: "create a new version", command: "az keyvault secret set --vault-name kv1 --name db", severity: doctor.Warning},
		"an object that is not valid yet": {plant: change(func(s *emulated.Secret) { s.NotBefore = time.Now().Add(time.Hour) }), what: "is valid from",
			try: "activation date", command: "--not-before", severity: doctor.Warning},
		"a vault that rejects what is not valid yet": {plant: func(_ *testing.T, b *bed) {
			b.Vaults.AddFault(emulated.Fault{Name: "db", Status: 403, Code: "Forbidden", Inner: "SecretNotYetValid"})
		}, what: "it is not yet valid", command: "--not-before"},
		"another type": {plant: func(t *testing.T, b *bed) { b.resources = append(b.resources, resource("api", "key")) },
			what: "the vault has no key of this name, but a secret", try: "set the object's type to secret", command: "az keyvault secret show"},
		"content that is not JSON": {plant: func(t *testing.T, b *bed) {
			b.resources[0].JSON = json.RawMessage(strings.Replace(string(b.resources[0].JSON), `"type":"secret"`,
				`"type":"multi-key-value-secret","contentType":"application/x-json"`, 1))
		}, what: "JSON", object: "akvs team/db"},
		"a resource that is not valid": {plant: func(t *testing.T, b *bed) {
			b.resources[0].JSON = json.RawMessage(`{"spec":{"vault":{"name":"https://kv1"}}}`)
		}, what: "spec.vault.name", try: "use the vault's name alone", object: "akvs team/db"},
		"a vault of another namespace": {plant: func(t *testing.T, b *bed) {
			b.rules = rule.AccessRules{{Namespaces: []string{"team"}, Vaults: []string{"kv1"}}}
			b.resources[0].Namespace = "other"
		}, what: `namespace "other" is not allowed to read vault "kv1"`, try: "vaultRules", object: "akvs other/db"},
		"another tenant": {plant: func(_ *testing.T, b *bed) {
			b.Vaults.AddFault(emulated.Fault{RefuseTokens: true, Challenge: `Bearer authorization="https://login.microsoftonline.com/33333333-3333-4333-8333-333333333333", resource="https://vault.azure.net"`})
		}, what: "the vault belongs to tenant 33333333-3333-4333-8333-333333333333", try: "correct the tenant id", command: "properties.tenantId"},
		"a token that the vault rejects": {plant: func(_ *testing.T, b *bed) { b.Vaults.AddFault(emulated.Fault{RefuseTokens: true}) },
			what: "the vault does not accept the identity's token", try: "tenant", command: "az keyvault show --name kv1 --query properties.tenantId"},
		"a client secret that is wrong": {plant: func(_ *testing.T, b *bed) { b.environ["AZURE_CLIENT_SECRET"] = "wrong-4711" },
			what: "the client secret is wrong (AADSTS7000215)", command: "az ad app credential reset --append --id " + azuretest.AppClientID},
		"a client secret that expired": {plant: principal(func(p *entra.Principal) { p.RefusedWith = 7000222 }), what: "the client secret has expired",
			try: "create a new one", command: "az ad app credential reset"},
		"an application that does not exist": {plant: func(_ *testing.T, b *bed) { b.environ["AZURE_CLIENT_ID"] = "dddddddd-0000-4000-8000-00000000000f" },
			what: "the application does not exist in the tenant", command: "az ad app show --id dddddddd-0000-4000-8000-00000000000f"},
		"an application without a principal": {plant: principal(func(p *entra.Principal) { p.RefusedWith = 7000229 }), what: "no service principal", command: "az ad sp create --id dddddddd"},
		"a federated credential":             {plant: principal(func(p *entra.Principal) { p.RefusedWith = 700211 }), what: "issuer of the pod's token", command: "oidcIssuerProfile.issuerUrl"},
		"Conditional Access":                 {plant: principal(func(p *entra.Principal) { p.RefusedWith = 53003 }), what: "Conditional Access policy blocks", try: "exclude the identity"},
		// The SDK would repeat the request for longer than a user waits.
		"a metadata service with an error": {plant: func(_ *testing.T, b *bed) {
			b.Directory.Register(entra.Principal{Name: "node", ClientID: "dddddddd-0000-4000-8000-000000000002", ObjectID: azuretest.AppObjectID, ManagedIdentity: "user", MetadataStatus: 500})
			b.environ = map[string]string{"AZURE_CLIENT_ID": "dddddddd-0000-4000-8000-000000000002"}
		}, what: "the metadata service answered 500", try: "check the node", noCommand: true},
		"an identity that is not assigned": {plant: func(_ *testing.T, b *bed) {
			b.environ = map[string]string{"AZURE_CLIENT_ID": "dddddddd-0000-4000-8000-000000000003"}
		}, what: "the identity is not assigned to this node", try: "assign it", command: "az vmss identity assign"},
		"a tenant that does not exist": {plant: func(_ *testing.T, b *bed) { b.environ["AZURE_TENANT_ID"] = "33333333-3333-4333-8333-333333333333" },
			what: "the tenant does not exist", command: "az account show"},
		"a vault that is overloaded": {plant: func(_ *testing.T, b *bed) { b.Vaults.AddFault(emulated.Fault{Status: 503}) }, what: "the vault returned a server error (503 Service Unavailable)",
			try: "Azure's status page", object: "akvs team/api, team/db"},
		"a proxy that blocks": {plant: func(_ *testing.T, b *bed) {
			b.Vaults.AddFault(emulated.Fault{Status: 403, Body: "<html>blocked</html>", Header: map[string]string{"Content-Type": "text/html"}})
		}, what: "something between this pod and kv1.vault.azure.net blocked the request", try: "HTTPS_PROXY"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			c.plant(t, b)
			found := complaints(b.check(t))
			require.Len(t, found, 1, "%+v", found)
			f := found[0]
			assert.Contains(t, f.What, c.what)
			assert.Contains(t, f.Why, c.why)
			assert.Contains(t, f.Try, c.try)
			assert.Contains(t, f.Command, c.command)
			if c.noCommand {
				assert.Empty(t, f.Command)
			}
			if c.command == "" {
				assert.NotContains(t, f.Command, "role", "%+v", f)
			}
			if c.object != "" {
				assert.Equal(t, c.object, f.Object)
			}
			severity := c.severity
			if severity == "" {
				severity = doctor.Error
			}
			assert.Equal(t, severity, f.Severity)
			assert.NotEmpty(t, f.Category)
			assert.NotEmpty(t, f.Check)
			assert.NotContains(t, f.Command, "{")
		})
	}
}
