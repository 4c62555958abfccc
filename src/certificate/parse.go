package certificate

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"strings"

	"github.com/youmark/pkcs8"
	"software.sslmate.com/src/go-pkcs12"
)

// parsePEM takes blocks in any order and leaves out what is neither certificate nor private key.
func parsePEM(content []byte, password string) (Bundle, error) {
	var b Bundle
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return Bundle{}, ErrMalformed
			}
			b.Certificates = append(b.Certificates, cert)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			if b.Key != nil {
				return Bundle{}, ErrKeys
			}
			key, err := parseKey(block, password)
			if err != nil {
				return Bundle{}, err
			}
			b.Key = key
		}
	}
	if len(b.Certificates) == 0 {
		return Bundle{}, ErrEmpty
	}
	return b, nil
}

// parseKey reads the forms that openssl writes, encrypted ones with the password.
func parseKey(block *pem.Block, password string) (crypto.Signer, error) {
	der := block.Bytes
	//nolint:staticcheck // The old encryption of PEM is weak, but what users have.
	if x509.IsEncryptedPEMBlock(block) {
		var err error
		//nolint:staticcheck // The old encryption of PEM is weak, but what users have.
		if der, err = x509.DecryptPEMBlock(block, []byte(password)); err != nil {
			return nil, ErrPassword
		}
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		if !affordable(der) {
			return nil, ErrMalformed
		}
		key, err := pkcs8.ParsePKCS8PrivateKey(der, []byte(password))
		if err != nil {
			return nil, ErrPassword
		}
		return signer(key)
	}
	return parseDER(der)
}

// parseDER reads the three forms of a key that is not encrypted.
func parseDER(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return signer(key)
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, ErrKey
}

// IsKey says whether the content is a private key in DER: PKCS #8, PKCS #1 or SEC 1.
func IsKey(content []byte) bool {
	_, err := parseDER(content)
	return err == nil
}

func signer(key any) (crypto.Signer, error) {
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, ErrKey
	}
	return s, nil
}

// parsePFX gives the certificates in the order of the file.
func parsePFX(content []byte, password string) (b Bundle, err error) {
	// The library is careful, but it reads what strangers wrote.
	defer func() {
		if recover() != nil {
			b, err = Bundle{}, ErrMalformed
		}
	}()
	if !affordable(content) {
		return Bundle{}, ErrMalformed
	}
	key, first, others, err := pkcs12.DecodeChain(content, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return Bundle{}, ErrPassword
	case err != nil:
		return Bundle{}, why(err)
	}
	if b.Key, err = signer(key); err != nil {
		return Bundle{}, err
	}
	b.Certificates = append([]*x509.Certificate{first}, others...)
	return b, nil
}

// why knows the library's texts for what it has no error value; the library's version is pinned, and tests hold the texts.
func why(err error) error {
	switch err.Error() {
	case "pkcs12: private key missing":
		return ErrNoKey
	case "pkcs12: certificate missing":
		return ErrEmpty
	case "pkcs12: expected exactly one key bag":
		return ErrKeys
	}
	return ErrMalformed
}

// maxIterations bounds the work that a file may ask for before its password is known to fit; the most that common tools write is 1,000,000.
const maxIterations = 1_000_000

// maxDepth bounds how deep the structure is looked at.
const maxDepth = 32

// affordable says whether no key derivation in the readable layers of the DER asks for more than maxIterations. A count of iterations is the
// integer that follows the octets of a salt.
func affordable(der []byte) bool { return cheap(der, maxDepth) }

func cheap(der []byte, depth int) bool {
	var before int
	for len(der) > 0 && depth > 0 {
		var value asn1.RawValue
		rest, err := asn1.Unmarshal(der, &value)
		if err != nil {
			return true // no structure: content, or for the parser to refuse
		}
		if before == asn1.TagOctetString && value.Tag == asn1.TagInteger && value.Class == asn1.ClassUniversal {
			var count int
			if _, err := asn1.Unmarshal(value.FullBytes, &count); err != nil || count > maxIterations {
				return false
			}
		}
		if (value.IsCompound || value.Tag == asn1.TagOctetString) && !cheap(value.Bytes, depth-1) {
			return false
		}
		before, der = value.Tag, rest
	}
	return true
}
