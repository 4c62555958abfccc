package trust_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/trust"
)

// azureRoots are the roots that Microsoft documents for Azure's public endpoints, but for DigiCert Global Root CA, which
// browsers no longer trust and which Azure has left.
var azureRoots = []string{
	"DigiCert Global Root G2", "DigiCert Global Root G3", "DigiCert TLS ECC P384 Root G5", "DigiCert TLS RSA4096 Root G5",
	"Microsoft ECC Root Certificate Authority 2017", "Microsoft RSA Root Certificate Authority 2017",
}

func ownCA(t *testing.T) (*x509.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "proxy"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestPoolHoldsAzuresRootsWithAndWithoutExtraCAs(t *testing.T) {
	own, ownPEM := ownCA(t)
	for name, extra := range map[string][]byte{"no extra CA": nil, "an extra CA": ownPEM} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			require.NoError(t, trust.Print(&out, extra, time.Now()))
			for _, root := range azureRoots {
				assert.Contains(t, out.String(), "CN="+root)
			}
			pool, err := trust.Pool(extra)
			require.NoError(t, err)
			_, err = own.Verify(x509.VerifyOptions{Roots: pool})
			assert.Equal(t, extra != nil, err == nil, "the extra CA is believed if and only if it is given")
		})
	}
}

func TestTrustedReportsWhatThePoolBelievesAndNothingElse(t *testing.T) {
	assert.Empty(t, trust.Trusted(x509.NewCertPool(), time.Now()))
}

func TestPoolRefusesWhatIsNoCertificate(t *testing.T) {
	_, ownPEM := ownCA(t)
	bad := append(ownPEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})...)
	_, err := trust.Pool(bad)
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.ErrorContains(t, err, "block 2")
	assert.Error(t, trust.Print(&bytes.Buffer{}, bad, time.Now()))
}
