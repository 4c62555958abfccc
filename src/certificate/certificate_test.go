package certificate_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func vector(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return content
}

func namesOf(certificates []*x509.Certificate) string {
	var names []string
	for _, c := range certificates {
		names = append(names, strings.TrimSuffix(c.Subject.CommonName, ".example"))
	}
	return strings.Join(names, " ")
}

func TestEveryMakeIsRead(t *testing.T) {
	for name, c := range map[string]struct{ order, chain, key string }{
		"openssl3.pfx":    {"leaf middle root", "leaf middle root", "RSA PRIVATE KEY"},
		"legacy-3des.pfx": {"leaf middle root", "leaf middle root", "RSA PRIVATE KEY"},
		"legacy-rc2.pfx":  {"leaf middle root", "leaf middle root", "RSA PRIVATE KEY"},
		"windows.pfx":     {"leaf middle root", "leaf middle root", "RSA PRIVATE KEY"},
		"keytool.pfx":     {"leaf middle root", "leaf middle root", "RSA PRIVATE KEY"},
		"ordered.pem":     {"leaf middle root", "leaf middle root", "RSA PRIVATE KEY"},
		"reversed.pem":    {"root middle leaf", "leaf middle root", "RSA PRIVATE KEY"},
		"windows.pem":     {"middle root leaf", "leaf middle root", "RSA PRIVATE KEY"},
		"P-256.pem":       {"P-256", "P-256", "EC PRIVATE KEY"},
		"P-384.pem":       {"P-384", "P-384", "EC PRIVATE KEY"},
		"P-521.pem":       {"P-521", "P-521", "EC PRIVATE KEY"},
		"sec1.pem":        {"P-256", "P-256", "EC PRIVATE KEY"},
		"ed25519.pem":     {"ed25519", "ed25519", "PRIVATE KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			bundle, err := certificate.Parse(vector(t, name), "")
			require.NoError(t, err)
			assert.Equal(t, c.order, namesOf(bundle.Certificates), "the order of the file")
			assert.Equal(t, c.chain, namesOf(bundle.Chain()))
			key, err := certificate.EncodeKey(bundle.Key)
			require.NoError(t, err)
			block, rest := pem.Decode(key)
			require.NotNil(t, block)
			assert.Empty(t, rest)
			assert.Equal(t, c.key, block.Type)
			again, err := certificate.Parse(append(key, certificate.EncodeCertificates(bundle.Chain()...)...), "")
			require.NoError(t, err)
			assert.Equal(t, c.chain, namesOf(again.Certificates))
			assert.True(t, bundle.Leaf().Equal(again.Leaf()))
		})
	}
}

func TestWhatCannotBeReadSaysWhy(t *testing.T) {
	pfx := vector(t, "openssl3.pfx")
	for name, c := range map[string]struct {
		content  []byte
		password string
		want     error
	}{
		"nothing":                           {nil, "", certificate.ErrMalformed},
		"garbage":                           {[]byte("\x00\xff garbage"), "", certificate.ErrMalformed},
		"a truncated PFX":                   {pfx[:len(pfx)/2], "", certificate.ErrMalformed},
		"a PFX with padding":                {append(bytes.Clone(pfx), make([]byte, 4096)...), "", certificate.ErrMalformed},
		"a PFX with 1 MiB of padding":       {append(bytes.Clone(pfx), make([]byte, 1<<20)...), "", certificate.ErrTooLarge},
		"a PFX with a password":             {vector(t, "password.pfx"), "", certificate.ErrWrongPassword},
		"a PFX with another password":       {vector(t, "password.pfx"), "other", certificate.ErrWrongPassword},
		"a PFX without a key":               {vector(t, "nokey.pfx"), "", certificate.ErrNoKey},
		"a PFX that asks for too much work": {vector(t, "iterations.pfx"), "", certificate.ErrTooManyRounds},
		"a PEM with two keys":               {vector(t, "twokeys.pem"), "", certificate.ErrMultipleKeys},
		"a PEM with an encrypted key":       {vector(t, "encrypted.pem"), "", certificate.ErrWrongPassword},
		"a PEM without a certificate":       {vector(t, "noleaf.pem"), "", certificate.ErrNoCertificate},
		"a PEM block that is no certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "",
			certificate.ErrMalformed},
		"a PEM block that is no key": {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "", certificate.ErrInvalidKey},
	} {
		t.Run(name, func(t *testing.T) {
			started := time.Now()
			_, err := certificate.Parse(c.content, c.password)
			assert.ErrorIs(t, err, c.want)
			assert.Less(t, time.Since(started), 3*time.Second)
		})
	}
	opened, err := certificate.Parse(vector(t, "password.pfx"), "hidden")
	require.NoError(t, err)
	assert.NotNil(t, opened.Key)
	opened, err = certificate.Parse(vector(t, "encrypted.pem"), "hidden")
	require.NoError(t, err)
	assert.NotNil(t, opened.Leaf())
}

