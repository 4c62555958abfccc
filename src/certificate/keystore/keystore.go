package keystore

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"

	jks "github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe/fileformat"
)

// Alias is the name of the only entry of a Java keystore.
const Alias = "certificate"

// minJKSPassword is the minimum length of a password that keytool accepts.
const minJKSPassword = 6

// Encode returns a file of format fileformat.PFX or fileformat.JKS with the private key, its certificate and the other
// certificates of the bundle. The same arguments give the same bytes, so that a file changes only with its content.
//
// A PFX has AES-256 and SHA-256, and can be read by OpenSSL 1.1.1, Java 12, Windows Server 2019 and later versions. A
// JKS has only the certificates that issued one another up from that of the key, because Java takes its certificates as
// a chain; its encryption is weak, as the format knows no other.
//
// The error is of kind fault.Malformed for a bundle without a usable key or for an unusable password, which it never
// quotes.
func Encode(format fileformat.Format, bundle certificate.Bundle, password []byte) ([]byte, error) {
	if !format.NeedsPassword() {
		return nil, fault.New(fault.Bug, "keystore.Encode can't write the format %.20q", string(format))
	}
	if err := checkPassword(format, password); err != nil {
		return nil, err
	}
	content, err := contentOf(bundle)
	if err != nil {
		return nil, err
	}
	random, err := content.newRandom(format, password)
	if err != nil {
		return nil, err
	}
	if format == fileformat.JKS {
		return content.encodeJKS(password, random)
	}
	file, err := pkcs12.Modern2023.WithRand(random).Encode(bundle.Key, content.chain[0], content.chain[1:],
		string(password))
	if err != nil {
		return nil, fault.Wrap(fault.Bug, err, "encoding a PFX")
	}
	return file, nil
}

// checkPassword rejects passwords that not all programs understand equally.
func checkPassword(format fileformat.Format, password []byte) error {
	problem, next := "", "store another password in the vault"
	switch {
	case len(password) == 0:
		problem = "is empty"
	case len(password) > limits.KeystorePasswordBytes:
		problem = "has more than " + limits.Bytes(limits.KeystorePasswordBytes)
	case bytes.ContainsAny(password, "\r\n"):
		problem, next = "has a newline", "remove it in the vault, or add the transform trim to the resource"
	case bytes.ContainsFunc(password, func(r rune) bool { return r < ' ' || r > '~' }):
		problem = "has characters other than printable ASCII, which programs encode differently"
	case format == fileformat.JKS && len(password) < minJKSPassword:
		problem = "has fewer than six characters, which keytool does not accept"
	default:
		return nil
	}
	return fault.NewWithNextStep(fault.Malformed, next, "the password for a file of format %s %s", format, problem)
}

// content is what a file holds.
type content struct {
	// key is the private key, PKCS #8.
	key []byte
	// chain has the certificate of the key first.
	chain []*x509.Certificate
}

func contentOf(bundle certificate.Bundle) (content, error) {
	malformed := func(problem, next string) (content, error) {
		return content{}, fault.NewWithNextStep(fault.Malformed, next, "the certificate %s", problem)
	}
	if bundle.Key == nil {
		return malformed("has no private key", "use a reference to a certificate whose key is exportable")
	}
	if bundle.Leaf() == nil {
		return malformed("does not belong to the private key", "add the certificate of the key")
	}
	key, err := x509.MarshalPKCS8PrivateKey(bundle.Key)
	if err != nil {
		return malformed("has a key that PFX and JKS can't hold",
			"use a key that is RSA, Ed25519 or on a NIST curve, or the format raw")
	}
	return content{key, bundle.Chain()}, nil
}

// newRandom returns the bytes for salts and initialization vectors. They are a pseudorandom function of everything that
// the file holds, under the private key. So no two different files share them, and they tell nothing about the key or
// the password.
func (c content) newRandom(format fileformat.Format, password []byte) (io.Reader, error) {
	hash := sha256.New()
	for _, part := range [][]byte{[]byte(format), password} {
		hash.Write([]byte{byte(len(part) >> 8), byte(len(part))})
		hash.Write(part)
	}
	for _, cert := range c.chain {
		hash.Write(cert.Raw)
	}
	stream, err := hkdf.Key(sha256.New, c.key, nil, "akv2k8s keystore "+string(hash.Sum(nil)), randomBytes)
	if err != nil {
		return nil, fault.Wrap(fault.Bug, err, "deriving the salts of a keystore")
	}
	return bytes.NewReader(stream), nil
}

// randomBytes is more than any format needs; a reader at its end is an error, so that nothing is used twice.
const randomBytes = 1024

func (c content) encodeJKS(password []byte, random io.Reader) ([]byte, error) {
	store := jks.New(jks.WithCustomRandomNumberGenerator(random))
	entry := jks.PrivateKeyEntry{PrivateKey: c.key, CreationTime: c.chain[0].NotBefore}
	for _, cert := range issuingChain(c.chain) {
		entry.CertificateChain = append(entry.CertificateChain, jks.Certificate{Type: "X.509", Content: cert.Raw})
	}
	var file bytes.Buffer
	if err := errors.Join(store.SetPrivateKeyEntry(Alias, entry, password), store.Store(&file, password)); err != nil {
		return nil, fault.Wrap(fault.Bug, err, "encoding a JKS")
	}
	return file.Bytes(), nil
}

// issuingChain are the certificates from the first one up to the last whose issuer is there.
func issuingChain(chain []*x509.Certificate) []*x509.Certificate {
	for i := 1; i < len(chain); i++ {
		if !bytes.Equal(chain[i].RawSubject, chain[i-1].RawIssuer) || bytes.Equal(chain[i-1].RawSubject,
			chain[i-1].RawIssuer) {
			return chain[:i]
		}
	}
	return chain
}
