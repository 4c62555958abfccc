package credential

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"

	"github.com/youmark/pkcs8"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// maxCertificateBytes bounds a certificate file before it is parsed.
const maxCertificateBytes = 1 << 20

// parseCertificate reads a PFX or PEM file: the certificates, the one of the key first, and the key. Errors are fault.Invalid and quote
// nothing of the file.
func parseCertificate(content []byte, password string) ([]*x509.Certificate, crypto.PrivateKey, error) {
	if len(content) > maxCertificateBytes {
		return nil, nil, fault.New(fault.Invalid, "the certificate file has %d bytes, more than the %d that are allowed", len(content), maxCertificateBytes)
	}
	if bytes.Contains(content, []byte("-----BEGIN ")) {
		return parsePEM(content, password)
	}
	key, leaf, chain, err := pkcs12.DecodeChain(content, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, nil, fault.New(fault.Invalid, "the password of the PFX file is wrong; correct %s", envCertPassword)
	case err != nil:
		return nil, nil, fault.New(fault.Invalid, "the certificate file is neither PFX with a key nor PEM; export it with its private key")
	}
	return append([]*x509.Certificate{leaf}, chain...), key, nil
}

func parsePEM(content []byte, password string) ([]*x509.Certificate, crypto.PrivateKey, error) {
	var certs []*x509.Certificate
	var key crypto.PrivateKey
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, fault.New(fault.Invalid, "a certificate in the PEM file can't be parsed")
			}
			certs = append(certs, cert)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			var err error
			if key, err = parseKey(block, password); err != nil {
				return nil, nil, err
			}
		}
	}
	if key == nil {
		return nil, nil, fault.New(fault.Invalid, "the PEM file has no private key; put the certificate and its key into one file")
	}
	for i, cert := range certs {
		if owns(key, cert) {
			certs[0], certs[i] = certs[i], certs[0]
			return certs, key, nil
		}
	}
	return nil, nil, fault.New(fault.Invalid, "none of the %d certificates in the PEM file is of its private key", len(certs))
}

// parseKey reads the forms that openssl writes, encrypted ones with the password.
func parseKey(block *pem.Block, password string) (crypto.PrivateKey, error) {
	der := block.Bytes
	//nolint:staticcheck // The old encryption of PEM is weak, but what users have.
	if x509.IsEncryptedPEMBlock(block) {
		var err error
		//nolint:staticcheck // as above
		if der, err = x509.DecryptPEMBlock(block, []byte(password)); err != nil {
			return nil, wrongPassword(password)
		}
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		key, err := pkcs8.ParsePKCS8PrivateKey(der, []byte(password))
		if err != nil {
			return nil, wrongPassword(password)
		}
		return key, nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	return nil, fault.New(fault.Invalid, "the private key in the PEM file can't be parsed; Entra ID takes RSA keys, as PKCS#8 or PKCS#1")
}

func wrongPassword(password string) error {
	if password == "" {
		return fault.New(fault.Invalid, "the private key in the PEM file is encrypted; set %s", envCertPassword)
	}
	return fault.New(fault.Invalid, "the password of the private key in the PEM file is wrong; correct %s", envCertPassword)
}

func owns(key crypto.PrivateKey, cert *x509.Certificate) bool {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return false
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}
