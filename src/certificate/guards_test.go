package certificate_test

import (
	"bytes"
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/certificate"
)

// link is a certificate of which only the names and key identifiers matter.
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
