package trust_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
	"github.com/akv2k8s/akv2k8s/src/trust"
)

// azureRoots are the roots that Microsoft documents for Azure's public endpoints, but for DigiCert Global Root CA,
// which browsers no longer trust and which Azure has left.
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
			require.NoError(t, trust.PrintRoots(&out, extra, time.Now()))
			for _, root := range azureRoots {
				assert.Contains(t, out.String(), "CN="+root)
			}
			pool, err := trust.NewPool(extra)
			require.NoError(t, err)
			_, err = own.Verify(x509.VerifyOptions{Roots: pool})
			assert.Equal(t, extra != nil, err == nil, "the extra CA is believed if and only if it is given")
		})
	}
}

func TestTrustedReportsWhatThePoolBelievesAndNothingElse(t *testing.T) {
	assert.Empty(t, trust.TrustedRoots(x509.NewCertPool(), time.Now()))
}

func TestHarmlessDamageOfExtraCAsIsMended(t *testing.T) {
	one, onePEM := ownCA(t)
	two, twoPEM := ownCA(t)
	both := string(onePEM) + string(twoPEM)
	for name, content := range map[string]string{
		"as it is":               both,
		"a byte-order mark":      "\ufeff" + both,
		"lines of Windows":       strings.ReplaceAll(both, "\n", "\r\n"),
		"indentation":            "    " + strings.ReplaceAll(both, "\n", "\n    "),
		"glued on one line":      strings.ReplaceAll(both, "-----\n-----BEGIN", "----------BEGIN"),
		"no line end at the end": strings.TrimSpace(both),
		"all in one line":        strings.ReplaceAll(both, "\n", " "),
		"text between":           strings.ReplaceAll(both, "-----BEGIN", "# proxy\n-----BEGIN"),
	} {
		t.Run(name, func(t *testing.T) {
			pool, err := trust.NewPool([]byte(content))
			require.NoError(t, err)
			for _, cert := range []*x509.Certificate{one, two} {
				_, err = cert.Verify(x509.VerifyOptions{Roots: pool})
				assert.NoError(t, err, "none is left out")
			}
		})
	}
}

func TestPoolRefusesWhatIsNoCertificateAndNamesTheBlock(t *testing.T) {
	_, ownPEM := ownCA(t)
	own := string(ownPEM)
	lines := strings.Split(own, "\n")
	for name, c := range map[string]struct{ content, says string }{
		"a block that is no certificate": {own + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "block 2"},
		"a private key":                  {own + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE " + "KEY", Bytes: []byte("x")})), "block 2"},
		"a damaged line":                 {own + strings.Replace(own, lines[2], "!"+lines[2], 1) + own, "block 2"},
		"a missing last line":            {own + strings.Replace(own, "-----END CERTIFICATE-----\n", "", 1) + own, "block 2"},
		"four dashes":                    {own + strings.Replace(own, "-----BEGIN", "----BEGIN", 1) + own, "block 2"},
		"text without a block":           {"CERTIFICATE", "no PEM block"},
		"base64 of a PEM":                {base64.StdEncoding.EncodeToString(ownPEM), "no PEM block"},
		"UTF-16":                         {"\xff\xfe-\x00-\x00", "UTF-16"},
		"more blocks than anybody has":   {strings.Repeat(own, 1001), "too many"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := trust.NewPool([]byte(c.content))
			assert.Equal(t, fault.Invalid, fault.KindOf(err))
			assert.ErrorContains(t, err, c.says)
			assert.ErrorContains(t, err, "the extra CA certificates")
			assert.Error(t, trust.PrintRoots(&bytes.Buffer{}, []byte(c.content), time.Now()))
		})
	}
	for _, nothing := range []string{"", " \n", "\ufeff\n"} {
		_, err := trust.NewPool([]byte(nothing))
		assert.NoError(t, err)
	}
}

// FuzzCertificates holds that as many certificates are read as the PEM begins, or an error tells.
func FuzzCertificates(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, content []byte) {
		var all []*x509.Certificate
		var err error
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 500}, len(content), func() {
			all, err = trust.ParseCertificates(content, "the CAs")
		})
		if err == nil && len(all) < bytes.Count(content, []byte("-----BEGIN ")) {
			t.Fatalf("%d of %q", len(all), content)
		}
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Fatal(err)
		}
	})
}
