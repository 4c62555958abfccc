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

// The errors of Parse. They never quote the input. An error about a damaged PEM block is an ErrMalformed and names the
// block. An error about an unsupported element is an ErrUnsupported and names the element.
var (
	ErrMalformed           = errors.New("it is neither PFX nor PEM, or damaged")
	ErrWrongPassword       = errors.New("it is encrypted with another password")
	ErrNoKey               = errors.New("it has no private key")
	ErrMultipleKeys        = errors.New("it has more than one private key")
	ErrInvalidKey          = errors.New("its private key can't be parsed")
	ErrKeyTooLarge         = errors.New("its private key is larger than 16 KiB")
	ErrNoCertificate       = errors.New("it has no certificate")
	ErrTooLarge            = errors.New("it is larger than 1 MiB")
	ErrTooManyCertificates = errors.New("it has too many certificates or PEM blocks")
	ErrTooManyRounds       = errors.New("it requires more than 200,000 rounds of key derivation in total")
	ErrTooManyRoundsOfAll  = errors.New("with the files before it, it requires too many rounds of key derivation")
	ErrUTF16               = errors.New("it is UTF-16, not UTF-8")
	ErrUnsupported         = errors.New("it contains an unsupported element")
)

// Bundle is the content of a PFX or PEM file. It has at least one certificate.
type Bundle struct {
	// Certificates in the order of the file.
	Certificates []*x509.Certificate
	// Key is the private key, nil if the file has none.
	Key crypto.Signer
}

// IsPEM reports whether the content contains a PEM block.
func IsPEM(content []byte) bool { return bytes.Contains(content, []byte("-----BEGIN ")) }

// Parse reads a PFX or PEM file of at most limits.CertificateBytes. The password can be empty. A PEM file without a
// private key gives a Bundle whose Key is nil; a PFX file without a private key gives ErrNoKey.
func Parse(content []byte, password string) (Bundle, error) {
	return NewParser(limits.KeyDerivationRounds).Parse(content, password)
}

// Parser parses several files, and limits the rounds of key derivation of all of them together. It is not safe for
// concurrent use.
type Parser struct{ roundsLeft int }

// NewParser returns a Parser for files that together need at most that many rounds. Each file has its own limit too.
func NewParser(rounds int) *Parser { return &Parser{rounds} }

// Parse is the function Parse for the next file. It returns ErrTooManyRoundsOfAll when the files together need more
// rounds than the Parser allows.
func (p *Parser) Parse(content []byte, password string) (Bundle, error) {
	switch {
	case len(content) > limits.CertificateBytes:
		return Bundle{}, ErrTooLarge
	case isUTF16(content):
		return Bundle{}, ErrUTF16
	case IsPEM(content):
		return p.parsePEM(content, password)
	}
	return p.parsePFX(content, password)
}

// Leaf returns the certificate of the private key, or nil if no certificate matches the key. In a bundle without a key,
// it returns the first certificate that issued no other one.
func (b Bundle) Leaf() *x509.Certificate {
	if b.Key != nil {
		if i := slices.IndexFunc(b.Certificates,
			func(c *x509.Certificate) bool { return isKeyOfCertificate(b.Key, c) }); i >= 0 {
			return b.Certificates[i]
		}
		return nil
	}
	for _, c := range b.Certificates {
		if !slices.ContainsFunc(b.Certificates,
			func(other *x509.Certificate) bool { return other != c && isIssuer(c, other) }) {
			return c
		}
	}
	return b.Certificates[0]
}

// Chain returns the leaf, then its issuers up to the root, then all other certificates in the order of the file. It
// contains each certificate once.
func (b Bundle) Chain() []*x509.Certificate {
	var chain []*x509.Certificate
	has := func(c *x509.Certificate) bool { return slices.ContainsFunc(chain, c.Equal) }
	for next := b.Leaf(); next != nil; {
		chain = append(chain, next)
		child := next
		next = nil
		for _, c := range b.Certificates {
			if !has(c) && isIssuer(c, child) {
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

// isIssuer reports whether parent is the issuer of child, by name and, where both have one, by key identifier.
func isIssuer(parent, child *x509.Certificate) bool {
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) || parent.Equal(child) {
		return false
	}
	return len(child.AuthorityKeyId) == 0 || len(parent.SubjectKeyId) == 0 ||
		bytes.Equal(parent.SubjectKeyId, child.AuthorityKeyId)
}

func isKeyOfCertificate(key crypto.Signer, cert *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}

// EncodeCertificates encodes the certificates as PEM, in the given order.
func EncodeCertificates(certificates ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