func TestTheLeafIsTheOneOfTheKey(t *testing.T) {
	foreign, err := certificate.Parse(vector(t, "foreign.pem"), "")
	require.NoError(t, err)
	assert.Nil(t, foreign.Leaf(), "the key is of none of the certificates")
	assert.Equal(t, "leaf", namesOf(foreign.Chain()), "nothing is lost")

	public, err := certificate.Parse(vector(t, "nokey.pem"), "")
	require.NoError(t, err)
	assert.Nil(t, public.Key)
	assert.Equal(t, "leaf middle", namesOf(public.Chain()))
	public.Certificates[0], public.Certificates[1] = public.Certificates[1], public.Certificates[0]
	assert.Equal(t, "leaf middle", namesOf(public.Chain()), "without a key the leaf is the one that signed no other")
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.p*")
	require.NoError(f, err)
	for _, file := range files {
		if !strings.Contains(file, "iterations") {
			f.Add(vector(f, filepath.Base(file)))
		}
	}
	// One scrypt derivation can take 32 MiB, and a PFX can have one for each layer.
	budget := fuzzbudget.Budget{Time: 3 * time.Second, Bytes: 160 << 20, PerByte: 1000}
	f.Fuzz(func(t *testing.T, content []byte) {
		var bundle certificate.Bundle
		var err error
		var chain []*x509.Certificate
		fuzzbudget.Check(t, budget, len(content), func() {
			if bundle, err = certificate.Parse(content, ""); err == nil {
				chain = bundle.Chain()
			}
			certificate.IsPrivateKey(content)
			certificate.IsPFX(content)
		})
		if err != nil {
			return
		}
		require.NotEmpty(t, bundle.Certificates)
		for _, c := range bundle.Certificates {
			assert.True(t, containsOnce(chain, c), "each certificate is in the chain once")
		}
	})
}

func containsOnce(chain []*x509.Certificate, c *x509.Certificate) bool {
	n := 0
	for _, other := range chain {
		if other.Equal(c) {
			n++
		}
	}
	return n == 1
}

func TestIsKeyKnowsEveryFormInDER(t *testing.T) {
	for _, name := range []string{"sec1.pem", "P-384.pem", "ed25519.pem"} {
		for block, rest := pem.Decode(vector(t, name)); block != nil; block, rest = pem.Decode(rest) {
			assert.Equal(t, strings.HasSuffix(block.Type, "PRIVATE KEY"), certificate.IsPrivateKey(block.Bytes), "%s: %s", name, block.Type)
		}
	}
	assert.False(t, certificate.IsPrivateKey([]byte("text")))
}

// FuzzChain shuffles a chain of three, with some left out and some twice: the leaf is first, each is followed by its
// issuer, and none is lost.
func FuzzChain(f *testing.F) {
	bundle, err := certificate.Parse(vector(f, "ordered.pem"), "")
	require.NoError(f, err)
	f.Add([]byte{2, 1, 0})
	f.Add([]byte{0, 0, 2})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, order []byte) {
		shuffled := certificate.Bundle{Key: bundle.Key}
		there := map[string]bool{}
		for _, i := range order[:min(len(order), 12)] {
			c := bundle.Certificates[int(i)%len(bundle.Certificates)]
			shuffled.Certificates = append(shuffled.Certificates, c)
			there[c.Subject.CommonName] = true
		}
		var chain []*x509.Certificate
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20}, len(order), func() { chain = shuffled.Chain() })
		kept := map[string]bool{}
		for _, c := range chain {
			kept[c.Subject.CommonName] = true
		}
		if len(kept) != len(there) || len(chain) > len(shuffled.Certificates) {
			t.Fatalf("of %v there is left %v", there, kept)
		}
		leaf := bundle.Leaf()
		if there[leaf.Subject.CommonName] && !chain[0].Equal(leaf) {
			t.Fatalf("the first is %s", chain[0].Subject)
		}
	})
}
