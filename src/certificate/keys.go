package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Object identifiers of key algorithms and curves.
const (
	oidEC        = "1.2.840.10045.2.1"
	oidSecp256k1 = "1.3.132.0.10"
)

// pkcs8Key is a PrivateKeyInfo (RFC 5208).
type pkcs8Key struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	Key        []byte
	Attributes asn1.RawValue `asn1:"optional,tag:0"`
	Public     asn1.RawValue `asn1:"optional,tag:1"`
}

// sec1Key is an ECPrivateKey (RFC 5915).
type sec1Key struct {
	Version int
	Key     []byte
	Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	Public  asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

// parseKey parses the private key of a PEM block. It decrypts the key with the password if needed.
func (p *Parser) parseKey(block *pem.Block, password string) (crypto.Signer, error) {
	if block.Type == "OPENSSH PRIVATE KEY" {
		return nil, newUnsupportedError("a private key in the OpenSSH format")
	}
	der := block.Bytes
	//nolint:staticcheck // The old PEM encryption is weak, but users have such files.
	if x509.IsEncryptedPEMBlock(block) {
		var err error
		//nolint:staticcheck // The old PEM encryption is weak, but users have such files.
		if der, err = x509.DecryptPEMBlock(block, []byte(password)); err != nil {
			return nil, ErrWrongPassword
		}
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		opener := p.newDecrypter(password)
		return opener.parseEncryptedKey(der)
	}
	return parseKeyDER(der)
}

// parseEncryptedKey decrypts and parses a private key. A wrong password can produce valid padding by chance, but no
// key: the error then is about the password.
func (o *decrypter) parseEncryptedKey(sealed []byte) (crypto.Signer, error) {
	der, err := o.decryptKey(sealed)
	if err != nil {
		return nil, err
	}
	key, err := parseKeyDER(der)
	if err == ErrInvalidKey { //nolint:errorlint // this error itself, not one that wraps it
		err = o.decryptionError()
	}
	return key, err
}

// parseKeyDER parses an unencrypted private key in PKCS #8, PKCS #1 or SEC 1. It checks the size first, because the
// cost of validating a key grows with the third power of its size.
func parseKeyDER(der []byte) (crypto.Signer, error) {
	if len(der) > limits.PrivateKeyBytes {
		return nil, ErrKeyTooLarge
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return asSigner(key)
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return parseOtherKey(der)
}

// parseOtherKey parses keys on the curve secp256k1. For other keys, its error names the algorithm or curve.
func parseOtherKey(der []byte) (crypto.Signer, error) {
	var wrapped pkcs8Key
	if unmarshalBER(der, &wrapped) != nil {
		return parseSEC1(der, nil)
	}
	if wrapped.Algorithm.Algorithm.String() != oidEC {
		return nil, unsupportedKeyError(wrapped.Algorithm.Algorithm.String())
	}
	var curve asn1.ObjectIdentifier
	if unmarshalBER(wrapped.Algorithm.Parameters.FullBytes, &curve) != nil {
		return nil, newUnsupportedError("an elliptic curve with explicit parameters")
	}
	return parseSEC1(wrapped.Key, curve)
}

func parseSEC1(der []byte, curve asn1.ObjectIdentifier) (crypto.Signer, error) {
	var key sec1Key
	if unmarshalBER(der, &key) != nil {
		return nil, ErrInvalidKey
	}
	if len(curve) == 0 {
		curve = key.Curve
	}
	switch curve.String() {
	case oidSecp256k1:
		return newSecp256k1Key(key.Key)
	case "":
		return nil, ErrInvalidKey
	}
	return nil, unsupportedKeyError(curve.String())
}

// IsPrivateKey reports whether the content has the DER structure of a private key: PKCS #8 (encrypted or not), PKCS #1,
// SEC 1 or DSA, on any curve. It does not validate the key.
func IsPrivateKey(content []byte) bool {
	if len(content) > limits.PrivateKeyBytes || len(content) == 0 || content[0] != asn1.TagSequence|tagConstructed {
		return false
	}
	var wrapped pkcs8Key
	var sealed encryptedKey
	var sec1 sec1Key
	switch {
	case unmarshalBER(content, &wrapped) == nil:
		return true
	case unmarshalBER(content, &sec1) == nil:
		return sec1.Version == 1
	case unmarshalBER(content, &sealed) == nil:
		return isPasswordEncryption(sealed.Algorithm.Algorithm.String())
	}
	return isNumberSequence(content)
}

// isNumberSequence reports whether the content is a sequence of integers as in PKCS #1 and DSA. An RSA key has a
// version and at least eight integers, a DSA key a version and five.
func isNumberSequence(content []byte) bool {
	const fewest = 6
	var numbers []asn1.RawValue
	if unmarshalBER(content, &numbers) != nil || len(numbers) < fewest || len(numbers[0].Bytes) != 1 ||
		numbers[0].Bytes[0] > 1 {
		return false
	}
	for _, number := range numbers[:fewest] {
		if number.Tag != asn1.TagInteger || number.Class != asn1.ClassUniversal {
			return false
		}
	}
	return true
}

func asSigner(key any) (crypto.Signer, error) {
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, newUnsupportedError("X25519 or X448, which have no certificates")
	}
	return s, nil
}

// EncodeKey encodes a private key as PEM: PKCS #1 for RSA, SEC 1 for EC, PKCS #8 for other keys.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	block := &pem.Block{}
	var err error
	switch k := key.(type) {
	case *rsa.PrivateKey:
		block.Type, block.Bytes = "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k)
	case *ecdsa.PrivateKey:
		block.Type = "EC PRIVATE KEY"
		block.Bytes, err = x509.MarshalECPrivateKey(k)
	case *secp256k1Key:
		block.Type = "EC PRIVATE KEY"
		block.Bytes, err = k.marshalSEC1()
	default:
		block.Type = "PRIVATE KEY"
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(k)
	}
	if err != nil {
		return nil, ErrInvalidKey
	}
	return pem.EncodeToMemory(block), nil
}
