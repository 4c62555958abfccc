package cloud_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func TestParseKnowsEveryNameInAnyCase(t *testing.T) {
	cases := map[string]string{
		"": "vault.azure.net", "AzurePublicCloud": "vault.azure.net", "AzureCloud": "vault.azure.net", "azurepubliccloud": "vault.azure.net",
		"AzureUSGovernment": "vault.usgovcloudapi.net", "AZUREUSGOVERNMENTCLOUD": "vault.usgovcloudapi.net",
		"AzureChinaCloud": "vault.azure.cn",
	}
	for name, suffix := range cases {
		c, err := cloud.Parse(name)
		require.NoError(t, err, name)
		assert.Equal(t, suffix, c.VaultSuffix, name)
		assert.Equal(t, "https://"+suffix+"/.default", c.VaultScope, name)
	}
	_, err := cloud.Parse("AzureGermanCloud")
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.ErrorContains(t, err, "AzureChinaCloud", "the error lists what is known")
}

func TestACustomCloudIsReadFromItsFile(t *testing.T) {
	c, err := cloud.ParseCustom([]byte(`{"name":"x","activeDirectoryEndpoint":"https://login.private.example","keyVaultDNSSuffix":".Vault.private.example","other":1}`))
	require.NoError(t, err)
	assert.Equal(t, cloud.Cloud{Name: "AzureStackCloud", Authority: "https://login.private.example/", VaultSuffix: "vault.private.example",
		VaultScope: "https://vault.private.example/.default", IsPrivate: true}, c)
	c, err = cloud.ParseCustom([]byte(`{"activeDirectoryEndpoint":"https://a.b/adfs/","keyVaultDNSSuffix":"v.b","resourceIdentifiers":{"keyVault":"https://v.b/guid"}}`))
	require.NoError(t, err)
	assert.Equal(t, "https://v.b/guid/.default", c.VaultScope)
	assert.Equal(t, "https://a.b/adfs/", c.Authority)
	for text, names := range map[string]string{
		`[`: "is not JSON",
		`{"activeDirectoryEndpoint":"https://a.b"}`:                                                                    "keyVaultDNSSuffix",
		`{"activeDirectoryEndpoint":"https://a.b","keyVaultDNSSuffix":"org"}`:                                          "keyVaultDNSSuffix",
		`{"activeDirectoryEndpoint":"https://a.b","keyVaultDNSSuffix":"a.b/c"}`:                                        "keyVaultDNSSuffix",
		`{"activeDirectoryEndpoint":"http://a.b","keyVaultDNSSuffix":"v.b"}`:                                           "activeDirectoryEndpoint",
		`{"activeDirectoryEndpoint":"https://u:p@a.b","keyVaultDNSSuffix":"v.b"}`:                                      "activeDirectoryEndpoint",
		`{"activeDirectoryEndpoint":"https://","keyVaultDNSSuffix":"v.b"}`:                                             "activeDirectoryEndpoint",
		`{"activeDirectoryEndpoint":"https://a.b/?x=1","keyVaultDNSSuffix":"v.b"}`:                                     "activeDirectoryEndpoint",
		`{"activeDirectoryEndpoint":"https://a.b/#x","keyVaultDNSSuffix":"v.b"}`:                                       "activeDirectoryEndpoint",
		`{"activeDirectoryEndpoint":"https://a.b:port","keyVaultDNSSuffix":"v.b"}`:                                     "activeDirectoryEndpoint",
		`{"activeDirectoryEndpoint":"https://a.b","keyVaultDNSSuffix":"v.b","resourceIdentifiers":{"keyVault":"v.b"}}`: "resourceIdentifiers.keyVault",
	} {
		_, err := cloud.ParseCustom([]byte(text))
		assert.Equal(t, fault.Invalid, fault.KindOf(err), text)
		assert.ErrorContains(t, err, names)
	}
	assert.True(t, cloud.IsCustom(" azurestackcloud"))
	assert.False(t, cloud.IsCustom(""))
}

