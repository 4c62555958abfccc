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
	decrypter
	bundle Bundle
}

// parsePFX returns the certificates in the order of the file, and the one private key.
func (p *Parser) parsePFX(content []byte, password string) (Bundle, error) {
	var file pfxPDU
	if err := unmarshalBER(content, &file); err != nil || file.Version != 3 {
		return Bundle{}, ErrMalformed
	}
	r := &pfxReader{decrypter: p.newDecrypter(password)}
	safes, err := r.authenticatedSafes(file)
	if err != nil {
		return Bundle{}, err
	}
	for _, safe := range safes {
		if err := r.addSafe(safe); err != nil {
			return Bundle{}, err
		}
	}
	switch {
	case len(r.bundle.Certificates) == 0:
		return Bundle{}, ErrNoCertificate
	case r.bundle.Key == nil:
		return Bundle{}, ErrNoKey
	}
	return r.bundle, nil
}

// IsPFX reports whether the content has the structure of a PFX file.
func IsPFX(content []byte) bool {
	var file pfxPDU
	return len(content) > 0 && content[0] == asn1.TagSequence|tagConstructed && unmarshalBER(content, &file) == nil &&
		file.Version == 3
}

// unmarshalBER unmarshals BER. Trailing data is an error.
func unmarshalBER(content []byte, into any) error {
	der, err := toDER(content)
	if err != nil {
		return err
	}
	if rest, err := asn1.Unmarshal(der, into); err != nil || len(rest) > 0 {
		return ErrMalformed
	}
	return nil
}

// authenticatedSafes verifies the MAC, if the file has one, and returns the safes.
func (r *pfxReader) authenticatedSafes(file pfxPDU) ([]contentInfo, error) {
	switch file.AuthSafe.Type.String() {
	case oidData:
	case oidSignedData:
		return nil, newUnsupportedError("a PFX with a digital signature in place of a MAC")
	default:
		return nil, ErrMalformed
	}
	var content []byte
	if err := unmarshalBER(file.AuthSafe.Content.Bytes, &content); err != nil {
		return nil, err
	}
	if len(file.MacData.Mac.Algorithm.Algorithm) > 0 {
		if err := r.verifyMAC(file.MacData, content); err != nil {
			return nil, err
		}
	}
	var safes []contentInfo
	return safes, unmarshalBER(content, &safes)
}

func (r *pfxReader) addSafe(safe contentInfo) error {
	var content []byte
	switch safe.Type.String() {
	case oidData:
		if err := unmarshalBER(safe.Content.Bytes, &content); err != nil {
			return err
		}
	case oidEncryptedData:
		var data encryptedData
		if err := unmarshalBER(safe.Content.Bytes, &data); err != nil {
			return err
		}
		sealed, err := implicitOctetString(data.Info.Content)
		if err != nil {
			return err
		}
		if content, err = r.decryptContent(data.Info.Algorithm, sealed); err != nil {
			return err
		}
	case oidEnvelopedData:
		return newUnsupportedError("a PFX that is encrypted for a public key")
	default:
		return ErrMalformed
	}
	return r.addBags(content, limits.NestedSafes)
}

// implicitOctetString returns the content of an implicitly tagged octet string, primitive or constructed.
func implicitOctetString(value asn1.RawValue) ([]byte, error) {
	if !value.IsCompound {
		return value.Bytes, nil
	}
	var pieces [][]byte
	for rest := value.Bytes; len(rest) > 0; {
		h, content, ok := readBERHeader(rest)
		if !ok || h.length < 0 {
			return nil, ErrMalformed
		}
		end := len(rest) - len(content) + h.length
		pieces = append(pieces, rest[:end])
		rest = rest[end:]
	}
	return joinOctetStrings(pieces)
}

func (r *pfxReader) addBags(content []byte, levels int) error {
	var bags []safeBag
	if err := unmarshalBER(content, &bags); err != nil {
		return err
	}
	for _, bag := range bags {
		if err := r.addBag(bag, levels); err != nil {
			return err
		}
	}
	return nil
}

// addBag adds a certificate or a private key to the bundle. It skips revocation lists, secrets and unknown bags.
func (r *pfxReader) addBag(bag safeBag, levels int) error {
	switch bag.Type.String() {
	case oidCertBag:
		var holder certBag
		if err := unmarshalBER(bag.Value.Bytes, &holder); err != nil {
			return err
		}
		if holder.Type.String() != oidX509Certificate {
			return newUnsupportedError("a certificate that is not X.509")
		}
		return r.bundle.addCertificate(holder.Data)
	case oidKeyBag:
		return r.setKey(func() (crypto.Signer, error) { return parseKeyDER(bag.Value.Bytes) })
	case oidShroudedKeyBag:
		return r.setKey(func() (crypto.Signer, error) { return r.parseEncryptedKey(bag.Value.Bytes) })
	case oidSafeContentsBag:
		if levels == 0 {
			return ErrMalformed
		}
		return r.addBags(bag.Value.Bytes, levels-1)
	}
	return nil
}

// setKey sets the private key of the bundle. A second key is an error, and is not decrypted.
func (r *pfxReader) setKey(parse func() (crypto.Signer, error)) (err error) {
	if r.bundle.Key != nil {
		return ErrMultipleKeys
	}
	r.bundle.Key, err = parse()
	return err
}

// addCertificate parses a certificate and appends it. It returns an error beyond limits.Certificates.
func (b *Bundle) addCertificate(der []byte) error {
	if len(b.Certificates) == limits.Certificates {
		return ErrTooManyCertificates
	}
	cert, err := parseX509(der)
	if err != nil {
		return err
	}
	b.Certificates = append(b.Certificates, cert)
	return nil
}
