package keystore_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	jks "github.com/pavlo-v-chernykh/keystore-go/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/certificate/keystore"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe/fileformat"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

const password = "pass word'\"$~1"

func newKey(t testing.TB, algorithm string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch algorithm {
	case "RSA":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "P-256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	require.NoError(t, err)
	return key
}

// newBundle is a key with its certificate, the intermediate and root that issued it, and an unrelated certificate.
func newBundle(t testing.TB, algorithm string) certificate.Bundle {
	t.Helper()
	var all []*x509.Certificate
	var parent *x509.Certificate
	var signer crypto.Signer
	issue := func(name string, key crypto.Signer) {
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(len(all) + 1)), Subject: pkix.Name{CommonName: name}, IsCA: name != "leaf",
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true}
		if parent == nil || name == "stranger" {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		all = append(all, cert)
		if name != "stranger" {
			parent, signer = cert, key
		}
	}
	issue("root", newKey(t, "P-256"))
	issue("intermediate", newKey(t, "P-256"))
	leaf := newKey(t, algorithm)
	issue("leaf", leaf)
	issue("stranger", newKey(t, "P-256"))
	return certificate.Bundle{Certificates: all, Key: leaf}
}

// bundles are made once.
var bundles = sync.OnceValue(func() map[string]certificate.Bundle {
	all := map[string]certificate.Bundle{}
	for _, algorithm := range []string{"RSA", "P-256", "Ed25519"} {
		all[algorithm] = newBundle(&testing.T{}, algorithm)
	}
	return all
})

func names(chain []*x509.Certificate) (all []string) {
	for _, cert := range chain {
		all = append(all, cert.Subject.CommonName)
	}
	return all
}

func encode(t testing.TB, format fileformat.Format, bundle certificate.Bundle) []byte {
	t.Helper()
	file, err := keystore.Encode(format, bundle, []byte(password))
	require.NoError(t, err)
	return file
}

func keyDER(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return der
}

func TestAPFXIsReadBack(t *testing.T) {
	for algorithm, bundle := range bundles() {
		file := encode(t, fileformat.PFX, bundle)
		read, err := certificate.Parse(file, password)
		require.NoError(t, err, algorithm)
		assert.Equal(t, keyDER(t, bundle.Key), keyDER(t, read.Key))
		assert.Equal(t, []string{"leaf", "intermediate", "root", "stranger"}, names(read.Certificates))
		_, err = certificate.Parse(file, "other")
		require.ErrorIs(t, err, certificate.ErrWrongPassword)
	}
}

func TestAJKSHasTheKeyAndItsChain(t *testing.T) {
	for algorithm, bundle := range bundles() {
		store := jks.New()
		require.NoError(t, store.Load(bytes.NewReader(encode(t, fileformat.JKS, bundle)), []byte(password)), algorithm)
		assert.Equal(t, []string{keystore.Alias}, store.Aliases())
		entry, err := store.GetPrivateKeyEntry(keystore.Alias, []byte(password))
		require.NoError(t, err)
		assert.Equal(t, keyDER(t, bundle.Key), entry.PrivateKey)
		var chain []*x509.Certificate
		for _, cert := range entry.CertificateChain {
			parsed, err := x509.ParseCertificate(cert.Content)
			require.NoError(t, err)
			chain = append(chain, parsed)
		}
		assert.Equal(t, []string{"leaf", "intermediate", "root"}, names(chain), "Java takes them as a chain")
	}
	alone := bundles()["RSA"]
	alone.Certificates = []*x509.Certificate{alone.Leaf(), alone.Certificates[0]}
	store := jks.New()
	require.NoError(t, store.Load(bytes.NewReader(encode(t, fileformat.JKS, alone)), []byte(password)))
	chain, err := store.GetPrivateKeyEntryCertificateChain(keystore.Alias)
	require.NoError(t, err)
	assert.Len(t, chain, 1, "the root did not issue the leaf")
}

func TestAFileChangesOnlyWithItsContent(t *testing.T) {
	for _, format := range []fileformat.Format{fileformat.PFX, fileformat.JKS} {
		bundle := bundles()["RSA"]
		first := encode(t, format, bundle)
		assert.Equal(t, first, encode(t, format, bundle))
		other, err := keystore.Encode(format, bundle, []byte(password+"x"))
		require.NoError(t, err)
		less := encode(t, format, certificate.Bundle{Key: bundle.Key, Certificates: bundle.Certificates[1:]})
		for _, different := range [][]byte{other, less} {
			assert.NotEqual(t, first, different)
			shared := 0
			for i := 0; i+16 <= len(first); i++ {
				if bytes.Contains(different, first[i:i+16]) {
					shared++
				}
			}
			if format == fileformat.PFX {
				assert.Less(t, shared, 300, "another salt encrypts everything differently, also the same key")
			}
		}
	}
}

// runTool runs a program in a folder, or skips the test if this machine has not got it.
func runTool(t *testing.T, folder string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skipf("this machine has no %s", args[0])
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return out
}

// keyOf is the private key in what openssl printed, PKCS #8.
func keyOf(t *testing.T, printed []byte) []byte {
	t.Helper()
	for block, rest := pem.Decode(printed); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "PRIVATE KEY" {
			return block.Bytes
		}
	}
	t.Fatal("openssl printed no private key")
	return nil
}

