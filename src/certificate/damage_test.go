package certificate_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/certificate"
)

// TestDamageIsAnErrorAndNeverAPanic changes single bytes of files of every kind, and cuts them off.
func TestDamageIsAnErrorAndNeverAPanic(t *testing.T) {
	for _, name := range []string{"nomac.pfx", "secp256k1.pfx", "mixed.pfx", "negative.pfx", "sha3.pfx", "scrypt.pem", "pbes1.pem", "secp256k1.pem"} {
		t.Run(name, func(t *testing.T) {
			content := vector(t, name)
			damaged := 0
			try := func(changed []byte) {
				bundle, err := certificate.Parse(changed, "")
				certificate.IsPrivateKey(changed)
				if err != nil {
					damaged++
					return
				}
				assert.NotEmpty(t, bundle.Certificates, "what is read is whole")
			}
			for i := 0; i < len(content); i += 1 + len(content)/120 {
				for _, by := range []byte{0x01, 0x80, 0xff} {
					changed := append([]byte{}, content...)
					changed[i] ^= by
					try(changed)
				}
				try(content[:i])
			}
			assert.Greater(t, damaged, 100)
		})
	}
}

func TestAKeyOnSecp256k1IsPassedOnAndNotUsed(t *testing.T) {
	bundle, err := certificate.Parse(vector(t, "secp256k1.pfx"), "")
	require.NoError(t, err)
	key := bundle.Key
	_, err = key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	assert.ErrorContains(t, err, "secp256k1 is not supported")
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	require.True(t, ok)
	assert.True(t, public.Equal(key.Public()))
	assert.False(t, public.Equal("another"))
	_, err = certificate.MarshalSecp256k1PublicKey(big.NewInt(1), big.NewInt(1))
	assert.ErrorIs(t, err, certificate.ErrInvalidKey, "no point of the curve")
	x, _ := new(big.Int).SetString("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", 16)
	y, _ := new(big.Int).SetString("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8", 16)
	der, err := certificate.MarshalSecp256k1PublicKey(x, y)
	require.NoError(t, err, "the generator is one")
	_, err = x509.ParsePKIXPublicKey(der)
	assert.ErrorContains(t, err, "curve", "the standard library knows the form, and not the curve")
}
