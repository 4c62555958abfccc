package credential

import (
	"crypto"
	"crypto/x509"
	"errors"
	"slices"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

// parseCertificate reads a PFX or PEM file: the certificates, the one of the key first, and the key. Errors are fault.Invalid and quote
// nothing of the file.
func parseCertificate(content []byte, password string) ([]*x509.Certificate, crypto.PrivateKey, error) {
	bundle, err := certificate.Parse(content, password)
	switch {
	case errors.Is(err, certificate.ErrPassword) && password == "":
		return nil, nil, fault.New(fault.Invalid, "the private key in the certificate file is encrypted; set %s", envCertPassword)
	case errors.Is(err, certificate.ErrPassword):
		return nil, nil, fault.New(fault.Invalid, "the password of the private key in the certificate file is wrong; correct %s", envCertPassword)
	case err != nil:
		return nil, nil, fault.New(fault.Invalid, "the certificate file can't be used: %s; export certificate and private key into one file, PFX or PEM", err)
	case bundle.Key == nil:
		return nil, nil, fault.New(fault.Invalid, "the certificate file has no private key; put the certificate and its key into one file")
	}
	leaf := bundle.Leaf()
	if leaf == nil {
		return nil, nil, fault.New(fault.Invalid, "none of the %d certificates in the file is of its private key", len(bundle.Certificates))
	}
	others := slices.DeleteFunc(slices.Clone(bundle.Certificates), leaf.Equal)
	return append([]*x509.Certificate{leaf}, others...), bundle.Key, nil
}
