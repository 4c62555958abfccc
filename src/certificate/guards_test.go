package certificate_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// link is a certificate with only names and key identifiers.
func link(subject, issuer, subjectKey, authorityKey string) *x509.Certificate {
	return &x509.Certificate{Raw: []byte(subject + issuer + subjectKey + authorityKey), RawSubject: []byte(subject), RawIssuer: []byte(issuer),
		SubjectKeyId: []byte(subjectKey), AuthorityKeyId: []byte(authorityKey)}
}

func TestCertificatesThatIssueEachOtherEndTheChain(t *testing.T) {
	leaf, one, two := link("leaf", "one", "", ""), link("one", "two", "", ""), link("two", "one", "", "")
	bundle := certificate.Bundle{Certificates: []*x509.Certificate{two, one, leaf}}
	assert.Equal(t, []*x509.Certificate{leaf, one, two}, bundle.Chain())
	root := link("root", "root", "", "")
	assert.Equal(t, []*x509.Certificate{root}, certificate.Bundle{Certificates: []*x509.Certificate{root, root}}.Chain(), "each is there once")
}

func TestAnIssuerIsKnownByKeyIdentifiersWhereBothHaveOne(t *testing.T) {
	for name, c := range map[string]struct {
		child, parent string
		issued        bool
	}{
		"equal": {"k", "k", true}, "others": {"k", "other", false}, "the child has none": {"", "k", true}, "the parent has none": {"k", "", true}, "neither has": {"", "", true},
	} {
		leaf, other, parent := link("leaf", "ca", "", c.child), link("other", "elsewhere", "", ""), link("ca", "root", c.parent, "")
		chain := certificate.Bundle{Certificates: []*x509.Certificate{leaf, other, parent}}.Chain()
		assert.Equal(t, c.issued, chain[1] == parent, name)
	}
}

func TestAnOctetStringConsistsOfOctetStrings(t *testing.T) {
	b := builder{t}
	key, cert := b.leaf()
	whole := b.pfx(b.safe(b.cert(cert), b.plainKey(key)))
	safes := b.marshal([]typed{b.safe(b.cert(cert), b.plainKey(key))})
	in := func(tag byte) []byte {
		piece := append([]byte{}, b.marshal(safes)...)
		require.True(t, bytes.Contains(whole, piece))
		piece[0] = tag
		pieces := append(append([]byte{0x24, 0x80}, piece...), 0, 0)
		content := append(append([]byte{0xa0, 0x80}, pieces...), 0, 0)
		info := append(append([]byte{0x30, 0x80}, b.marshal(oid(1, 2, 840, 113549, 1, 7, 1))...), content...)
		return append(append(append([]byte{0x30, 0x80}, b.marshal(3)...), append(info, 0, 0)...), 0, 0)
	}
	_, err := parse(t, in(0x04), "")
	require.NoError(t, err)
	_, err = parse(t, in(0x0c), "")
	assert.ErrorIs(t, err, certificate.ErrMalformed)
}

func TestAKeyIsKnownByItsStructure(t *testing.T) {
	b := builder{t}
	type sec1 struct {
		Version int
		Key     []byte
	}
	type mixed struct {
		A, B, C, D, E int
		F             asn1.RawValue
	}
	octets := asn1.RawValue{Tag: asn1.TagOctetString, Bytes: []byte{1}}
	tagged := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: asn1.TagInteger, Bytes: []byte{1}}
	for name, c := range map[string]struct {
		der   []byte
		isKey bool
	}{
		"RSA in PKCS #1":               {b.marshal([]int{0, 11, 3, 5, 7, 2, 3, 4, 5}), true},
		"RSA of several primes":        {b.marshal([]int{1, 11, 3, 5, 7, 2, 3, 4, 5}), true},
		"DSA":                          {b.marshal([]int{0, 11, 3, 5, 7, 2}), true},
		"a public key of RSA":          {b.marshal([]int{11, 3}), false},
		"five numbers":                 {b.marshal([]int{0, 11, 3, 5, 7}), false},
		"numbers of another version":   {b.marshal([]int{2, 11, 3, 5, 7, 2}), false},
		"numbers with a large version": {b.marshal([]int{300, 11, 3, 5, 7, 2}), false},
		"numbers and octets":           {b.marshal(mixed{0, 1, 2, 3, 4, octets}), false},
		"numbers and a tagged one":     {b.marshal(mixed{0, 1, 2, 3, 4, tagged}), false},
		"SEC 1":                        {b.marshal(sec1{1, []byte{1, 2, 3}}), true},
		"SEC 1 of another version":     {b.marshal(sec1{2, []byte{1, 2, 3}}), false},
		"nothing":                      {nil, false},
		"a text":                       {[]byte("0"), false},
	} {
		assert.Equal(t, c.isKey, certificate.IsPrivateKey(c.der), name)
	}
}