func TestAFileOfACustomCloudIsReadUpToItsBound(t *testing.T) {
	const file = `{"activeDirectoryEndpoint":"https://a.b","keyVaultDNSSuffix":"v.b"}`
	_, err := cloud.ParseCustom([]byte(file + strings.Repeat(" ", limits.CloudConfigBytes-len(file))))
	require.NoError(t, err)
	_, err = cloud.ParseCustom([]byte(file + strings.Repeat(" ", limits.CloudConfigBytes-len(file)+1)))
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.ErrorContains(t, err, limits.Bytes(limits.CloudConfigBytes))
	_, err = cloud.ParseAzureJSON([]byte("{}" + strings.Repeat(" ", limits.CloudConfigBytes-2)))
	require.NoError(t, err)
	_, err = cloud.ParseAzureJSON([]byte("{}" + strings.Repeat(" ", limits.CloudConfigBytes-1)))
	assert.ErrorContains(t, err, "bytes, more than")
}

func TestVaultURLNeverLeavesTheCloud(t *testing.T) {
	c, err := cloud.Parse("")
	require.NoError(t, err)
	url, err := c.VaultURL("My-Vault1")
	require.NoError(t, err)
	assert.Equal(t, "https://my-vault1.vault.azure.net", url)
	for _, bad := range []string{"", "ab", "a.b.c", "evil.com/", "kv/../x", "kv#", "kv?x", "kv:443", "user@kv", "1kv", "kv-", "k--v", "kvä",
		"abcdefghijklmnopqrstuvwxy", "kv\nx", "kv x"} {
		_, err := c.VaultURL(bad)
		assert.Equal(t, fault.Invalid, fault.KindOf(err), "%q", bad)
	}
}

func TestParseConfig(t *testing.T) {
	cases := map[string]struct {
		text    string
		want    cloud.AzureJSON
		managed bool
	}{
		"a service principal": {
			`{"cloud":"AzurePublicCloud","tenantId":"t","aadClientId":"c","aadClientSecret":"s","extra":{"a":1}}`,
			cloud.AzureJSON{Cloud: "AzurePublicCloud", TenantID: "t", ClientID: "c", ClientSecret: "s"}, false},
		"a managed identity by flag": {
			`{"tenantId":"t","useManagedIdentityExtension":true,"userAssignedIdentityID":"u"}`,
			cloud.AzureJSON{TenantID: "t", UseManagedIdentity: true, UserAssignedIdentityID: "u"}, true},
		"a managed identity by AKS's marker": {`{"aadClientId":"msi","aadClientSecret":"msi"}`,
			cloud.AzureJSON{ClientID: "msi", ClientSecret: "msi"}, true},
		"YAML": {"tenantId: t\naadClientId: c\n", cloud.AzureJSON{TenantID: "t", ClientID: "c"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := cloud.ParseAzureJSON([]byte(c.text))
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
			assert.Equal(t, c.managed, got.HasManagedIdentity())
		})
	}
}

// TestFilesAsNodesHaveThem reads files as AKS and users write them, with all their other fields.
func TestFilesAsNodesHaveThem(t *testing.T) {
	const tenant, app, identity = "11111111-1111-4111-8111-111111111111", "44444444-4444-4444-8444-444444444444", "22222222-2222-4222-8222-222222222222"
	want := map[string]struct {
		config  cloud.AzureJSON
		managed bool
		suffix  string
	}{
		"aks-system-assigned.json": {cloud.AzureJSON{Cloud: "AzurePublicCloud", TenantID: tenant, ClientID: "msi", ClientSecret: "msi", UseManagedIdentity: true}, true, "vault.azure.net"},
		"aks-user-assigned.json": {cloud.AzureJSON{Cloud: "AzurePublicCloud", TenantID: tenant, ClientID: "msi", ClientSecret: "msi", UseManagedIdentity: true,
			UserAssignedIdentityID: identity}, true, "vault.azure.net"},
		"aks-service-principal.json": {cloud.AzureJSON{Cloud: "AzurePublicCloud", TenantID: tenant, ClientID: app, ClientSecret: "made-up-for-this-file"}, false, "vault.azure.net"},
		"msi-as-secret-alone.json":   {cloud.AzureJSON{Cloud: "AzurePublicCloud", TenantID: tenant, ClientID: "msi", ClientSecret: "msi"}, true, "vault.azure.net"},
		"certificate.json":           {cloud.AzureJSON{Cloud: "AzurePublicCloud", TenantID: tenant, ClientID: app, ClientCertPath: "/etc/kubernetes/certs/client.pfx"}, false, "vault.azure.net"},
		"certificate-with-password.json": {cloud.AzureJSON{Cloud: "AzurePublicCloud", TenantID: tenant, ClientID: app, ClientCertPath: "/etc/kubernetes/certs/client.pfx",
			ClientCertPassword: "made-up-too"}, false, "vault.azure.net"},
		"us-government.json": {cloud.AzureJSON{Cloud: "AzureUSGovernmentCloud", TenantID: tenant, ClientID: "msi", ClientSecret: "msi", UseManagedIdentity: true,
			UserAssignedIdentityID: identity}, true, "vault.usgovcloudapi.net"},
		"by-hand.yaml": {cloud.AzureJSON{Cloud: "AzureChinaCloud", TenantID: tenant, ClientID: app, ClientSecret: "made-up-for-this-file"}, false, "vault.azure.cn"},
	}
	files, err := os.ReadDir("testdata")
	require.NoError(t, err)
	require.Len(t, files, len(want), "each file has an expectation")
	for _, file := range files {
		t.Run(file.Name(), func(t *testing.T) {
			content, err := os.ReadFile("testdata/" + file.Name())
			require.NoError(t, err)
			got, err := cloud.ParseAzureJSON(content)
			require.NoError(t, err)
			expected, ok := want[file.Name()]
			require.True(t, ok)
			assert.Equal(t, expected.config, got)
			assert.Equal(t, expected.managed, got.HasManagedIdentity())
			c, err := cloud.Parse(got.Cloud)
			require.NoError(t, err)
			assert.Equal(t, expected.suffix, c.VaultSuffix)
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v", got, got, got), "made-up")
		})
	}
}

