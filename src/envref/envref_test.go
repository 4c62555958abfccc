package envref_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func TestParseValidReferences(t *testing.T) {
	cases := map[string]envref.Reference{
		"db@azurekeyvault":                          {Name: "db"},
		"db@azurekeyvault?":                         {Name: "db"},
		"db-1@azurekeyvault?tls.crt":                {Name: "db-1", Query: "tls.crt"},
		"Upper@azurekeyvault?_x.y":                  {Name: "Upper", Query: "_x.y"},
		"team.db@azurekeyvault?my-key":              {Name: "team.db", Query: "my-key"},
		"db@azurekeyvault?1st":                      {Name: "db", Query: "1st"},
		strings.Repeat("a", 253) + "@azurekeyvault": {Name: strings.Repeat("a", 253)},
	}
	for text, want := range cases {
		got, err := envref.Parse(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		again, err := envref.Parse(got.String())
		require.NoError(t, err)
		assert.Equal(t, got, again, "printing and parsing keep the reference")
		assert.True(t, envref.IsIntendedReference(text), text)
	}
}

// TestBlanksAndInvisibleCharactersAroundAReferenceDontCount has the characters that echo, Windows editors and web pages
// leave in a ConfigMap.
func TestBlanksAndInvisibleCharactersAroundAReferenceDontCount(t *testing.T) {
	for _, text := range []string{"db@azurekeyvault?x\n", "db@azurekeyvault?x\r\n", " \tdb@azurekeyvault?x  ", "\ufeffdb@azurekeyvault?x", "\u200bdb@azurekeyvault?x\u2060", "\u00a0db@azurekeyvault?x\u00a0",
		strings.Repeat("\n", 1000) + "db@azurekeyvault?x" + strings.Repeat(" ", 1000)} {
		got, err := envref.Parse(text)
		require.NoError(t, err, "%q", text)
		assert.Equal(t, envref.Reference{Name: "db", Query: "x"}, got)
		assert.True(t, envref.IsIntendedReference(text), "%q", text)
	}
}

func TestParseRefusesWhatIsMeantButWrong(t *testing.T) {
	for _, text := range []string{"@azurekeyvault", "-db@azurekeyvault", "db-@azurekeyvault", "a b@azurekeyvault", "db@azurekeyvault?a b",
		"db@azurekeyvault?a=b", "ns/db@azurekeyvault", "db@azurekeyvault?x@azurekeyvault", "a..b@azurekeyvault", `"db@azurekeyvault"`, "'db@azurekeyvault?x'\n", "`db@azurekeyvault`",
		"db@AzureKeyVault", "DB@AZUREKEYVAULT?x", "db@azure\u200bkeyvault", "d\ufeffb@azurekeyvault", "db @azurekeyvault\r\n", "db@azurekeyvault?x\ny",
		"db\n@azurekeyvault", strings.Repeat("a", 254) + "@azurekeyvault", strings.Repeat("a.", 2000) + "a@azurekeyvault?x"} {
		_, err := envref.Parse(text)
		assert.Equal(t, fault.Invalid, fault.KindOf(err), "%q", text)
		assert.True(t, envref.IsIntendedReference(text), "%q", text)
	}
	_, err := envref.Parse("canary-77@x@azurekeyvault")
	assert.NotContains(t, err.Error(), "canary-77", "the value may be a secret")
}

func TestMeantLeavesOtherTextsAlone(t *testing.T) {
	for text, mentioned := range map[string]bool{
		"": false, "plain": false, "user@example.com": false, "db@azurekeyvaults": true, "see x@azurekeyvault for more": true,
		"postgres://user:pw@azurekeyvault/db": true, "postgres://user:pw@AzureKeyVault/db": true, "db@azure-keyvault": true, "db@Azure_Key_Vault?x": true, "\"db@azurekeyvalut\"\n": true, "db@keyvault": true,
		"db@azkeyvault": true, "db@azurekeyvault,": true, "db@azurekeyvault/x": true, "db@azurekeyvault!": true,
		"me@keycloak": false, "a@azure": false, "x@azurewebsites.net": false, "user@vault": false, "https://kv.vault.azure.net": false, "@": false, "azurekeyvault": false, "a b@keyvault": false,
	} {
		assert.False(t, envref.IsIntendedReference(text), text)
		assert.Equal(t, mentioned, envref.NeedsWarning(text), text)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"db@azurekeyvault", "db@azurekeyvault?x", "@azurekeyvault?", "a.b-c@azurekeyvault?-._"} {
		f.Add(seed)
	}
	for _, seed := range []string{"\ufeffdb@azurekeyvault\r\n", "db@AzureKeyVault", "'db@azurekeyvault'", "db@azure-keyvault", "canary-77 @azurekeyvault", "a/b@azurekeyvault", "a@azurekeyvault?b c", "a@azurekeyvault\x00", "a@azurekeyvault?x@azurekeyvault", "\xff@azurekeyvault", "..@azurekeyvault?"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var ref envref.Reference
		var err error
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 100}, len(text), func() {
			ref, err = envref.Parse(text)
			envref.NeedsWarning(text)
		})
		if err != nil {
			if _, always := envref.Parse("@azurekeyvault"); fault.KindOf(err) != fault.Invalid || err.Error() != always.Error() {
				t.Fatalf("%q is refused by %v: of another kind, or with something of the value in it", text, err)
			}
			return
		}
		if !envref.IsIntendedReference(text) {
			t.Fatalf("%q parses but is not meant", text)
		}
		again, err := envref.Parse(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q does not survive printing", text)
		}
	})
}
