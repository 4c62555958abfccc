package credential_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/youmark/pkcs8"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// password decrypts the encrypted files.
const password = "of-the-file"

// material holds certificates and keys in every supported format, created for each test.
type material struct {
	files disk
	// registered has the certificates of the application in PEM; issuerKey is the public key for the cluster's tokens.
	registered, issuerKey string
	issuer, stranger      *rsa.PrivateKey
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return key
}

// issue returns a self-signed certificate for a key. It is valid from an hour ago.
func issue(t *testing.T, key *rsa.PrivateKey, name string, until time.Time) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

func asPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func certificates(t *testing.T) material {
	t.Helper()
	key, other := newKey(t), newKey(t)
	good, old, foreign := issue(t, key, "good", time.Now().Add(time.Hour)), issue(t, key, "old", time.Now().Add(-time.Minute)), issue(t, other, "foreign", time.Now().Add(time.Hour))
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	otherDER, err := x509.MarshalPKCS8PrivateKey(other)
	require.NoError(t, err)
	cert, keyPEM := asPEM("CERTIFICATE", good.Raw), asPEM("PRIVATE KEY", keyDER)
	encrypted, err := pkcs8.MarshalPrivateKey(key, []byte(password), nil)
	require.NoError(t, err)
	//nolint:staticcheck // users have such files
	traditional, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), []byte(password), x509.PEMCipherAES256)
	require.NoError(t, err)
	pfx := func(encoder *pkcs12.Encoder, password string) string {
		content, err := encoder.Encode(key, good, nil, password)
		require.NoError(t, err)
		return string(content)
	}
	issuer := newKey(t)
	public, err := x509.MarshalPKIXPublicKey(issuer.Public())
	require.NoError(t, err)
	return material{registered: cert + asPEM("CERTIFICATE", old.Raw), issuerKey: asPEM("PUBLIC KEY", public), issuer: issuer, stranger: other,
		files: disk{
			"/plain.pem": keyPEM + cert, "/chain.pem": asPEM("CERTIFICATE", foreign.Raw) + cert + asPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
			"/encrypted.pem": cert + asPEM("ENCRYPTED PRIVATE KEY", encrypted), "/traditional.pem": cert + string(pem.EncodeToMemory(traditional)),
			"/plain.pfx": pfx(pkcs12.Passwordless, ""), "/modern.pfx": pfx(pkcs12.Modern2023, password), "/legacy.pfx": pfx(pkcs12.LegacyDES, password),
			"/unregistered.pem": asPEM("CERTIFICATE", foreign.Raw) + asPEM("PRIVATE KEY", otherDER), "/expired.pem": asPEM("CERTIFICATE", old.Raw) + keyPEM,
			"/foreign.pem": asPEM("CERTIFICATE", foreign.Raw) + keyPEM, "/registered.pem": cert,
		}}
}

// federated returns a token of the cluster for a ServiceAccount, valid for an hour.
func (m material) federated(t *testing.T, from time.Time) string {
	t.Helper()
	return m.token(t, "system:serviceaccount:a:b", from)
}

// foreign returns a token for another ServiceAccount.
func (m material) foreign(t *testing.T) string {
	t.Helper()
	return m.token(t, "system:serviceaccount:other:b", time.Now())
}

func (m material) token(t *testing.T, subject string, from time.Time) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{Issuer: "https://cluster", Subject: subject,
		Audience: jwt.ClaimStrings{"api://AzureADTokenExchange"}, IssuedAt: jwt.NewNumericDate(from), ExpiresAt: jwt.NewNumericDate(from.Add(time.Hour))}).SignedString(m.issuer)
	require.NoError(t, err)
	return text
}

func TestTheVaultsTenantHasToBeTheApplications(t *testing.T) {
	a := azuretest.Start(t)
	ask := func(tenant, ofVault string) error {
		cred, err := credential.New(inEnvironment(t, a, nil, map[string]string{"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": a.AppSecret}))
		require.NoError(t, err)
		_, err = cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}, TenantID: ofVault})
		return err
	}
	require.NoError(t, ask(azuretest.Tenant, strings.ToUpper(azuretest.Tenant)))
	require.NoError(t, ask(entra.Domain, azuretest.Tenant), "a tenant may be named by a domain")
	err := ask(azuretest.Tenant, "99999999-9999-4999-8999-999999999999")
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	assert.ErrorContains(t, err, "the vault belongs to tenant 99999999-9999-4999-8999-999999999999; correct the tenant id")
}