func TestOpenSSLReadsPFX(t *testing.T) {
	for algorithm, bundle := range bundles() {
		folder := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(folder, "file.pfx"), encode(t, fileformat.PFX, bundle), 0o600))
		out := runTool(t, folder, "openssl", "pkcs12", "-in", "file.pfx", "-passin", "pass:"+password, "-nodes")
		assert.Equal(t, keyDER(t, bundle.Key), keyOf(t, out), algorithm)
		assert.Equal(t, 4, strings.Count(string(out), "BEGIN CERTIFICATE"))
	}
}

func TestKeytoolReadsAPFX(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "in"), encode(t, fileformat.PFX, bundles()["P-256"]), 0o600))
	listed := string(runTool(t, folder, "keytool", "-list", "-v", "-keystore", "in", "-storetype", "PKCS12", "-storepass", password))
	assert.Contains(t, listed, "Entry type: PrivateKeyEntry")
	assert.Contains(t, listed, "Certificate chain length: 3")
}

// TestKeytoolReadsAJKS lets Java decrypt the key and write it as a PFX, and compares what openssl reads from that.
func TestKeytoolReadsAJKS(t *testing.T) {
	folder, bundle := t.TempDir(), bundles()["RSA"]
	require.NoError(t, os.WriteFile(filepath.Join(folder, "in"), encode(t, fileformat.JKS, bundle), 0o600))
	listed := string(runTool(t, folder, "keytool", "-list", "-v", "-keystore", "in", "-storetype", "JKS", "-storepass", password))
	assert.Contains(t, listed, "Alias name: "+keystore.Alias)
	assert.Contains(t, listed, "Entry type: PrivateKeyEntry")
	assert.Contains(t, listed, "Certificate chain length: 3")
	runTool(t, folder, "keytool", "-importkeystore", "-noprompt", "-srckeystore", "in", "-srcstoretype", "JKS", "-srcstorepass", password,
		"-destkeystore", "out", "-deststoretype", "PKCS12", "-deststorepass", password)
	out := runTool(t, folder, "openssl", "pkcs12", "-in", "out", "-passin", "pass:"+password, "-nodes")
	assert.Equal(t, keyDER(t, bundle.Key), keyOf(t, out))
}

func TestEncodeRefuses(t *testing.T) {
	bundle := bundles()["P-256"]
	for text, says := range map[string]string{
		"":                           "the password for a file of format jks is empty; store another password in the vault",
		"canary\n":                   "has a newline; remove it in the vault, or add the transform trim",
		"canary\x00":                 "other than printable ASCII",
		"canäry1":                    "other than printable ASCII",
		"canary\xff":                 "other than printable ASCII",
		"canar":                      "has fewer than six characters",
		strings.Repeat("c", 1<<10+1): "has more than 1 KiB",
	} {
		file, err := keystore.Encode(fileformat.JKS, bundle, []byte(text))
		require.ErrorContains(t, err, says)
		assert.Nil(t, file)
		assert.Equal(t, fault.Malformed, fault.KindOf(err))
		assert.NotContains(t, err.Error(), "can", "it is a password")
	}
	_, err := keystore.Encode(fileformat.PFX, bundle, []byte("short"))
	require.NoError(t, err)
	_, err = keystore.Encode(fileformat.Raw, bundle, []byte(password))
	assert.Equal(t, fault.Bug, fault.KindOf(err))

	secp256k1, err := os.ReadFile("../testdata/secp256k1.pem")
	require.NoError(t, err)
	unusual, err := certificate.Parse(secp256k1, "")
	require.NoError(t, err)
	for says, refused := range map[string]certificate.Bundle{
		"has no private key; use a reference to a certificate whose key is exportable": {Certificates: bundle.Certificates},
		"does not belong to the private key":                                           {Certificates: bundle.Certificates[:1], Key: bundle.Key},
		"can't hold; use a key that is RSA, Ed25519 or on a NIST curve":                unusual,
	} {
		_, err := keystore.Encode(fileformat.PFX, refused, []byte(password))
		require.ErrorContains(t, err, says)
		assert.Equal(t, fault.Malformed, fault.KindOf(err))
	}
}

func FuzzEncode(f *testing.F) {
	for _, seed := range []string{"", "password", "short", "new\nline", "äöü€", "\xff\x00", strings.Repeat("x", 2000)} {
		f.Add([]byte(seed))
	}
	bundle := bundles()["P-256"]
	f.Fuzz(func(t *testing.T, secret []byte) {
		files := map[fileformat.Format][]byte{}
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: 2 * time.Second, Bytes: 4 << 20, PerByte: 200}, len(secret), func() {
			for _, format := range []fileformat.Format{fileformat.PFX, fileformat.JKS} {
				file, err := keystore.Encode(format, bundle, secret)
				if err != nil {
					if fault.KindOf(err) != fault.Malformed || len(secret) > 8 && strings.Contains(err.Error(), string(secret)) {
						t.Fatalf("%q: %v", secret, err)
					}
					continue
				}
				files[format] = file
			}
		})
		if file := files[fileformat.PFX]; file != nil {
			if _, cert, issuers, err := pkcs12.DecodeChain(file, string(secret)); err != nil || cert.Subject.CommonName != "leaf" || len(issuers) != 3 {
				t.Fatalf("%q: a PFX can't be read: %v", secret, err)
			}
		}
		if file := files[fileformat.JKS]; file != nil {
			if err := jks.New().Load(bytes.NewReader(file), secret); err != nil {
				t.Fatalf("%q: a JKS can't be read: %v", secret, err)
			}
		}
	})
}
