package decode

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// Key is the type of a key. Only its public part can be read.
const Key recipe.ObjectType = "key"

// keyObject is the object type of a key.
type keyObject struct{ commonObject }

func (keyObject) typeName() recipe.ObjectType { return Key }

func (keyObject) vaultKind(bool) keyvault.Kind { return keyvault.KindKey }

func (keyObject) checkOutput(f outputFormat) error {
	if f.secretType == typeTLS {
		return fault.New(fault.Invalid,
			"%s.type %q needs a certificate, but the object is a key; set the object's type to certificate, or use "+
				"another type of Secret", f.fieldPath, typeTLS)
	}
	return f.requireDataKey(Key)
}

func (keyObject) outputData(f outputFormat, item FetchedItem, left *budget) (map[string]keyvault.Value, error) {
	return chargeValues(left)(f.singleValue(encodePublicKey(item.Object, f.keyFormat)))
}

func (keyObject) folderFormat(item recipe.Item) outputFormat {
	return outputFormat{dataKey: item.Name, keyFormat: formatPEM}
}

func (keyObject) queryParts() []string { return []string{formatPEM, formatJWK} }

func (keyObject) variableValue(q Query, o keyvault.Object) (keyvault.Value, error) {
	value, err := encodePublicKey(o, q.Part)
	if err == nil && q.Part == "" && !q.allowsNUL && bytes.IndexByte(value.Reveal(), 0) >= 0 {
		return keyvault.Value{}, fault.New(fault.Malformed,
			"the modulus of the key has a NUL byte, which an environment variable can't hold; use ?pem or ?jwk")
	}
	return value, err
}

// The formats of a key; raw is the default.
const (
	formatRaw = "raw"
	formatPEM = "pem"
	formatJWK = "jwk"
)

// jwk is a public JSON web key (RFC 7517, 7518). Its numbers are big-endian, in base64url without padding.
type jwk struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	N     string `json:"n"`
	E     string `json:"e"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// encodePublicKey encodes the public key of the object, which is a JWK, in a format. The format raw is the modulus of
// an RSA key.
func encodePublicKey(o keyvault.Object, format string) (keyvault.Value, error) {
	if format == formatJWK {
		return o.Value, nil
	}
	var key jwk
	if json.Unmarshal(o.Value.Reveal(), &key) != nil {
		return keyvault.Value{}, fault.New(fault.Malformed, "the key is not a JSON web key")
	}
	if format == formatPEM {
		return publicKeyPEM(key)
	}
	modulus, err := base64.RawURLEncoding.DecodeString(key.N)
	if err != nil || len(modulus) == 0 {
		return keyvault.Value{}, fault.New(fault.Malformed,
			"a key of type %s has no modulus; use the format pem or jwk "+
				"(spec.output.secret.keyFormat, in pods NAME@azurekeyvault?pem)", key.Type)
	}
	return keyvault.NewValue(modulus), nil
}

func publicKeyPEM(key jwk) (keyvault.Value, error) {
	der, err := key.marshalPKIX()
	if err != nil {
		return keyvault.Value{}, unsupportedKeyError(key)
	}
	return keyvault.NewValue(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// marshalPKIX encodes the public key as SubjectPublicKeyInfo.
func (k jwk) marshalPKIX() ([]byte, error) {
	if k.Curve == "P-256K" || k.Curve == "SECP256K1" || k.Curve == "secp256k1" {
		x, y := decodeNumber(k.X), decodeNumber(k.Y)
		if x == nil || y == nil {
			return nil, certificate.ErrInvalidKey
		}
		return certificate.MarshalSecp256k1PublicKey(x, y)
	}
	public, err := k.publicKey()
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKIXPublicKey(public)
}

func unsupportedKeyError(key jwk) error {
	return fault.New(fault.Malformed, "a key of type %s %s can't be encoded as PEM; use the format jwk", key.Type,
		key.Curve)
}

func (k jwk) publicKey() (crypto.PublicKey, error) {
	if k.Type == "RSA" {
		n, e := decodeNumber(k.N), decodeNumber(k.E)
		if n == nil || e == nil || !e.IsInt64() || e.Int64() > 1<<31-1 {
			return nil, unsupportedKeyError(k)
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	}
	curve, ok := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(),
		"P-521": elliptic.P521()}[k.Curve]
	x, y := decodeNumber(k.X), decodeNumber(k.Y)
	if !ok || x == nil || y == nil {
		return nil, unsupportedKeyError(k)
	}
	size := (curve.Params().BitSize + 7) / 8
	if x.BitLen() > size*8 || y.BitLen() > size*8 {
		return nil, unsupportedKeyError(k)
	}
	point := append([]byte{4}, x.FillBytes(make([]byte, size))...)
	public, err := ecdsa.ParseUncompressedPublicKey(curve, append(point, y.FillBytes(make([]byte, size))...))
	if err != nil {
		return nil, unsupportedKeyError(k)
	}
	return public, nil
}

// decodeNumber decodes a number in base64url. It returns nil if the text is invalid.
func decodeNumber(text string) *big.Int {
	content, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(content) == 0 {
		return nil
	}
	return new(big.Int).SetBytes(content)
}
