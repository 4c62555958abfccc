//go:build cluster

package authprocesses

import (
	"fmt"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// refusal is what a program says of credentials that can't work.
type refusal struct {
	env  map[string]string
	code int
	says []string
}

// other is a principal of its own, by number.
func other(n int, change func(*entra.Principal)) entra.Principal {
	p := entra.Principal{Name: "other-" + strconv.Itoa(n), ClientID: fmt.Sprintf("d%07d-0000-4000-8000-000000000001", n),
		ObjectID: fmt.Sprintf("d%07d-0000-4000-8000-000000000002", n), Secret: "of-the-other-" + strconv.Itoa(n), Username: user, Password: userPassword}
	change(&p)
	return p
}

// refusals runs each failing method: one sentence with the method, what is wrong, Azure's answer and the next step; no
// value of a credential.
func (b *bench) refusals(t *testing.T) {
	noConsent, secondFactor, expired := other(1, func(p *entra.Principal) { p.RefusedWith = 65001 }), other(2, func(p *entra.Principal) { p.RefusedWith = 50076 }),
		other(3, func(p *entra.Principal) { p.RefusedWith = 7000222 })
	as := func(p entra.Principal, more ...string) map[string]string {
		env := map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": p.ClientID}
		for i := 0; i < len(more); i += 2 {
			env[more[i]] = more[i+1]
		}
		return env
	}
	seed := emulator.Seed{Principals: []entra.Principal{noConsent, secondFactor, expired}}
	const wrong = "canary-of-a-wrong-secret"
	cases := map[string]refusal{
		"incomplete: no client id": {map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_SECRET": wrong}, 64, []string{"incomplete", "AZURE_CLIENT_ID"}},
		"incomplete: no secret":    {map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}, 64, []string{"incomplete", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"}},
		"incomplete: no password":  {with(map[string]string{"AZURE_USERNAME": user}), 64, []string{"incomplete", "AZURE_PASSWORD"}},
		"no such method":           {map[string]string{wire.EnvAuthType: "kerberos"}, 64, []string{"kerberos", "environment"}},
		"no such cloud":            {with(map[string]string{"AZURE_CLIENT_SECRET": wrong, "AZURE_ENVIRONMENT": "AzureMoon"}), 64, []string{"AzureMoon", "AzureUSGovernmentCloud"}},
		"a secret of the vault":    {with(map[string]string{"AZURE_CLIENT_SECRET": "db@azurekeyvault"}), 64, []string{"AZURE_CLIENT_SECRET refers to Key Vault", "Kubernetes Secret"}},
		"no azure.json":            {map[string]string{wire.EnvAuthType: "azureCloudConfig"}, 64, []string{"azure.json", "environment"}},
		"no certificate":           {with(map[string]string{"AZURE_CERTIFICATE_PATH": "/no/such.pfx"}), 64, []string{"/no/such.pfx", "AZURE_CERTIFICATE_PATH"}},
		"the password of a PFX":    {with(map[string]string{"AZURE_CERTIFICATE_PATH": b.path("app.pfx"), "AZURE_CERTIFICATE_PASSWORD": wrong}), 64, []string{"the password of the private key in the certificate file is wrong", "AZURE_CERTIFICATE_PASSWORD"}},
		"an expired certificate":   {with(map[string]string{"AZURE_CERTIFICATE_PATH": b.path("expired.pfx"), "AZURE_CERTIFICATE_PASSWORD": password}), 77, []string{"AADSTS700027", "expired", "renew"}},
		"a wrong secret":           {with(map[string]string{"AZURE_CLIENT_SECRET": wrong}), 77, []string{"AADSTS7000215", "AZURE_CLIENT_SECRET", azuretest.AppClientID, "use the secret's value"}},
		"an expired secret":        {as(expired, "AZURE_CLIENT_SECRET", expired.Secret), 77, []string{"AADSTS7000222", "create a new one"}},
		"a wrong user's password":  {with(map[string]string{"AZURE_USERNAME": user, "AZURE_PASSWORD": wrong}), 77, []string{"AADSTS50126", "AZURE_PASSWORD"}},
		"a second factor":          {as(secondFactor, "AZURE_USERNAME", user, "AZURE_PASSWORD", userPassword), 77, []string{"AADSTS50076", "second factor"}},
		"consent is missing":       {as(noConsent, "AZURE_USERNAME", user, "AZURE_PASSWORD", userPassword), 77, []string{"AADSTS65001", "consent"}},
		"an unknown tenant":        {map[string]string{"AZURE_TENANT_ID": "99999999-9999-4999-8999-999999999999", "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": wrong}, 77, []string{"the vault belongs to tenant " + azuretest.Tenant, "correct the tenant id"}},
		"an unknown application":   {map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": "99999999-9999-4999-8999-999999999999", "AZURE_CLIENT_SECRET": wrong}, 77, []string{"AADSTS700016", "client id"}},
		"a clock that is behind":   {with(map[string]string{"AZURE_FEDERATED_TOKEN_FILE": b.path("early-token")}), 77, []string{"AADSTS700024", "clock"}},
		"a token that is late":     {with(map[string]string{"AZURE_FEDERATED_TOKEN_FILE": b.path("late-token")}), 77, []string{"AADSTS700024"}},
		"a token of somebody else": {with(map[string]string{"AZURE_FEDERATED_TOKEN_FILE": b.path("foreign-token")}), 77, []string{"AADSTS700213", "federated credential"}},
		"a binding without CA":     {with(map[string]string{"AZURE_FEDERATED_TOKEN_FILE": b.path("bound-token"), "AZURE_KUBERNETES_TOKEN_PROXY": "https://x", "AZURE_KUBERNETES_CA_FILE": "/no/such"}), 64, []string{"identity binding", "AZURE_KUBERNETES_TOKEN_PROXY"}},
		"no federated token":       {with(map[string]string{"AZURE_FEDERATED_TOKEN_FILE": "/no/such/token"}), 77, []string{"/no/such/token", "azure.workload.identity/use"}},
	}
	for n, status := range []int{400, 404, 410, 429, 500} {
		p := other(10+n, func(p *entra.Principal) { p.ManagedIdentity, p.Secret, p.MetadataStatus = "user", "", status })
		seed.Principals = append(seed.Principals, p)
		code := map[int]int{400: 77}[status]
		if code == 0 {
			code = 75
		}
		cases["the metadata service answers "+strconv.Itoa(status)] = refusal{map[string]string{"AZURE_CLIENT_ID": p.ClientID}, code, []string{strconv.Itoa(status), p.ClientID, "node"}}
	}
	require.NoError(t, b.azure.ApplySeed(seed))
	b.namespace(t, "refusals", false)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			started := time.Now()
			env := map[string]string{wire.EnvCloud: "AzurePublicCloud"}
			maps.Copy(env, c.env)
			code, out := b.inject(t, "refusals", env, "")
			assert.Equal(t, c.code, code, out)
			for _, word := range c.says {
				assert.Contains(t, out, word)
			}
			assert.NotContains(t, out, wrong)
			t.Logf("after %.1fs: %s", time.Since(started).Seconds(), out)
		})
	}
}
