package certificate

import (
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
)

// secp256k1 is the curve that Key Vault calls P-256K. The standard library does not support it. This package only
// copies keys on the curve, and computes the public key to find the certificate of a private key. Libraries with the
// curve include tables for signing, which would enlarge the injector binary in pods by 0.8 MB.

// secp256k1Key is a private key on the curve.
type secp256k1Key struct {
	scalar []byte
	public secp256k1Public
}

// secp256k1Public is the point of a public key, uncompressed.
type secp256k1Public string

// Equal implements the comparison of the standard library's public keys.
func (p secp256k1Public) Equal(other crypto.PublicKey) bool { return other == crypto.PublicKey(p) }

// coordinateBytes is the size of a coordinate.
const coordinateBytes = 32

// curveParameters holds the parameters of SEC 2, section 2.4.1: y² = x³ + 7 modulo p, with a base point of order n.
type curveParameters struct{ p, n, gx, gy *big.Int }

func secp256k1Parameters() curveParameters {
	number := func(text string) *big.Int {
		n, _ := new(big.Int).SetString(text, 16)
		return n
	}
	return curveParameters{
		p:  number("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F"),
		n:  number("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141"),
		gx: number("79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798"),
		gy: number("483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8"),
	}
}

// modP reduces a number modulo p, in place.
func (c curveParameters) modP(n *big.Int) *big.Int { return n.Mod(n, c.p) }

// ySquared computes y² = x³ + 7 modulo p.
func (c curveParameters) ySquared(x *big.Int) *big.Int {
	cube := new(big.Int).Exp(x, big.NewInt(3), c.p)
	return c.modP(cube.Add(cube, big.NewInt(7)))
}

// isOnCurve reports whether the point (x, y) is on the curve.
func (c curveParameters) isOnCurve(x, y *big.Int) bool {
	return x.Cmp(c.p) < 0 && y.Cmp(c.p) < 0 && c.modP(new(big.Int).Mul(y, y)).Cmp(c.ySquared(x)) == 0
}

// addPoints adds two points; nil is the point at infinity.
func (c curveParameters) addPoints(x1, y1, x2, y2 *big.Int) (x, y *big.Int) {
	switch {
	case x1 == nil:
		return x2, y2
	case x2 == nil:
		return x1, y1
	}
	rise, run := new(big.Int).Sub(y2, y1), new(big.Int).Sub(x2, x1)
	if x1.Cmp(x2) == 0 {
		if y1.Cmp(y2) != 0 {
			return nil, nil
		}
		rise = new(big.Int).Mul(big.NewInt(3), new(big.Int).Mul(x1, x1))
		run = new(big.Int).Lsh(y1, 1)
	}
	slope := c.modP(new(big.Int).Mul(rise, new(big.Int).ModInverse(c.modP(run), c.p)))
	x = new(big.Int).Mul(slope, slope)
	x = c.modP(x.Sub(x.Sub(x, x1), x2))
	y = new(big.Int).Mul(slope, new(big.Int).Sub(x1, x))
	return x, c.modP(y.Sub(y, y1))
}

// multiplyBasePoint multiplies the base point by the scalar of a private key. It does not run in constant time; it runs
// once for each version of a vault object.
func (c curveParameters) multiplyBasePoint(scalar *big.Int) (x, y *big.Int) {
	for i := scalar.BitLen() - 1; i >= 0; i-- {
		x, y = c.addPoints(x, y, x, y)
		if scalar.Bit(i) == 1 {
			x, y = c.addPoints(x, y, c.gx, c.gy)
		}
	}
	return x, y
}

func encodePoint(x, y *big.Int) []byte {
	point := make([]byte, 1+2*coordinateBytes)
	point[0] = 4
	x.FillBytes(point[1 : 1+coordinateBytes])
	y.FillBytes(point[1+coordinateBytes:])
	return point
}

// parsePoint decodes a compressed or uncompressed point.
func parsePoint(encoded []byte) (secp256k1Public, error) {
	c := secp256k1Parameters()
	if len(encoded) < 1+coordinateBytes {
		return "", ErrInvalidKey
	}
	x := new(big.Int).SetBytes(encoded[1 : 1+coordinateBytes])
	var y *big.Int
	switch {
	case encoded[0] == 4 && len(encoded) == 1+2*coordinateBytes:
		y = new(big.Int).SetBytes(encoded[1+coordinateBytes:])
	case encoded[0]|1 == 3 && len(encoded) == 1+coordinateBytes:
		if y = new(big.Int).ModSqrt(c.ySquared(x), c.p); y != nil && y.Bit(0) != uint(encoded[0]&1) {
			y.Sub(c.p, y)
		}
	}
	if y == nil || !c.isOnCurve(x, y) {
		return "", ErrInvalidKey
	}
	return secp256k1Public(encodePoint(x, y)), nil
}

func newSecp256k1Key(scalar []byte) (crypto.Signer, error) {
	c, number := secp256k1Parameters(), new(big.Int).SetBytes(scalar)
	if number.Sign() == 0 || number.Cmp(c.n) >= 0 {
		return nil, ErrInvalidKey
	}
	return &secp256k1Key{number.FillBytes(make([]byte, coordinateBytes)),
		secp256k1Public(encodePoint(c.multiplyBasePoint(number)))}, nil
}

// Public implements crypto.Signer.
func (k *secp256k1Key) Public() crypto.PublicKey { return k.public }

// Sign implements crypto.Signer. It always fails, because this package only copies keys on secp256k1.
func (*secp256k1Key) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("signing with a key on secp256k1 is not supported")
}

// marshalSEC1 encodes the private key as SEC 1.
func (k *secp256k1Key) marshalSEC1() ([]byte, error) {
	point := []byte(k.public)
	return asn1.Marshal(sec1Key{Version: 1, Key: k.scalar, Curve: secp256k1OID(),
		Public: asn1.BitString{Bytes: point, BitLength: 8 * len(point)}})
}

func secp256k1OID() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 132, 0, 10} }

// MarshalSecp256k1PublicKey encodes the point (x, y) as a SubjectPublicKeyInfo in DER. It returns an error if the point
// is not on the curve.
func MarshalSecp256k1PublicKey(x, y *big.Int) ([]byte, error) {
	if !secp256k1Parameters().isOnCurve(x, y) {
		return nil, ErrInvalidKey
	}
	curve, err := asn1.Marshal(secp256k1OID())
	if err != nil {
		return nil, ErrInvalidKey
	}
	point := encodePoint(x, y)
	return asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1},
		Parameters: asn1.RawValue{FullBytes: curve}},
		asn1.BitString{Bytes: point, BitLength: 8 * len(point)}})
}