func TestParseConfigNeverQuotesTheFile(t *testing.T) {
	const canary = "canary-8d2e"
	for _, text := range []string{`{"aadClientSecret": ["` + canary + `"]}`, "{\"aadClientSecret\": \"" + canary, "\t" + canary + ": [",
		`{"useManagedIdentityExtension": "` + canary + `"}`, string(make([]byte, 1<<21)) + canary} {
		_, err := cloud.ParseAzureJSON([]byte(text))
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
		assert.NotContains(t, err.Error(), canary)
	}
	c := cloud.AzureJSON{ClientSecret: canary}
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v %s", c, c, c, c), canary)
}

func TestEachCloudHasItsRegistries(t *testing.T) {
	for name, suffix := range map[string]string{"": "azurecr.io", "AzureUSGovernment": "azurecr.us", "AzureChinaCloud": "azurecr.cn"} {
		c, err := cloud.Parse(name)
		require.NoError(t, err)
		assert.Equal(t, suffix, c.RegistrySuffix)
	}
	file := `{"activeDirectoryEndpoint":"https://login.private.example","keyVaultDNSSuffix":"vault.private.example","containerRegistryDNSSuffix":"%s"}`
	for suffix, want := range map[string]string{"": "", ".Registry.private.example": "registry.private.example"} {
		c, err := cloud.ParseCustom([]byte(fmt.Sprintf(file, suffix)))
		require.NoError(t, err)
		assert.Equal(t, want, c.RegistrySuffix)
		back, err := cloud.ParseSetting(c.FormatSetting())
		require.NoError(t, err)
		assert.Equal(t, c, back)
	}
	_, err := cloud.ParseCustom([]byte(fmt.Sprintf(file, "example/x")))
	assert.ErrorContains(t, err, "containerRegistryDNSSuffix")
}

func TestACloudTravelsAsASetting(t *testing.T) {
	for _, name := range []string{"AzurePublicCloud", "AzureUSGovernmentCloud", "AzureChinaCloud"} {
		c, err := cloud.Parse(name)
		require.NoError(t, err)
		assert.Equal(t, name, c.FormatSetting())
		back, err := cloud.ParseSetting(c.FormatSetting())
		require.NoError(t, err)
		assert.Equal(t, c, back)
	}
	private, err := cloud.ParseCustom([]byte(`{"activeDirectoryEndpoint":"https://login.private.example/adfs","keyVaultDNSSuffix":"vault.private.example",
		"resourceIdentifiers":{"keyVault":"https://audience.private.example"}}`))
	require.NoError(t, err)
	back, err := cloud.ParseSetting(private.FormatSetting())
	require.NoError(t, err)
	assert.Equal(t, private, back)
	for _, text := range []string{"{", "{}", "Nowhere"} {
		_, err := cloud.ParseSetting(text)
		assert.Equal(t, fault.Invalid, fault.KindOf(err), text)
	}
}
