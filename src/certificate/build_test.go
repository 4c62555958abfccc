package certificate_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/certificate"
)

// builder builds PFX files without a MAC, for the empty password.
type builder struct{ testing.TB }

func (b builder) marshal(v any) []byte {
	b.Helper()
	der, err := asn1.Marshal(v)
	require.NoError(b, err)
	return der
}

func oid(numbers ...int) asn1.ObjectIdentifier { return numbers }

// explicit wraps content in [0].
func explicit(content []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: content}
}

type typed struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// pbkdf2Of are the parameters of a PBKDF2 derivation with the rounds.
func (b builder) pbkdf2Of(rounds *big.Int, salt []byte) []byte {
	return b.marshal(struct {
		KDF, Encryption pkix.AlgorithmIdentifier
	}{
		pkix.AlgorithmIdentifier{Algorithm: oid(1, 2, 840, 113549, 1, 5, 12), Parameters: asn1.RawValue{FullBytes: b.marshal(struct {
			Salt   []byte
			Rounds *big.Int
			PRF    pkix.AlgorithmIdentifier
		}{salt, rounds, pkix.AlgorithmIdentifier{Algorithm: oid(1, 2, 840, 113549, 2, 9)}})}},
		pkix.AlgorithmIdentifier{Algorithm: oid(2, 16, 840, 1, 101, 3, 4, 1, 42), Parameters: asn1.RawValue{FullBytes: b.marshal(make([]byte, 16))}},
	})
}

// pbes2 is the algorithm identifier. The rounds can differ from those that the content was encrypted with.
func (b builder) pbes2(rounds *big.Int) pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: oid(1, 2, 840, 113549, 1, 5, 13), Parameters: asn1.RawValue{FullBytes: b.pbkdf2Of(rounds, []byte("salt"))}}
}

// seal encrypts with the empty password.
func (b builder) seal(plain []byte, rounds int) []byte {
	b.Helper()
	key, err := pbkdf2.Key(sha256.New, "", []byte("salt"), rounds, 32)
	require.NoError(b, err)
	block, err := aes.NewCipher(key)
	require.NoError(b, err)
	padding := 16 - len(plain)%16
	for range padding {
		plain = append(plain, byte(padding))
	}
	out := make([]byte, len(plain))
	cipher.NewCBCEncrypter(block, make([]byte, 16)).CryptBlocks(out, plain)
	return out
}

// sealedKey is a bag with a key.
func (b builder) sealedKey(algorithm pkix.AlgorithmIdentifier, sealed []byte) typed {
	return typed{oid(1, 2, 840, 113549, 1, 12, 10, 1, 2), explicit(b.marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}{algorithm, sealed}))}
}

func (b builder) plainKey(der []byte) typed {
	return typed{oid(1, 2, 840, 113549, 1, 12, 10, 1, 1), explicit(der)}
}

func (b builder) cert(der []byte) typed {
	return typed{oid(1, 2, 840, 113549, 1, 12, 10, 1, 3), explicit(b.marshal(typed{oid(1, 2, 840, 113549, 1, 9, 22, 1), explicit(b.marshal(der))}))}
}

func (b builder) nested(bags ...typed) typed {
	return typed{oid(1, 2, 840, 113549, 1, 12, 10, 1, 6), explicit(b.marshal(bags))}
}

// safe holds bags, not encrypted.
func (b builder) safe(bags ...typed) typed {
	return typed{oid(1, 2, 840, 113549, 1, 7, 1), explicit(b.marshal(b.marshal(bags)))}
}

// sealedSafe is an encrypted safe with the algorithm identifier and the given content.
func (b builder) sealedSafe(algorithm pkix.AlgorithmIdentifier, sealed []byte) typed {
	return typed{oid(1, 2, 840, 113549, 1, 7, 6), explicit(b.marshal(struct {
		Version int
		Info    any
	}{0, struct {
		Type      asn1.ObjectIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Content   asn1.RawValue
	}{oid(1, 2, 840, 113549, 1, 7, 1), algorithm, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, Bytes: sealed}}}))}
}

func (b builder) pfx(safes ...typed) []byte {
	return b.marshal(struct {
		Version int
		Safe    typed
	}{3, typed{oid(1, 2, 840, 113549, 1, 7, 1), explicit(b.marshal(b.marshal(safes)))}})
}

// leaf is the key and the certificate of ordered.pem.
func (b builder) leaf() (key, cert []byte) {
	b.Helper()
	bundle, err := certificate.Parse(vector(b, "ordered.pem"), "")
	require.NoError(b, err)
	key, err = x509.MarshalPKCS8PrivateKey(bundle.Key)
	require.NoError(b, err)
	return key, bundle.Leaf().Raw
}

// ber rewrites DER with indefinite lengths and constructed octet strings.
func ber(der []byte) []byte {
	var out []byte
	for len(der) > 0 {
		var value asn1.RawValue
		rest, err := asn1.Unmarshal(der, &value)
		if err != nil {
			return append(out, der...)
		}
		head := value.FullBytes[0]
		switch {
		case value.IsCompound:
			out = append(append(append(out, head, 0x80), ber(value.Bytes)...), 0, 0)
		case head == asn1.TagOctetString && len(value.Bytes) > 8:
			out = append(out, head|0x20, 0x80)
			for _, piece := range [][]byte{value.Bytes[:5], {}, value.Bytes[5:]} {
				der, _ := asn1.Marshal(piece)
				out = append(out, der...)
			}
			out = append(out, 0, 0)
		default:
			out = append(out, value.FullBytes...)
		}
		der = rest
	}
	return out
}
