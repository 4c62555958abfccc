package cloud_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

const bom = "\xef\xbb\xbf"

func TestAzureJSONIsReadAsTheKubeletReadsIt(t *testing.T) {
	want := cloud.AzureJSON{TenantID: "t", ClientID: "c", UserAssignedIdentityID: "u", UseManagedIdentity: true}
	for name, file := range map[string]string{
		"as AKS writes it":                 `{"tenantId":"t","aadClientId":"c","userAssignedIdentityID":"u","useManagedIdentityExtension":true}`,
		"in other letter case":             `{"tenantID":"t","AADClientID":"c","userAssignedIdentityId":"u","UseManagedIdentityExtension":true}`,
		"a field twice, the last wins":     `{"tenantId":"x","tenantId":"t","aadClientId":"c","userAssignedIdentityID":"u","useManagedIdentityExtension":false,"useManagedIdentityExtension":true}`,
		"twice in different case":          `{"tenantId":"x","TENANTID":"t","aadClientId":"c","userAssignedIdentityID":"x","userassignedidentityid":"u","useManagedIdentityExtension":true}`,
		"a null changes nothing":           `{"tenantId":"t","tenantId":null,"aadClientId":"c","userAssignedIdentityID":"u","useManagedIdentityExtension":true,"useManagedIdentityExtension":null}`,
		"escapes of JSON":                  `{"tenant\u0049d":"\u0074","aadClientId":"\u0063","userAssignedIdentityID":"u","useManagedIdentityExtension":true,"x":"\ud83d\ude00\/"}`,
		"with a byte-order mark":           bom + `{"tenantId":"t","aadClientId":"c","userAssignedIdentityID":"u","useManagedIdentityExtension":true}`,
		"newlines at the end of ids":       `{"tenantId":"t\n","aadClientId":" c","userAssignedIdentityID":"u\r\n","useManagedIdentityExtension":true}`,
		"a boolean in quotes":              `{"tenantId":"t","aadClientId":"c","userAssignedIdentityID":"u","useManagedIdentityExtension":"True"}`,
		"fields of others":                 `{"tenantId":"t","aadClientId":"c","userAssignedIdentityID":"u","useManagedIdentityExtension":true,"rateLimit":{"a":[1,null]},"subnet":[]}`,
		"tabs and blanks":                  "\t\n {\t\"tenantId\":\"t\",\t\"aadClientId\":\"c\",\"userAssignedIdentityID\":\"u\",\"useManagedIdentityExtension\":true}\r\n",
		"as YAML":                          "tenantId: t\naadClientId: c\nuserAssignedIdentityID: u\nuseManagedIdentityExtension: true\n",
		"as YAML in other letter case":     "tenantID: t\nAADCLIENTID: 'c'\nuserAssignedIdentityId: \"u\"\nUseManagedIdentityExtension: yes\n",
		"as YAML with a byte-order mark":   bom + "tenantId: t\r\naadClientId: c\r\nuserAssignedIdentityID: u\r\nuseManagedIdentityExtension: on\r\n",
		"as YAML, twice":                   "tenantId: x\ntenantId: t\naadClientId: c\nuserAssignedIdentityID: u\nuseManagedIdentityExtension: true\n",
		"as YAML with an alias":            "x: &a t\ntenantId: *a\naadClientId: c\nuserAssignedIdentityID: u\nuseManagedIdentityExtension: 'true'\n",
		"as YAML with nulls and others":    "tenantId: t\ntenantId: ~\naadClientId: c\nuserAssignedIdentityID: u\nuseManagedIdentityExtension: true\nother: {a: [b]}\n",
		"as a flow mapping without quotes": "{tenantId: t, aadClientId: c, userAssignedIdentityID: u, useManagedIdentityExtension: true}",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := cloud.ParseAzureJSON([]byte(file))
			require.NoError(t, err)
			assert.Equal(t, want, got)
			assert.True(t, got.HasManagedIdentity())
		})
	}
	got, err := cloud.ParseAzureJSON([]byte("aadClientSecret: 0123456\naadClientId: 1e5\ntenantId: 1.10\n"))
	require.NoError(t, err)
	assert.Equal(t, cloud.AzureJSON{ClientSecret: "0123456", ClientID: "1e5", TenantID: "1.10"}, got, "digits stay as they are written")
	got, err = cloud.ParseAzureJSON([]byte(`{"aadClientSecret":"a\\b\ud83d\ude00 \n"}`))
	require.NoError(t, err)
	assert.Equal(t, "a\\b\U0001F600 \n", got.ClientSecret, "a secret is as it is, to its last byte")
	assert.False(t, got.HasManagedIdentity())
	for _, empty := range []string{"", "null", "{}", "# nothing\n", "~\n"} {
		got, err = cloud.ParseAzureJSON([]byte(empty))
		require.NoError(t, err, "%q", empty)
		assert.Equal(t, cloud.AzureJSON{}, got)
	}
}

func TestAzureJSONThatCannotBeReadIsNotQuoted(t *testing.T) {
	const canary = "canary-5e1f"
	for name, file := range map[string]string{
		"neither":                   "[" + canary,
		"a list":                    `["` + canary + `"]`,
		"a text":                    `"` + canary + `"`,
		"a number as flag":          `{"useManagedIdentityExtension":"` + canary + `"}`,
		"an object as secret":       `{"aadClientSecret":{"x":"` + canary + `"}}`,
		"a list as secret, as YAML": "aadClientSecret:\n- " + canary + "\n",
		"a list, as YAML":           "- " + canary + "\n",
		"a text, as YAML":           canary + "\n",
		"a list that says null":     "!!null [" + canary + "]\n",
		"too long":                  strings.Repeat("#"+canary+"\n", limits.CloudConfigBytes/10),
	} {
		_, err := cloud.ParseAzureJSON([]byte(file))
		assert.Equal(t, fault.Invalid, fault.KindOf(err), name)
		assert.NotEmpty(t, fault.NextStepOf(err), name)
		assert.NotContains(t, err.Error(), canary, name)
	}
}

func FuzzAzureJSON(f *testing.F) {
	for _, file := range []string{`{"tenantId":"t","useManagedIdentityExtension":true}`, "tenantId: t\n", bom + "{}", "a: &a [*a]\n", "{{{{[[[[", "%YAML 1.1\n---\n", "? a\n: b\n"} {
		f.Add([]byte(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 16<<10 {
			return // too long for fuzzing
		}
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 2000}, len(file), func() {
			if _, err := cloud.ParseAzureJSON(file); err != nil && (fault.KindOf(err) != fault.Invalid || len(err.Error()) > 500) {
				t.Errorf("an error of another kind, or one that quotes the file: %v", err)
			}
		})
	})
}

func FuzzCustomCloud(f *testing.F) {
	f.Add([]byte(`{"activeDirectoryEndpoint":"https://login.example.org/","keyVaultDNSSuffix":"vault.example.org"}`))
	f.Add([]byte(bom + `{"keyVaultDNSSuffix":".","resourceIdentifiers":{"keyVault":"https://x"}}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 16<<10 {
			return // too long for fuzzing
		}
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 400}, len(file), func() {
			c, err := cloud.ParseCustom(file)
			if err != nil {
				if len(err.Error()) > 800 {
					t.Errorf("the error quotes the file: %d bytes", len(err.Error()))
				}
				return
			}
			if !strings.HasPrefix(c.Authority, "https://") || !strings.Contains(c.VaultSuffix, ".") || strings.ContainsAny(c.VaultSuffix, "/:@ ") {
				t.Errorf("%+v", c)
			}
		})
	})
}
