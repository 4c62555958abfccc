package certificate

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Why something can't be read. The errors are complete: nothing of what was read is in them. Those of damaged PEM
// blocks are ErrMalformed too and name the block; those of what no code here reads are ErrUnsupported and name it.
var (
	ErrMalformed   = errors.New("it is neither PFX nor PEM, or damaged")
	ErrPassword    = errors.New("it is encrypted with another password")
	ErrNoKey       = errors.New("it has no private key")
	ErrKeys        = errors.New("it has more than one private key")
	ErrKey         = errors.New("its private key is of a kind that can't be read")
	ErrKeySize     = errors.New("its private key is larger than 16 KiB")
	ErrEmpty       = errors.New("it has no certificate")
	ErrTooLarge    = errors.New("it is larger than 1 MiB")
	ErrTooMany     = errors.New("it has too many certificates or PEM blocks")
	ErrRounds      = errors.New("it asks for more than 200,000 rounds of key derivation in all")
	ErrUTF16       = errors.New("it is UTF-16, not UTF-8")
	ErrUnsupported = errors.New("it has something that can't be read")
)

// Bundle is what a PFX or PEM holds, never without a certificate.
type Bundle struct {
	// Certificates in the order in which they were found.
	Certificates []*x509.Certificate
	// Key is nil if there is none.
	Key crypto.Signer
}

// IsPEM says whether the content is text with PEM blocks in it.
func IsPEM(content []byte) bool { return bytes.Contains(content, []byte("-----BEGIN ")) }

// Parse reads a PFX or a PEM; password may be empty. A PEM may lack the key; of a PFX that lacks it the error is
// ErrNoKey.
func Parse(content []byte, password string) (Bundle, error) {
	switch {
	case len(content) > limits.CertificateBytes:
		return Bundle{}, ErrTooLarge
	case isUTF16(content):
		return Bundle{}, ErrUTF16
	case IsPEM(content):
		return parsePEM(content, password)
	}
	return parsePFX(content, password)
}

// Leaf is the certificate of the key, nil if none is; without a key it is the first one that did not sign another.
func (b Bundle) Leaf() *x509.Certificate {
	if b.Key != nil {
		if i := slices.IndexFunc(b.Certificates, func(c *x509.Certificate) bool { return owns(b.Key, c) }); i >= 0 {
			return b.Certificates[i]
		}
		return nil
	}
	for _, c := range b.Certificates {
		if !slices.ContainsFunc(b.Certificates,
			func(other *x509.Certificate) bool { return other != c && issued(c, other) }) {
			return c
		}
	}
	return b.Certificates[0]
}

// Chain is the leaf, then issuer by issuer, then what belongs to neither, in the order of the file. Each certificate is
// there once.
func (b Bundle) Chain() []*x509.Certificate {
	var chain []*x509.Certificate
	has := func(c *x509.Certificate) bool { return slices.ContainsFunc(chain, c.Equal) }
	for next := b.Leaf(); next != nil; {
		chain = append(chain, next)
		child := next
		next = nil
		for _, c := range b.Certificates {
			if !has(c) && issued(c, child) {
				next = c
				break
			}
		}
	}
	for _, c := range b.Certificates {
		if !has(c) {
			chain = append(chain, c)
		}
	}
	return chain
}

// issued says whether parent is the issuer of child by name and, where both have one, by key identifier.
func issued(parent, child *x509.Certificate) bool {
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) || parent.Equal(child) {
		return false
	}
	return len(child.AuthorityKeyId) == 0 || len(parent.SubjectKeyId) == 0 ||
		bytes.Equal(parent.SubjectKeyId, child.AuthorityKeyId)
}

func owns(key crypto.Signer, cert *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}

// EncodeCertificates writes PEM, in the order given.
func EncodeCertificates(certificates ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