// pbes2With are the parameters of a derivation and an initialization vector for AES-256.
func (b builder) pbes2With(derivation asn1.ObjectIdentifier, parameters any, iv []byte) pkix.AlgorithmIdentifier {
	scheme := struct{ Derivation, Encryption pkix.AlgorithmIdentifier }{
		pkix.AlgorithmIdentifier{Algorithm: derivation, Parameters: asn1.RawValue{FullBytes: b.marshal(parameters)}},
		pkix.AlgorithmIdentifier{Algorithm: oid(2, 16, 840, 1, 101, 3, 4, 1, 42), Parameters: asn1.RawValue{FullBytes: b.marshal(iv)}},
	}
	return pkix.AlgorithmIdentifier{Algorithm: oid(1, 2, 840, 113549, 1, 5, 13), Parameters: asn1.RawValue{FullBytes: b.marshal(scheme)}}
}

func TestScryptIsBoundedBeforeItIsMade(t *testing.T) {
	const most = limits.ScryptBytes / 128
	b := builder{t}
	for name, c := range map[string]struct {
		n, r, p int
		want    error
	}{
		"too much memory":             {most / 4, 8, 1, certificate.ErrTooManyRounds},
		"too many blocks":             {2 * most, 1, 1, certificate.ErrTooManyRounds},
		"blocks that are too large":   {2, most, 1, certificate.ErrTooManyRounds},
		"too many in parallel":        {2, 1, math.MaxInt64, certificate.ErrTooManyRounds},
		"a product that overflows":    {1 << 62, 4, 1, certificate.ErrTooManyRounds},
		"the same with large blocks":  {4, 1 << 62, 1, certificate.ErrTooManyRounds},
		"no blocks":                   {0, 8, 1, certificate.ErrMalformed},
		"one block":                   {1, 8, 1, certificate.ErrMalformed},
		"fewer than none":             {-2, -8, 1, certificate.ErrMalformed},
		"blocks of nothing":           {16, 0, 1, certificate.ErrMalformed},
		"none in parallel":            {16, 8, 0, certificate.ErrMalformed},
		"fewer than none in parallel": {16, 8, -1, certificate.ErrMalformed},
		"not a power of two":          {15, 8, 1, certificate.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			parameters := struct {
				Salt    []byte
				N, R, P int
			}{[]byte("salt"), c.n, c.r, c.p}
			algorithm := b.pbes2With(oid(1, 3, 6, 1, 4, 1, 11591, 4, 11), parameters, make([]byte, 16))
			_, err := parse(t, b.pfx(b.sealedSafe(algorithm, make([]byte, 16))), "")
			assert.ErrorIs(t, err, c.want)
		})
	}
}

func TestWhatCannotBeDecryptedIsAnErrorAndNeverAPanic(t *testing.T) {
	b := builder{t}
	parameters := struct {
		Salt   []byte
		Rounds int
		PRF    pkix.AlgorithmIdentifier
	}{[]byte("salt"), 1, pkix.AlgorithmIdentifier{Algorithm: oid(1, 2, 840, 113549, 2, 9)}}
	key, err := pbkdf2.Key(sha256.New, "", []byte("salt"), 1, 32)
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	padded := func(padding byte) []byte {
		sealed := append(make([]byte, 15), padding)
		cipher.NewCBCEncrypter(block, make([]byte, 16)).CryptBlocks(sealed, sealed)
		return sealed
	}
	for name, c := range map[string]struct{ iv, sealed []byte }{
		"a short vector":          {make([]byte, 15), make([]byte, 16)},
		"a long vector":           {make([]byte, 17), make([]byte, 16)},
		"nothing":                 {make([]byte, 16), nil},
		"half a block":            {make([]byte, 16), make([]byte, 8)},
		"a block and a half":      {make([]byte, 16), make([]byte, 24)},
		"no padding":              {make([]byte, 16), padded(0)},
		"padding beyond a block":  {make([]byte, 16), padded(17)},
		"padding of another kind": {make([]byte, 16), padded(3)},
	} {
		t.Run(name, func(t *testing.T) {
			algorithm := b.pbes2With(oid(1, 2, 840, 113549, 1, 5, 12), parameters, c.iv)
			_, err := parse(t, b.pfx(b.sealedSafe(algorithm, c.sealed)), "")
			assert.Error(t, err)
		})
	}
}
