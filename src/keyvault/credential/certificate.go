package credential

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

// parseCertificate reads a PFX or PEM file. It returns the certificates, with the one of the key first, and the key.
// Errors are fault.Invalid and quote nothing from the file.
func parseCertificate(content []byte, password string) ([]*x509.Certificate, crypto.PrivateKey, error) {
	bundle, err := certificate.Parse(content, password)
	switch {
	case errors.Is(err, certificate.ErrWrongPassword) && password == "":
		return nil, nil, fault.NewWithNextStep(fault.Invalid, "set "+envCertPassword,
			"the private key in the certificate file is encrypted")
	case errors.Is(err, certificate.ErrWrongPassword):
		return nil, nil, fault.NewWithNextStep(fault.Invalid,
			"correct "+envCertPassword+whitespaceHint(envCertPassword, password),
			"the password of the private key in the certificate file is wrong")
	case err != nil:
		return nil, nil, fault.NewWithNextStep(fault.Invalid,
			"export certificate and private key into one file, PFX or PEM",
			"the certificate file can't be used: %s", err)
	case bundle.Key == nil:
		return nil, nil, fault.NewWithNextStep(fault.Invalid, "put the certificate and its key into one file",
			"the certificate file has no private key")
	}
	if _, ok := bundle.Key.(*rsa.PrivateKey); !ok {
		return nil, nil, fault.NewWithNextStep(fault.Invalid,
			"create a certificate with an RSA key and register it with the application",
			"the certificate has %s key, but Entra ID accepts only RSA keys", describeKeyType(bundle.Key))
	}
	leaf := bundle.Leaf()
	if leaf == nil {
		return nil, nil, fault.NewWithNextStep(fault.Invalid, "add the certificate of that key to the file",
			"none of the %d certificates in the file matches the private key", len(bundle.Certificates))
	}
	others := slices.DeleteFunc(slices.Clone(bundle.Certificates), leaf.Equal)
	return append([]*x509.Certificate{leaf}, others...), bundle.Key, nil
}

// describeKeyType describes a key that is not RSA, with its article.
func describeKeyType(key crypto.PrivateKey) string {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return "an EC (" + k.Params().Name + ")"
	case ed25519.PrivateKey:
		return "an Ed25519"
	}
	return "another"
}
