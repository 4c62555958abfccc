package credential_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

func environment(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { value, ok := values[name]; return value, ok }
}

func config(t *testing.T, a *azuretest.Azure) credential.Config {
	t.Helper()
	public, err := cloud.Parse("")
	require.NoError(t, err)
	return credential.Config{Mode: credential.CloudConfig, Cloud: public, Transport: a.Client, Lookup: environment(nil)}
}

func token(t *testing.T, c credential.Config) (string, error) {
	t.Helper()
	cred, err := credential.New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{c.Cloud.VaultScope}})
	return got.Token, err
}

func TestEachMethodGetsATokenForItsOwnIdentity(t *testing.T) {
	a := azuretest.Start(t)
	cases := map[string]struct {
		change func(*credential.Config)
		want   string
	}{
		"azure.json: user-assigned identity by client id": {func(c *credential.Config) {
			c.File = cloud.Config{UseManagedIdentity: true, UserAssignedIdentityID: azuretest.UserClientID}
		}, azuretest.UserObjectID},
		"azure.json: user-assigned identity by resource id": {func(c *credential.Config) {
			c.File = cloud.Config{UseManagedIdentity: true, UserAssignedIdentityID: azuretest.UserResourceID}
		}, azuretest.UserObjectID},
		"azure.json: system-assigned identity": {func(c *credential.Config) {
			c.File = cloud.Config{ClientID: "msi", ClientSecret: "msi"}
		}, azuretest.SystemObjectID},
		"azure.json: service principal": {func(c *credential.Config) {
			c.File = cloud.Config{TenantID: azuretest.Tenant, ClientID: azuretest.AppClientID, ClientSecret: a.AppSecret}
		}, azuretest.AppObjectID},
		"environment: client secret": {func(c *credential.Config) {
			c.Mode, c.Lookup = credential.Environment, environment(map[string]string{"AZURE_TENANT_ID": azuretest.Tenant,
				"AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": a.AppSecret})
		}, azuretest.AppObjectID},
		"environment: nothing set is the system-assigned identity": {func(c *credential.Config) { c.Mode = credential.Environment },
			azuretest.SystemObjectID},
		"environment: a client id alone is a user-assigned identity": {func(c *credential.Config) {
			c.Mode, c.Lookup = credential.Environment, environment(map[string]string{"AZURE_CLIENT_ID": azuretest.UserClientID})
		}, azuretest.UserObjectID},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conf := config(t, a)
			c.change(&conf)
			got, err := token(t, conf)
			require.NoError(t, err)
			objectID, err := a.Directory.Verify(got, "https://vault.azure.net")
			require.NoError(t, err)
			assert.Equal(t, c.want, objectID)
		})
	}
}

func TestConfigurationsThatCannotWorkNameWhatIsMissing(t *testing.T) {
	a := azuretest.Start(t)
	env := func(values map[string]string) func(*credential.Config) {
		return func(c *credential.Config) { c.Mode, c.Lookup = credential.Environment, environment(values) }
	}
	cases := map[string]struct {
		change func(*credential.Config)
		names  string
	}{
		"azure.json without an identity": {func(c *credential.Config) { c.File = cloud.Config{TenantID: "t"} }, "aadClientId, aadClientSecret are missing"},
		"tenant and client, no secret":   {env(map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}), "AZURE_CLIENT_SECRET is missing"},
		"a secret alone":                 {env(map[string]string{"AZURE_CLIENT_SECRET": "s"}), "AZURE_TENANT_ID, AZURE_CLIENT_ID are missing"},
		"a certificate":                  {env(map[string]string{"AZURE_CLIENT_CERTIFICATE_PATH": "/x"}), "AZURE_CLIENT_CERTIFICATE_PATH"},
		"an invalid tenant":              {env(map[string]string{"AZURE_TENANT_ID": "a/b", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"}), "tenant"},
		"the default chain":              {func(c *credential.Config) { c.Mode = credential.DefaultChain }, "environment-azidentity"},
		"an unknown mode":                {func(c *credential.Config) { c.Mode = "magic" }, "azureCloudConfig"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conf := config(t, a)
			c.change(&conf)
			_, err := credential.New(conf)
			assert.Equal(t, fault.Invalid, fault.KindOf(err))
			assert.ErrorContains(t, err, c.names)
		})
	}
}

func TestRefusalsAreClassifiedAndSayTheSameEachTime(t *testing.T) {
	a := azuretest.Start(t)
	const canary = "canary-31ab"
	app := func(tenant, client, secret string) cloud.Config {
		return cloud.Config{TenantID: tenant, ClientID: client, ClientSecret: secret}
	}
	cases := map[string]struct {
		file cloud.Config
		says string
	}{
		"a wrong secret":      {app(azuretest.Tenant, azuretest.AppClientID, canary), "AADSTS7000215"},
		"an unknown client":   {app(azuretest.Tenant, "dddddddd-0000-4000-8000-000000000001", canary), "AADSTS700016"},
		"an unknown identity": {cloud.Config{UseManagedIdentity: true, UserAssignedIdentityID: "dddddddd-0000-4000-8000-000000000002"}, "not assigned"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conf := config(t, a)
			conf.File = c.file
			_, first := token(t, conf)
			_, second := token(t, conf)
			assert.Equal(t, fault.Unauthenticated, fault.KindOf(first))
			require.ErrorContains(t, first, c.says)
			assert.Equal(t, first.Error(), second.Error(), "a status is written only when it changes")
			assert.NotContains(t, first.Error(), canary)
			var marker interface{ NonRetriable() }
			assert.True(t, errors.As(first, &marker), "azcore must not retry what the credential retried")
		})
	}
}

// silent is a network on which nobody answers.
type silent struct{}

func (silent) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }

func TestNoAnswerIsUnavailable(t *testing.T) {
	a := azuretest.Start(t)
	conf := config(t, a)
	conf.Transport = &http.Client{Transport: silent{}}
	conf.File = cloud.Config{TenantID: azuretest.Tenant, ClientID: azuretest.AppClientID, ClientSecret: a.AppSecret}
	_, err := token(t, conf)
	assert.Equal(t, fault.Unavailable, fault.KindOf(err))
}
