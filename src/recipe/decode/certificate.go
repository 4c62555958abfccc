package decode

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// serverFirst is the chain order that begins with the certificate of the private key.
const serverFirst = "ensureserverfirst"

func (s shape) ofCertificate(o keyvault.Object) (map[string]keyvault.Value, error) {
	switch s.secretType {
	case typeTLS:
		return pair(o.Value, s.chainOrder)
	case typeOpaque:
		if _, err := withKey(o.Value); err != nil {
			return nil, err
		}
		return s.one(keyvault.NewValue(unwrapped(o.Value.Reveal())), nil)
	}
	return s.one(publicPEM(o))
}

// pair returns the certificate chain and the private key of a base64-encoded PFX, or of a PEM.
func pair(v keyvault.Value, order string) (map[string]keyvault.Value, error) {
	bundle, err := withKey(v)
	if err != nil {
		return nil, err
	}
	chain := bundle.Certificates
	if order == serverFirst {
		chain = bundle.Chain()
	}
	key, err := certificate.EncodeKey(bundle.Key)
	if err != nil {
		return nil, refused(err)
	}
	return map[string]keyvault.Value{keyCertificate: keyvault.NewValue(certificate.EncodeCertificates(chain...)),
		keyPrivate: keyvault.NewValue(key)}, nil
}

// withKey parses a base64-encoded PFX, or a PEM, that has a private key and its certificate.
func withKey(v keyvault.Value) (certificate.Bundle, error) {
	bundle, err := certificate.Parse(unwrapped(v.Reveal()), "")
	switch {
	case err != nil:
		return bundle, refused(err)
	case bundle.Key == nil:
		return bundle, refused(certificate.ErrNoKey)
	case bundle.Leaf() == nil:
		return bundle, fault.New(fault.Malformed,
			"none of the %d certificates belongs to the private key; add the certificate of the key",
			len(bundle.Certificates))
	}
	return bundle, nil
}

// unwrapped decodes the base64 of a PFX. It returns a PEM, or content that is not base64, unchanged.
func unwrapped(content []byte) []byte {
	if certificate.IsPEM(content) {
		return content
	}
	plain, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(bytes.TrimPrefix(content, []byte("\ufeff"))))
	if err != nil {
		return content
	}
	return plain
}

// refused returns the error for a certificate that can't be read, with the next step.
func refused(err error) error {
	next := "store a base64-encoded PFX or a PEM in the vault"
	switch {
	case errors.Is(err, certificate.ErrPassword):
		next = "store it without a password; the vault protects it"
	case errors.Is(err, certificate.ErrNoKey):
		next = "make the key exportable in the certificate's policy and issue a new version, or use only the public " +
			"certificate: remove spec.output.secret.type and set dataKey"
	case errors.Is(err, certificate.ErrKeys):
		next = "keep one key and its certificates"
	case errors.Is(err, certificate.ErrRounds):
		next = "export it again with fewer rounds, such as openssl pkcs12 -export -iter 2048"
	case errors.Is(err, certificate.ErrUnsupported):
		next = "export it in another form, such as a PEM or a PFX with AES-256 and SHA-256, with a key that is RSA, " +
			"Ed25519 or on a NIST curve"
	case errors.Is(err, certificate.ErrTooMany), errors.Is(err, certificate.ErrKeySize),
		errors.Is(err, certificate.ErrTooLarge):
		next = "store only the certificate, its issuers and one private key"
	}
	return &fault.Error{Kind: fault.Malformed, Doing: "reading the certificate", Cause: err, Next: next}
}

// leaf returns the DER of the public certificate, for an object of either kind.
func leaf(o keyvault.Object) ([]byte, error) {
	if o.Ref.Kind == keyvault.KindCertificate {
		return o.Value.Reveal(), nil
	}
	bundle, err := certificate.Parse(unwrapped(o.Value.Reveal()), "")
	if err != nil {
		return nil, refused(err)
	}
	if first := bundle.Leaf(); first != nil {
		return first.Raw, nil
	}
	return bundle.Certificates[0].Raw, nil
}

func publicPEM(o keyvault.Object) (keyvault.Value, error) {
	der, err := leaf(o)
	if err != nil {
		return keyvault.Value{}, err
	}
	return keyvault.NewValue(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

// privatePEM returns the private key of a certificate that was read as a secret.
func privatePEM(o keyvault.Object) (keyvault.Value, error) {
	both, err := pair(o.Value, "")
	return both[keyPrivate], err
}

// rawCertificate returns the base64 of the DER, because the DER contains NUL bytes, which a variable can't hold.
func rawCertificate(o keyvault.Object) (keyvault.Value, error) {
	der, err := leaf(o)
	if err != nil {
		return keyvault.Value{}, err
	}
	return keyvault.NewValue(base64.StdEncoding.AppendEncode(nil, der)), nil
}
