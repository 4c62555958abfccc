package certificate

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"
)

// x509Structure is a certificate (RFC 5280) without the restrictions of the standard library.
type x509Structure struct {
	TBS struct {
		Raw       asn1.RawContent
		Version   int `asn1:"optional,explicit,default:0,tag:0"`
		Serial    *big.Int
		Algorithm pkix.AlgorithmIdentifier
		Issuer    asn1.RawValue
		Validity  struct{ NotBefore, NotAfter time.Time }
		Subject   asn1.RawValue
		PublicKey struct {
			Raw       asn1.RawContent
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}
		IssuerID   asn1.BitString   `asn1:"optional,tag:1"`
		SubjectID  asn1.BitString   `asn1:"optional,tag:2"`
		Extensions []pkix.Extension `asn1:"optional,explicit,tag:3"`
	}
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// opaquePublicKey is the DER of a public key that can only be compared.
type opaquePublicKey string

// Equal implements the comparison of the standard library's public keys.
func (p opaquePublicKey) Equal(other crypto.PublicKey) bool { return other == crypto.PublicKey(p) }

// parseX509 parses a certificate. If the standard library rejects it, for example for its curve or a negative serial
// number, parseX509 reads the fields that chains need and keeps the DER unchanged. No code here verifies signatures.
func parseX509(der []byte) (*x509.Certificate, error) {
	if cert, err := x509.ParseCertificate(der); err == nil {
		return cert, nil
	}
	var s x509Structure
	if rest, err := asn1.Unmarshal(der, &s); err != nil || len(rest) > 0 || s.TBS.Serial == nil {
		return nil, ErrMalformed
	}
	cert := &x509.Certificate{Raw: der, RawTBSCertificate: s.TBS.Raw, RawSubjectPublicKeyInfo: s.TBS.PublicKey.Raw,
		RawSubject: s.TBS.Subject.FullBytes, RawIssuer: s.TBS.Issuer.FullBytes, SerialNumber: s.TBS.Serial,
		Version:   s.TBS.Version + 1,
		NotBefore: s.TBS.Validity.NotBefore, NotAfter: s.TBS.Validity.NotAfter, Signature: s.Signature.RightAlign()}
	var names pkix.RDNSequence
	if rest, err := asn1.Unmarshal(cert.RawSubject, &names); err != nil || len(rest) > 0 {
		return nil, ErrMalformed
	}
	cert.Subject.FillFromRDNSequence(&names)
	cert.PublicKey = parsePublicKey(cert.RawSubjectPublicKeyInfo, s.TBS.PublicKey.Algorithm, s.TBS.PublicKey.Key)
	for _, extension := range s.TBS.Extensions {
		addKeyID(cert, extension)
	}
	return cert, nil
}

func parsePublicKey(der []byte, algorithm pkix.AlgorithmIdentifier, key asn1.BitString) crypto.PublicKey {
	if public, err := x509.ParsePKIXPublicKey(der); err == nil {
		return public
	}
	var curve asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(algorithm.Parameters.FullBytes, &curve); err == nil && curve.Equal(secp256k1OID()) {
		if point, err := parsePoint(key.RightAlign()); err == nil {
			return point
		}
	}
	return opaquePublicKey(der)
}

// addKeyID sets the key identifiers, which link a certificate to its issuer.
func addKeyID(cert *x509.Certificate, extension pkix.Extension) {
	switch extension.Id.String() {
	case "2.5.29.14":
		var id []byte
		if _, err := asn1.Unmarshal(extension.Value, &id); err == nil {
			cert.SubjectKeyId = id
		}
	case "2.5.29.35":
		var issuer struct {
			ID     []byte        `asn1:"optional,tag:0"`
			Name   asn1.RawValue `asn1:"optional,tag:1"`
			Serial asn1.RawValue `asn1:"optional,tag:2"`
		}
		if _, err := asn1.Unmarshal(extension.Value, &issuer); err == nil {
			cert.AuthorityKeyId = issuer.ID
		}
	}
}
