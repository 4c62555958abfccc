package azure_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	emulated "github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

func of(kind keyvault.Kind, name string) keyvault.Ref {
	return keyvault.Ref{Vault: "kv1", Kind: kind, Name: name}
}

func TestACertificateIsReadAsItselfAndAsTheSecretWithItsKey(t *testing.T) {
	a := azuretest.Start(t)
	content, err := os.ReadFile(filepath.Join("..", "..", "certificate", "testdata", "reversed.pem"))
	require.NoError(t, err)
	imported, err := certificate.Parse(content, "")
	require.NoError(t, err)
	require.NoError(t, a.Vaults.PutCertificate("kv1", "site", emulated.Certificate{Value: string(content)}))
	v := open(t, a)
	public, err := v.Fetch(t.Context(), of(keyvault.KindCertificate, "site"))
	require.NoError(t, err)
	assert.Equal(t, imported.Leaf().Raw, public.Value.Reveal())
	assert.Equal(t, imported.Leaf().NotAfter.UTC(), public.Expires)
	secret, err := v.Fetch(t.Context(), of(keyvault.KindSecret, "site"))
	require.NoError(t, err)
	assert.Equal(t, string(content), string(secret.Value.Reveal()))
	assert.Equal(t, "application/x-pem-file", secret.ContentType)
	key, err := v.Fetch(t.Context(), of(keyvault.KindKey, "site"))
	require.NoError(t, err)
	assert.Equal(t, []string{secret.Version, secret.Version}, []string{public.Version, key.Version}, "one version names all three")
	assert.Equal(t, 1, a.Counters()["kv1 certificates/get 401"])
	_, err = v.Fetch(t.Context(), of(keyvault.KindCertificate, "site"))
	require.NoError(t, err)
	assert.Equal(t, 1, a.Counters()["kv1 certificates/get 401"], "one challenge for each kind of object, not for each read")

	require.NoError(t, a.Vaults.PutCertificate("kv1", "site", emulated.Certificate{Value: string(content), NotExportable: true, Disabled: true}))
	_, err = v.Fetch(t.Context(), of(keyvault.KindCertificate, "site"))
	assert.Equal(t, fault.Disabled, fault.KindOf(err))
	assert.ErrorContains(t, err, `reading certificate "site" of vault "kv1": it is disabled`)
}

func TestKeysBecomeJSONWebKeys(t *testing.T) {
	a := azuretest.Start(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		public crypto.PublicKey
		hsm    bool
		kty    string
		fields []string
	}{
		"rsa": {rsaKey.Public(), false, "RSA", []string{"kid", "kty", "n", "e"}}, "rsa-hsm": {rsaKey.Public(), true, "RSA", []string{"kid", "kty", "n", "e"}},
		"ec": {ecKey.Public(), false, "EC", []string{"kid", "kty", "crv", "x", "y"}}, "ec-hsm": {ecKey.Public(), true, "EC", []string{"kid", "kty", "crv", "x", "y"}},
	} {
		der, err := x509.MarshalPKIXPublicKey(c.public)
		require.NoError(t, err)
		require.NoError(t, a.Vaults.PutKey("kv1", name, emulated.Key{PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), HSM: c.hsm}))
		got, err := open(t, a).Fetch(t.Context(), of(keyvault.KindKey, name))
		require.NoError(t, err)
		var jwk map[string]string
		require.NoError(t, json.Unmarshal(got.Value.Reveal(), &jwk))
		assert.Equal(t, c.kty, jwk["kty"], name)
		for _, field := range c.fields {
			assert.NotEmpty(t, jwk[field], "%s of %s", field, name)
		}
		assert.Len(t, jwk, len(c.fields), "nothing but the public key")
	}
}

func TestWhatIsMissingOrForbiddenNamesTheRoleOfItsKind(t *testing.T) {
	a := azuretest.Start(t)
	v := open(t, a)
	for _, kind := range keyvault.ItemKinds() {
		_, err := v.Fetch(t.Context(), of(kind, "absent"))
		assert.Equal(t, fault.NotFound, fault.KindOf(err), kind)
		a.Vaults.SetPermissions("kv1", azuretest.AppObjectID, nil)
		_, err = v.Fetch(t.Context(), of(kind, "absent"))
		assert.Equal(t, fault.Denied, fault.KindOf(err), kind)
		assert.ErrorContains(t, err, kind.RequiredRole())
		assert.ErrorContains(t, err, azuretest.AppObjectID)
		a.Vaults.SetPermissions("kv1", azuretest.AppObjectID, []string{"get", "certificates/get", "keys/get"})
	}
}

func TestTheEmulatorTakesNoCertificateThatAzureWouldNot(t *testing.T) {
	a := azuretest.Start(t)
	for _, value := range []string{"no base64!", "AAAA", "-----BEGIN CERTIFICATE-----"} {
		assert.Error(t, a.Vaults.PutCertificate("kv1", "site", emulated.Certificate{Value: value}))
		assert.Error(t, a.Vaults.PutKey("kv1", "k", emulated.Key{PEM: value}))
	}
}
