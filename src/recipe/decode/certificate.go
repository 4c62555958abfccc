package decode

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// chainOrderServerFirst is the chain order that begins with the certificate of the private key.
const chainOrderServerFirst = "ensureserverfirst"

// Certificate is the type of a certificate, with or without its private key.
const Certificate recipe.ObjectType = "certificate"

// certificateObject is the object type of a certificate. Its private key is in the secret of the same name.
type certificateObject struct{ commonObject }

func (certificateObject) typeName() recipe.ObjectType { return Certificate }

func (certificateObject) vaultKind(needsPrivateKey bool) keyvault.Kind {
	if needsPrivateKey {
		return keyvault.KindSecret
	}
	return keyvault.KindCertificate
}

func (certificateObject) checkOutput(f outputFormat) error {
	if f.secretType == typeTLS {
		return nil
	}
	return f.requireDataKey(Certificate)
}

func (certificateObject) needsPrivateKey(f outputFormat) bool {
	return f.secretType == typeTLS || f.secretType == typeOpaque
}

func (certificateObject) outputData(f outputFormat, item FetchedItem, left *budget) (map[string]keyvault.Value, error) {
	return chargeValues(left)(f.certificateValues(item.Object, left.parser.Parse))
}

func (certificateObject) folderFormat(recipe.Item) outputFormat {
	return outputFormat{secretType: typeTLS, chainOrder: chainOrderServerFirst}
}

// fingerprint returns the public certificate, which is the same for an object of either kind. A renewed certificate
// always differs.
func (certificateObject) fingerprint(item FetchedItem, left *budget) (keyvault.Value, error) {
	return certificatePEM(item.Object, left.parser.Parse)
}

func (certificateObject) queryParts() []string {
	return []string{dataKeyCertificate, dataKeyPrivateKey, formatRaw}
}

func (certificateObject) needsPrivateKeyForPart(part string) bool { return part == dataKeyPrivateKey }

func (certificateObject) variableValue(q Query, o keyvault.Object) (keyvault.Value, error) {
	switch q.Part {
	case dataKeyPrivateKey:
		return privateKeyPEM(o)
	case formatRaw:
		return certificateBase64(o)
	}
	return certificatePEM(o, certificate.Parse)
}

// parseCertificate is certificate.Parse, or that of a certificate.Parser.
type parseCertificate func(content []byte, password string) (certificate.Bundle, error)

func (f outputFormat) certificateValues(o keyvault.Object, parse parseCertificate) (map[string]keyvault.Value, error) {
	switch f.secretType {
	case typeTLS:
		return certificateAndKey(o.Value, f.chainOrder, parse)
	case typeOpaque:
		if _, err := parseWithKey(o.Value, parse); err != nil {
			return nil, err
		}
		return f.singleValue(keyvault.NewValue(decodePFXBase64(o.Value.Reveal())), nil)
	}
	return f.singleValue(certificatePEM(o, parse))
}

// certificateAndKey returns the certificate chain and the private key of a base64-encoded PFX, or of a PEM.
func certificateAndKey(v keyvault.Value, order string, parse parseCertificate) (map[string]keyvault.Value, error) {
	bundle, err := parseWithKey(v, parse)
	if err != nil {
		return nil, err
	}
	chain := bundle.Certificates
	if order == chainOrderServerFirst {
		chain = bundle.Chain()
	}
	key, err := certificate.EncodeKey(bundle.Key)
	if err != nil {
		return nil, certificateError(err)
	}
	return map[string]keyvault.Value{dataKeyCertificate: keyvault.NewValue(certificate.EncodeCertificates(chain...)),
		dataKeyPrivateKey: keyvault.NewValue(key)}, nil
}

// parseWithKey parses a base64-encoded PFX, or a PEM, that has a private key and its certificate.
func parseWithKey(v keyvault.Value, parse parseCertificate) (certificate.Bundle, error) {
	bundle, err := parse(decodePFXBase64(v.Reveal()), "")
	switch {
	case err != nil:
		return bundle, certificateError(err)
	case bundle.Key == nil:
		return bundle, certificateError(certificate.ErrNoKey)
	case bundle.Leaf() == nil:
		return bundle, fault.New(fault.Malformed,
			"none of the %d certificates belongs to the private key; add the certificate of the key",
			len(bundle.Certificates))
	}
	return bundle, nil
}

// decodePFXBase64 decodes the base64 of a PFX. It returns a PEM, or content that is not base64, unchanged.
func decodePFXBase64(content []byte) []byte {
	if certificate.IsPEM(content) {
		return content
	}
	plain, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(bytes.TrimPrefix(content, []byte("\ufeff"))))
	if err != nil {
		return content
	}
	return plain
}

// certificateError returns the error for a certificate that can't be read, with the next step.
func certificateError(err error) error {
	next := "store a base64-encoded PFX or a PEM in the vault"
	switch {
	case errors.Is(err, certificate.ErrWrongPassword):
		next = "store it without a password; the vault protects it"
	case errors.Is(err, certificate.ErrNoKey):
		next = "make the key exportable in the certificate's policy and issue a new version, or use only the public " +
			"certificate: remove spec.output.secret.type and set dataKey"
	case errors.Is(err, certificate.ErrMultipleKeys):
		next = "keep one key and its certificates"
	case errors.Is(err, certificate.ErrTooManyRoundsOfAll):
		next = "use several resources, or export the certificates again with fewer rounds, such as openssl pkcs12 " +
			"-export -iter 2048"
	case errors.Is(err, certificate.ErrTooManyRounds):
		next = "export it again with fewer rounds, such as openssl pkcs12 -export -iter 2048"
	case errors.Is(err, certificate.ErrUnsupported):
		next = "export it in another form, such as a PEM or a PFX with AES-256 and SHA-256, with a key that is RSA, " +
			"Ed25519 or on a NIST curve"
	case errors.Is(err, certificate.ErrTooManyCertificates), errors.Is(err, certificate.ErrKeyTooLarge),
		errors.Is(err, certificate.ErrTooLarge):
		next = "store only the certificate, its issuers and one private key"
	}
	return &fault.Error{Kind: fault.Malformed, Operation: "reading the certificate", Cause: err, Next: next}
}

// leafDER returns the DER of the public certificate, for an object of either kind.
func leafDER(o keyvault.Object, parse parseCertificate) ([]byte, error) {
	if o.Ref.Kind == keyvault.KindCertificate {
		return o.Value.Reveal(), nil
	}
	bundle, err := parse(decodePFXBase64(o.Value.Reveal()), "")
	if err != nil {
		return nil, certificateError(err)
	}
	if first := bundle.Leaf(); first != nil {
		return first.Raw, nil
	}
	return bundle.Certificates[0].Raw, nil
}

func certificatePEM(o keyvault.Object, parse parseCertificate) (keyvault.Value, error) {
	der, err := leafDER(o, parse)
	if err != nil {
		return keyvault.Value{}, err
	}
	return keyvault.NewValue(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

// privateKeyPEM returns the private key of a certificate that was read as a secret.
func privateKeyPEM(o keyvault.Object) (keyvault.Value, error) {
	both, err := certificateAndKey(o.Value, "", certificate.Parse)
	return both[dataKeyPrivateKey], err
}

// certificateBase64 returns the base64 of the DER, because the DER contains NUL bytes, which a variable can't hold.
func certificateBase64(o keyvault.Object) (keyvault.Value, error) {
	der, err := leafDER(o, certificate.Parse)
	if err != nil {
		return keyvault.Value{}, err
	}
	return keyvault.NewValue(base64.StdEncoding.AppendEncode(nil, der)), nil
}
