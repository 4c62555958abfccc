package certificate

import (
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Object identifiers of content types and bag types (RFC 7292).
const (
	oidData          = "1.2.840.113549.1.7.1"
	oidSignedData    = "1.2.840.113549.1.7.2"
	oidEnvelopedData = "1.2.840.113549.1.7.3"
	oidEncryptedData = "1.2.840.113549.1.7.6"

	oidKeyBag          = "1.2.840.113549.1.12.10.1.1"
	oidShroudedKeyBag  = "1.2.840.113549.1.12.10.1.2"
	oidCertBag         = "1.2.840.113549.1.12.10.1.3"
	oidSafeContentsBag = "1.2.840.113549.1.12.10.1.6"
	oidX509Certificate = "1.2.840.113549.1.9.22.1"
)

// The structures of RFC 7292 and RFC 2315.
type (
	pfxPDU struct {
		Version  int
		AuthSafe contentInfo
		MacData  macData `asn1:"optional"`
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	macData struct {
		Mac struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		Salt       []byte
		Iterations *big.Int `asn1:"optional"`
	}
	encryptedData struct {
		Version int
		Info    struct {
			Type      asn1.ObjectIdentifier
			Algorithm pkix.AlgorithmIdentifier
			Content   asn1.RawValue `asn1:"optional"`
		}
		Attributes asn1.RawValue `asn1:"optional"`
	}
	safeBag struct {
		Type       asn1.ObjectIdentifier
		Value      asn1.RawValue `asn1:"tag:0,explicit"`
		Attributes asn1.RawValue `asn1:"optional"`
	}
	certBag struct {
		Type asn1.ObjectIdentifier
		Data []byte `asn1:"tag:0,explicit"`
	}
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
)

// pfxReader reads a PFX layer by layer. It charges each key derivation before running it, also in a layer that is
// itself encrypted.
type pfxReader struct {
	opener
	bundle Bundle
}

// parsePFX returns the certificates in the order of the file, and the one private key.
func parsePFX(content []byte, password string) (Bundle, error) {
	var file pfxPDU
	if err := decode(content, &file); err != nil || file.Version != 3 {
		return Bundle{}, ErrMalformed
	}
	r := &pfxReader{opener: newOpener(password)}
	safes, err := r.authenticated(file)
	if err != nil {
		return Bundle{}, err
	}
	for _, safe := range safes {
		if err := r.safe(safe); err != nil {
			return Bundle{}, err
		}
	}
	switch {
	case len(r.bundle.Certificates) == 0:
		return Bundle{}, ErrEmpty
	case r.bundle.Key == nil:
		return Bundle{}, ErrNoKey
	}
	return r.bundle, nil
}

// IsPFX reports whether the content has the structure of a PFX file.
func IsPFX(content []byte) bool {
	var file pfxPDU
	return len(content) > 0 && content[0] == asn1.TagSequence|tagConstructed && decode(content, &file) == nil &&
		file.Version == 3
}

// decode unmarshals BER. Trailing data is an error.
func decode(content []byte, into any) error {
	der, err := toDER(content)
	if err != nil {
		return err
	}
	if rest, err := asn1.Unmarshal(der, into); err != nil || len(rest) > 0 {
		return ErrMalformed
	}
	return nil
}

// authenticated verifies the MAC, if the file has one, and returns the safes.
func (r *pfxReader) authenticated(file pfxPDU) ([]contentInfo, error) {
	switch file.AuthSafe.Type.String() {
	case oidData:
	case oidSignedData:
		return nil, unsupported("a PFX with a digital signature in place of a MAC")
	default:
		return nil, ErrMalformed
	}
	var content []byte
	if err := decode(file.AuthSafe.Content.Bytes, &content); err != nil {
		return nil, err
	}
	if len(file.MacData.Mac.Algorithm.Algorithm) > 0 {
		if err := r.verify(file.MacData, content); err != nil {
			return nil, err
		}
	}
	var safes []contentInfo
	return safes, decode(content, &safes)
}

func (r *pfxReader) safe(safe contentInfo) error {
	var content []byte
	switch safe.Type.String() {
	case oidData:
		if err := decode(safe.Content.Bytes, &content); err != nil {
			return err
		}
	case oidEncryptedData:
		var data encryptedData
		if err := decode(safe.Content.Bytes, &data); err != nil {
			return err
		}
		sealed, err := implicitOctets(data.Info.Content)
		if err != nil {
			return err
		}
		if content, err = r.open(data.Info.Algorithm, sealed); err != nil {
			return err
		}
	case oidEnvelopedData:
		return unsupported("a PFX that is encrypted for a public key")
	default:
		return ErrMalformed
	}
	return r.bags(content, limits.NestedSafes)
}

// implicitOctets returns the content of an implicitly tagged octet string, primitive or constructed.
func implicitOctets(value asn1.RawValue) ([]byte, error) {
	if !value.IsCompound {
		return value.Bytes, nil
	}
	var pieces [][]byte
	for rest := value.Bytes; len(rest) > 0; {
		h, content, ok := readHeader(rest)
		if !ok || h.length < 0 {
			return nil, ErrMalformed
		}
		end := len(rest) - len(content) + h.length
		pieces = append(pieces, rest[:end])
		rest = rest[end:]
	}
	return join(pieces)
}

func (r *pfxReader) bags(content []byte, levels int) error {
	var bags []safeBag
	if err := decode(content, &bags); err != nil {
		return err
	}
	for _, bag := range bags {
		if err := r.bag(bag, levels); err != nil {
			return err
		}
	}
	return nil
}

// bag adds a certificate or a private key to the bundle. It skips revocation lists, secrets and unknown bags.
func (r *pfxReader) bag(bag safeBag, levels int) error {
	switch bag.Type.String() {
	case oidCertBag:
		var holder certBag
		if err := decode(bag.Value.Bytes, &holder); err != nil {
			return err
		}
		if holder.Type.String() != oidX509Certificate {
			return unsupported("a certificate that is not X.509")
		}
		return r.bundle.add(holder.Data)
	case oidKeyBag:
		return r.key(func() (crypto.Signer, error) { return parseKeyDER(bag.Value.Bytes) })
	case oidShroudedKeyBag:
		return r.key(func() (crypto.Signer, error) { return r.parseSealedKey(bag.Value.Bytes) })
	case oidSafeContentsBag:
		if levels == 0 {
			return ErrMalformed
		}
		return r.bags(bag.Value.Bytes, levels-1)
	}
	return nil
}

// key sets the private key of the bundle. A second key is an error, and is not decrypted.
func (r *pfxReader) key(parse func() (crypto.Signer, error)) (err error) {
	if r.bundle.Key != nil {
		return ErrKeys
	}
	r.bundle.Key, err = parse()
	return err
}

// add parses a certificate and appends it. It returns an error beyond limits.Certificates.
func (b *Bundle) add(der []byte) error {
	if len(b.Certificates) == limits.Certificates {
		return ErrTooMany
	}
	cert, err := parseX509(der)
	if err != nil {
		return err
	}
	b.Certificates = append(b.Certificates, cert)
	return nil
}
