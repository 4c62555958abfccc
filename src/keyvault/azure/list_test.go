package azure_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	emulated "github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// fill adds secrets to kv1, including some that a list omits.
func fill(t *testing.T, a *azuretest.Azure, secrets int) {
	t.Helper()
	for i := range secrets {
		a.Vaults.PutSecret("kv1", fmt.Sprintf("s-%03d", i), emulated.Secret{Value: canary, Tags: map[string]string{"n": fmt.Sprint(i)}})
	}
	a.Vaults.PutSecret("kv1", "off", emulated.Secret{Value: canary, Disabled: true})
	require.NoError(t, a.Vaults.PutCertificate("kv1", "site", emulated.Certificate{Value: certificatePEM(t)}))
}

func TestAListHasEveryObjectOfItsKind(t *testing.T) {
	// 23 and 48 fill a page exactly, so an empty page follows
	for _, secrets := range []int{0, 1, 22, 23, 48, 60} {
		a := azuretest.Start(t)
		fill(t, a, secrets)
		v := open(t, a)
		list, err := v.Fetch(t.Context(), of(keyvault.KindSecretList, ""))
		require.NoError(t, err)
		require.Len(t, list.Entries, secrets+2)
		for i, entry := range list.Entries[1 : 1+secrets] {
			one, err := v.Fetch(t.Context(), of(keyvault.KindSecret, entry.Name))
			require.NoError(t, err)
			assert.Equal(t, keyvault.Entry{Name: fmt.Sprintf("s-%03d", i), Tags: map[string]string{"n": fmt.Sprint(i)}, Updated: one.Updated}, entry)
			assert.False(t, one.ResponseDate.Before(one.Updated))
		}
		assert.Equal(t, []any{"off", true}, []any{list.Entries[0].Name, list.Entries[0].Disabled})
		assert.Equal(t, []any{"site", true}, []any{list.Entries[secrets+1].Name, list.Entries[secrets+1].Managed})
		assert.Zero(t, a.Counters()["kv1 get 401"], "the list's client knows already which token is wanted")
		assert.Equal(t, (secrets+2)/25+1, a.Counters()["kv1 list 200"])
	}
}

func TestCertificatesAndKeysHaveListsOfTheirOwn(t *testing.T) {
	a := azuretest.Start(t)
	for i := range 26 {
		require.NoError(t, a.Vaults.PutCertificate("kv1", fmt.Sprintf("c-%02d", i), emulated.Certificate{Value: certificatePEM(t)}))
	}
	v := open(t, a)
	for _, kind := range []keyvault.Kind{keyvault.KindCertificate, keyvault.KindKey} {
		list, err := v.Fetch(t.Context(), of(kind.ListKind(), ""))
		require.NoError(t, err)
		require.Len(t, list.Entries, 26)
		one, err := v.Fetch(t.Context(), of(kind, "c-25"))
		require.NoError(t, err)
		assert.Equal(t, keyvault.Entry{Name: "c-25", Tags: map[string]string{}, Updated: one.Updated, Managed: kind == keyvault.KindKey}, list.Entries[25])
	}
	a.Vaults.SetPermissions("kv1", azuretest.AppObjectID, []string{"get", "list", "certificates/get", "keys/list"})
	_, err := v.Fetch(t.Context(), of(keyvault.KindCertificateList, ""))
	assert.Equal(t, fault.Denied, fault.KindOf(err), "each kind has permissions of its own")
	assert.ErrorContains(t, err, "get and list on certificates")
	_, err = v.Fetch(t.Context(), of(keyvault.KindKeyList, ""))
	assert.NoError(t, err)
}

func TestAListThatIsDeniedNamesThePermission(t *testing.T) {
	a := azuretest.Start(t)
	fill(t, a, 1)
	a.Vaults.SetPermissions("kv1", azuretest.AppObjectID, []string{"get"})
	_, err := open(t, a).Fetch(t.Context(), of(keyvault.KindSecretList, ""))
	assert.Equal(t, fault.Denied, fault.KindOf(err))
	assert.ErrorContains(t, err, `secret list of vault "kv1"`)
	assert.ErrorContains(t, err, "get and list on secrets")
}

// elsewhere returns a link to a next page at another host.
type elsewhere struct {
	policy.Transporter
	asked []string
}

func (e *elsewhere) Do(r *http.Request) (*http.Response, error) {
	e.asked = append(e.asked, r.URL.Host)
	answer, err := e.Transporter.Do(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	content, err := io.ReadAll(answer.Body)
	answer.Body = io.NopCloser(bytes.NewReader(bytes.Replace(content, []byte("https://kv1.vault.azure.net:443"), []byte("https://evil.vault.azure.net"), 1)))
	return answer, err
}

func TestAListThatGoesOnElsewhereIsNotFollowed(t *testing.T) {
	a := azuretest.Start(t)
	fill(t, a, 60)
	transport := &elsewhere{Transporter: a.Client}
	_, err := openWith(t, a, transport).Fetch(t.Context(), of(keyvault.KindSecretList, ""))
	assert.Equal(t, fault.Malformed, fault.KindOf(err), err)
	assert.ErrorContains(t, err, "another host")
	assert.NotContains(t, transport.asked, "evil.vault.azure.net", "the token stays here")
}

func certificatePEM(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "certificate", "testdata", "reversed.pem"))
	require.NoError(t, err)
	return string(content)
}

// swap returns the response for another object, as a broken caching proxy does.
type swap struct {
	policy.Transporter
	from, to string
}

func (s swap) Do(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Path = strings.Replace(r.URL.Path, s.from, s.to, 1)
	return s.Transporter.Do(r)
}

func TestAnotherObjectsAnswerIsRefused(t *testing.T) {
	a := azuretest.Start(t)
	old := a.Vaults.PutSecret("kv1", "mine", emulated.Secret{Value: "old"})
	a.Vaults.PutSecret("kv1", "mine", emulated.Secret{Value: canary})
	a.Vaults.PutSecret("kv1", "other", emulated.Secret{Value: canary})
	require.NoError(t, a.Vaults.PutCertificate("kv1", "mycert", emulated.Certificate{Value: certificatePEM(t)}))
	require.NoError(t, a.Vaults.PutCertificate("kv1", "other-cert", emulated.Certificate{Value: certificatePEM(t)}))
	for name, c := range map[string]struct {
		ref      keyvault.Ref
		from, to string
	}{
		"a secret":      {of(keyvault.KindSecret, "mine"), "/mine", "/other"},
		"a certificate": {of(keyvault.KindCertificate, "mycert"), "/mycert", "/other-cert"},
		"a key":         {of(keyvault.KindKey, "mycert"), "/mycert", "/other-cert"},
		"a version":     {keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: "mine", Version: old}, "/" + old, "/"},
	} {
		_, err := openWith(t, a, swap{a.Client, c.from, c.to}).Fetch(t.Context(), c.ref)
		assert.Equal(t, fault.Malformed, fault.KindOf(err), name)
		assert.ErrorContains(t, err, "another object or version", name)
		assert.NotContains(t, err.Error(), canary)
	}
}
