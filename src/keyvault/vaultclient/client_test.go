package vaultclient

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// configOf returns a configuration with these environment variables. Its azure.json has the China cloud and the tenant
// of-the-file.
func configOf(t *testing.T, environ map[string]string) Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "azure.json")
	content := `{"cloud":"AzureChinaCloud","tenantId":"of-the-file"}`
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	return Config{AuthType: "azureCloudConfig", CloudConfigFile: file, LookupEnv: func(name string) (string, bool) {
		value, ok := environ[name]
		return value, ok
	}}
}

func TestTheCloudIsThatOfTheEnvironmentElseOfTheConfigurationElseOfAzureJSON(t *testing.T) {
	government, err := cloud.Parse("AzureUSGovernmentCloud")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		environ map[string]string
		edit    func(*Config)
		want    string
	}{
		"azure.json": {nil, func(*Config) {}, "AzureChinaCloud"},
		"the configuration before azure.json": {nil, func(c *Config) { c.Cloud = government.FormatSetting() },
			"AzureUSGovernmentCloud"},
		"the environment before both": {map[string]string{"AZURE_ENVIRONMENT": "AzurePublicCloud"},
			func(c *Config) { c.Cloud = government.FormatSetting() }, "AzurePublicCloud"},
		"not an azure.json that is not used": {nil, func(c *Config) { c.AuthType = "environment" }, "AzurePublicCloud"},
		"not an azure.json that is missing":  {nil, func(c *Config) { c.CloudConfigFile = "missing" }, "AzurePublicCloud"},
	} {
		t.Run(name, func(t *testing.T) {
			config := configOf(t, c.environ)
			c.edit(&config)
			got, err := config.selectCloud()
			require.NoError(t, err)
			want, err := cloud.Parse(c.want)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

func TestACustomCloudNeedsItsFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for name, environ := range map[string]map[string]string{
		"that is not named": {"AZURE_ENVIRONMENT": cloud.CustomCloudName},
		"that is not there": {"AZURE_ENVIRONMENT": cloud.CustomCloudName, "AZURE_ENVIRONMENT_FILEPATH": missing},
	} {
		_, err := configOf(t, environ).selectCloud()
		assert.Equal(t, fault.Invalid, fault.KindOf(err), name)
		assert.ErrorContains(t, err, "global.customCloud", name)
		if _, named := environ["AZURE_ENVIRONMENT_FILEPATH"]; !named {
			assert.ErrorContains(t, err, "AZURE_ENVIRONMENT_FILEPATH is missing")
		}
	}
}

func TestTheTenantIsThatOfTheEnvironmentElseOfAzureJSON(t *testing.T) {
	assert.Equal(t, "of-the-file", configOf(t, nil).tenantID())
	assert.Equal(t, "of-the-environment", configOf(t, map[string]string{"AZURE_TENANT_ID": "of-the-environment"}).tenantID())
	unused := configOf(t, nil)
	unused.AuthType = "environment"
	assert.Empty(t, unused.tenantID(), "an azure.json that is not used")
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	damaged := configOf(t, nil)
	require.NoError(t, os.WriteFile(damaged.CloudConfigFile, []byte("{"), 0o600))
	_, err := New(damaged)
	require.Error(t, err)
	assert.Empty(t, damaged.tenantID())

	whole := configOf(t, map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID,
		"AZURE_CLIENT_SECRET": "secret"})
	whole.AuthType, whole.CacheTTL = "environment", time.Minute
	_, err = New(whole)
	require.NoError(t, err)
	for name, edit := range map[string]func(*Config){
		"an authority that would be missed later": func(c *Config) { c.ExtraCAs = []byte("no PEM") },
		"a way to prove itself that is not known": func(c *Config) { c.AuthType = "unknown" },
		"a cloud that is not known":               func(c *Config) { c.Cloud = "unknown" },
		"limits below zero":                       func(c *Config) { c.RateLimits.Vault = -1 },
	} {
		part := whole
		edit(&part)
		_, err := New(part)
		assert.Error(t, err, name)
	}
}

func TestExtraCAsAreReadWhereThereAreSome(t *testing.T) {
	content, err := ReadExtraCAs("")
	require.NoError(t, err)
	assert.Empty(t, content)
	file := filepath.Join(t.TempDir(), "ca.crt")
	_, err = ReadExtraCAs(file)
	require.ErrorContains(t, err, "global.extraCACertificates")
	require.NoError(t, os.WriteFile(file, []byte("authorities"), 0o600))
	content, err = ReadExtraCAs(file)
	require.NoError(t, err)
	assert.Equal(t, "authorities", string(content))
}

func TestWhoAsksForChangesIsTold(t *testing.T) {
	var told []keyvault.Ref
	g, ref := &Client{}, keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: "db"}
	g.notifyChange(ref) // without a function
	g.OnChange(func(ref keyvault.Ref) { told = append(told, ref) })
	g.notifyChange(ref)
	assert.Equal(t, []keyvault.Ref{ref}, told)
}

func TestWhatAVaultAnswersDecidesAboutTheNextCall(t *testing.T) {
	pace, err := Config{}.newRateLimiter()
	require.NoError(t, err)
	sent := 0
	transport := rateLimitedTransport{wire(func(*http.Request) (*http.Response, error) {
		sent++
		return &http.Response{StatusCode: http.StatusTooManyRequests, Body: http.NoBody,
			Header: http.Header{"Retry-After": {"60"}}}, nil
	}), pace}
	get := func(vault string) error {
		address := "https://" + vault + ".vault.azure.net/secrets/a"
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
		require.NoError(t, err)
		response, err := transport.Do(request)
		if err == nil {
			require.NoError(t, response.Body.Close())
		}
		return err
	}
	require.NoError(t, get("kv1"))
	err = get("KV1")
	assert.True(t, ratelimit.IsDeferred(err), err)
	assert.Greater(t, fault.RetryAfter(err), 50*time.Second)
	var final interface{ NonRetriable() }
	assert.ErrorAs(t, err, &final, "the SDK tries it again otherwise")
	assert.Equal(t, 1, sent)
	assert.NoError(t, get("kv2"), "another vault asked for nothing")
}
