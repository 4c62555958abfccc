package certificate_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// patience is generous: without a limit these inputs take hours.
const patience = 20 * time.Second

// parse parses the content and fails the test if that takes longer than patience.
func parse(t *testing.T, content []byte, password string) (certificate.Bundle, error) {
	t.Helper()
	type result struct {
		bundle certificate.Bundle
		err    error
	}
	done := make(chan result, 1)
	go func() {
		bundle, err := certificate.Parse(content, password)
		done <- result{bundle, err}
	}()
	select {
	case r := <-done:
		return r.bundle, r.err
	case <-time.After(patience):
		require.FailNow(t, "parsing does not end")
		return certificate.Bundle{}, nil
	}
}

func TestRoundsAreCountedInEveryLayerBeforeTheyAreMade(t *testing.T) {
	b := builder{t}
	key, cert := b.leaf()
	endless, large := new(big.Int).Lsh(big.NewInt(1), 62), new(big.Int).Lsh(big.NewInt(1), 200)
	legacy := func(last int, rounds *big.Int) pkix.AlgorithmIdentifier {
		return pkix.AlgorithmIdentifier{Algorithm: oid(1, 2, 840, 113549, 1, 12, 1, last), Parameters: asn1.RawValue{FullBytes: b.marshal(struct {
			Salt   []byte
			Rounds *big.Int
		}{[]byte("salt"), rounds})}}
	}
	scrypt := func(n, r, p int) pkix.AlgorithmIdentifier {
		kdf := pkix.AlgorithmIdentifier{Algorithm: oid(1, 3, 6, 1, 4, 1, 11591, 4, 11), Parameters: asn1.RawValue{FullBytes: b.marshal(struct {
			Salt    []byte
			N, R, P int
		}{[]byte("salt"), n, r, p})}}
		aes := pkix.AlgorithmIdentifier{Algorithm: oid(2, 16, 840, 1, 101, 3, 4, 1, 42), Parameters: asn1.RawValue{FullBytes: b.marshal(make([]byte, 16))}}
		return pkix.AlgorithmIdentifier{Algorithm: oid(1, 2, 840, 113549, 1, 5, 13), Parameters: asn1.RawValue{FullBytes: b.marshal([]pkix.AlgorithmIdentifier{kdf, aes})}}
	}
	inner := func(algorithm pkix.AlgorithmIdentifier) []byte {
		hidden := b.marshal([]typed{b.cert(cert), b.sealedKey(algorithm, make([]byte, 16))})
		return b.pfx(b.sealedSafe(b.pbes2(big.NewInt(1)), b.seal(hidden, 1)))
	}
	half := big.NewInt(limits.KeyDerivationRounds/2 + 1)
	sealedTwice := b.seal(b.marshal([]typed{b.cert(cert), b.sealedKey(b.pbes2(half), make([]byte, 16))}), int(half.Int64()))
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"in an encrypted safe":              {inner(b.pbes2(endless)), certificate.ErrTooManyRounds},
		"in an encrypted safe, by 3DES":     {inner(legacy(3, endless)), certificate.ErrTooManyRounds},
		"in an encrypted safe, by RC2":      {inner(legacy(6, endless)), certificate.ErrTooManyRounds},
		"a number of 200 bits":              {inner(b.pbes2(large)), certificate.ErrTooManyRounds},
		"one more than is allowed":          {inner(b.pbes2(big.NewInt(limits.KeyDerivationRounds + 1))), certificate.ErrTooManyRounds},
		"no rounds":                         {inner(b.pbes2(big.NewInt(0))), certificate.ErrMalformed},
		"less than none":                    {inner(b.pbes2(big.NewInt(-5))), certificate.ErrMalformed},
		"of a safe":                         {b.pfx(b.sealedSafe(b.pbes2(endless), make([]byte, 16))), certificate.ErrTooManyRounds},
		"of a key that is open to see":      {b.pfx(b.safe(b.cert(cert), b.sealedKey(b.pbes2(endless), make([]byte, 16)))), certificate.ErrTooManyRounds},
		"in a nested safe":                  {b.pfx(b.safe(b.nested(b.nested(b.sealedKey(b.pbes2(endless), make([]byte, 16)))))), certificate.ErrTooManyRounds},
		"two halves and a little":           {b.pfx(b.sealedSafe(b.pbes2(half), sealedTwice)), certificate.ErrTooManyRounds},
		"scrypt with much memory":           {inner(scrypt(1<<24, 8, 1)), certificate.ErrTooManyRounds},
		"scrypt with numbers that overflow": {inner(scrypt(1<<40, 1<<40, 1<<40)), certificate.ErrTooManyRounds},
		"scrypt with many passes":           {inner(scrypt(1<<14, 8, 1<<17)), certificate.ErrTooManyRounds},
		"an encrypted PEM key": {pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: b.marshal(struct {
			A pkix.AlgorithmIdentifier
			D []byte
		}{b.pbes2(endless), make([]byte, 16)})}), certificate.ErrTooManyRounds},
		"a nested safe too deep":              {b.pfx(b.safe(b.nested(b.nested(b.nested(b.nested(b.nested(b.nested(b.plainKey(key))))))))), certificate.ErrMalformed},
		"a second key that is not decrypted":  {b.pfx(b.safe(b.cert(cert), b.plainKey(key), b.sealedKey(b.pbes2(endless), make([]byte, 16)))), certificate.ErrMultipleKeys},
		"the MAC (of a file of openssl)":      {vector(t, "iterations.pfx"), certificate.ErrTooManyRounds},
		"many encrypted safes, each a little": {b.pfx(slicesOf(b.sealedSafe(b.pbes2(big.NewInt(3000)), b.seal(b.marshal([]typed{}), 3000)), 100)...), certificate.ErrTooManyRounds},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, c.content, "")
			assert.ErrorIs(t, err, c.want)
		})
	}
	assert.Less(t, len(inner(b.pbes2(endless))), 1500, "a small file suffices")
	most := b.seal(b.marshal([]typed{b.cert(cert), b.plainKey(key)}), limits.KeyDerivationRounds)
	bundle, err := parse(t, b.pfx(b.sealedSafe(b.pbes2(big.NewInt(limits.KeyDerivationRounds)), most)), "")
	require.NoError(t, err, "what is allowed is read")
	assert.NotNil(t, bundle.Leaf())
}

func TestFilesOfAParserShareTheirRounds(t *testing.T) {
	b := builder{t}
	key, cert := b.leaf()
	const rounds = 1000
	file := b.pfx(b.sealedSafe(b.pbes2(big.NewInt(rounds)), b.seal(b.marshal([]typed{b.cert(cert), b.plainKey(key)}), rounds)))
	p := certificate.NewParser(2*rounds + rounds/2)
	for range 2 {
		_, err := p.Parse(file, "")
		require.NoError(t, err)
	}
	_, err := p.Parse(file, "")
	assert.ErrorIs(t, err, certificate.ErrTooManyRoundsOfAll)
	endless := b.pfx(b.sealedSafe(b.pbes2(big.NewInt(limits.KeyDerivationRounds+1)), make([]byte, 16)))
	_, err = p.Parse(endless, "")
	assert.ErrorIs(t, err, certificate.ErrTooManyRounds, "a file beyond its own limit gets the error of that limit")
	_, err = p.Parse(b.pfx(b.safe(b.cert(cert), b.plainKey(key))), "")
	assert.NoError(t, err, "a file without encryption takes none")
}

func slicesOf[T any](one T, n int) (all []T) {
	for range n {
		all = append(all, one)
	}
	return all
}

func TestPFXOfUnusualShapeIsRead(t *testing.T) {
	b := builder{t}
	key, cert := b.leaf()
	one := big.NewInt(1)
	four := b.pfx(b.safe(b.cert(cert)), b.sealedSafe(b.pbes2(one), b.seal(b.marshal([]typed{b.sealedKey(b.pbes2(one), b.seal(key, 1))}), 1)), b.safe(), b.safe(b.nested(b.nested())))
	for name, content := range map[string][]byte{
		"four safes, one of them encrypted with a key in it": four,
		"BER": ber(four), "BER of openssl": ber(vector(t, "openssl3.pfx")), "BER of Java": ber(vector(t, "keytool.pfx")), "BER of old openssl": ber(vector(t, "legacy-rc2.pfx")),
		"nothing encrypted": b.pfx(b.safe(b.cert(cert), b.plainKey(key))),
		"a MAC of SHA-3":    vector(t, "sha3.pfx"),
	} {
		t.Run(name, func(t *testing.T) {
			bundle, err := parse(t, content, "")
			require.NoError(t, err)
			require.NotNil(t, bundle.Leaf())
			assert.Equal(t, "leaf.example", bundle.Leaf().Subject.CommonName)
		})
	}
	for name, password := range map[string]string{"mixed.pfx": "hidden", "nomac.pfx": "hidden", "scrypt.pem": "hidden", "pbes1.pem": "hidden"} {
		bundle, err := parse(t, vector(t, name), password)
		require.NoError(t, err, name)
		assert.NotNil(t, bundle.Leaf(), name)
		_, err = parse(t, vector(t, name), "other")
		assert.ErrorIs(t, err, certificate.ErrWrongPassword, name)
	}
}

func TestEveryEncoderOfTheLibraryIsRead(t *testing.T) {
	bundle, err := certificate.Parse(vector(t, "ordered.pem"), "")
	require.NoError(t, err)
	for name, encoder := range map[string]*pkcs12.Encoder{
		"LegacyRC2": pkcs12.LegacyRC2, "LegacyDES": pkcs12.LegacyDES, "Modern2023": pkcs12.Modern2023, "Modern2026": pkcs12.Modern2026, "Passwordless": pkcs12.Passwordless,
	} {
		for _, password := range []string{"", "pässword €"} {
			if name == "Passwordless" && password != "" {
				continue
			}
			pfx, err := encoder.Encode(bundle.Key, bundle.Leaf(), bundle.Certificates[1:], password)
			require.NoError(t, err)
			got, err := parse(t, pfx, password)
			require.NoError(t, err, "%s %q", name, password)
			assert.Equal(t, "leaf middle root", namesOf(got.Certificates))
			_, err = parse(t, pfx, password+"x")
			if name != "Passwordless" {
				assert.ErrorIs(t, err, certificate.ErrWrongPassword, "%s %q", name, password)
			}
		}
	}
}

func TestSecp256k1AndNegativeSerialsAreRead(t *testing.T) {
	for name, key := range map[string]string{"secp256k1.pem": "EC PRIVATE KEY", "secp256k1.pfx": "EC PRIVATE KEY", "negative.pem": "RSA PRIVATE KEY", "negative.pfx": "RSA PRIVATE KEY"} {
		t.Run(name, func(t *testing.T) {
			bundle, err := parse(t, vector(t, name), "")
			require.NoError(t, err)
			require.NotNil(t, bundle.Leaf(), "the certificate is of the key")
			assert.Equal(t, strings.Split(name, ".")[0], namesOf(bundle.Chain()))
			encoded, err := certificate.EncodeKey(bundle.Key)
			require.NoError(t, err)
			assert.Contains(t, string(encoded), key)
			again, err := parse(t, append(encoded, certificate.EncodeCertificates(bundle.Chain()...)...), "")
			require.NoError(t, err)
			assert.NotNil(t, again.Leaf())
		})
	}
	compressed, err := parse(t, vector(t, "secp256k1-compressed.pem"), "")
	require.NoError(t, err)
	assert.NotNil(t, compressed.Leaf(), "a compressed point is the same point")
	both, err := parse(t, append(vector(t, "secp256k1.pem"), certificate.EncodeCertificates(mustLeaf(t, "P-256.pem"))...), "")
	require.NoError(t, err)
	assert.Equal(t, "secp256k1", namesOf([]*x509.Certificate{both.Leaf()}))
	_, err = certificate.MarshalSecp256k1PublicKey(big.NewInt(1), big.NewInt(1))
	assert.ErrorIs(t, err, certificate.ErrInvalidKey, "not a point of the curve")
	_, err = certificate.MarshalSecp256k1PublicKey(new(big.Int).Lsh(big.NewInt(1), 300), big.NewInt(1))
	assert.ErrorIs(t, err, certificate.ErrInvalidKey)
}

func mustLeaf(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	bundle, err := certificate.Parse(vector(t, name), "")
	require.NoError(t, err)
	return bundle.Leaf()
}

func TestWhatIsNotSupportedIsNamed(t *testing.T) {
	b := builder{t}
	key, cert := b.leaf()
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"Camellia":               {vector(t, "camellia.pfx"), "Camellia-256"},
		"a brainpool curve":      {vector(t, "brainpool.pem"), "brainpoolP256r1"},
		"an RSASSA-PSS key":      {vector(t, "pss.pem"), "RSASSA-PSS"},
		"PKCS #7 in a PEM":       {vector(t, "pkcs7.pem"), "PKCS #7"},
		"a key of OpenSSH":       {append(certificate.EncodeCertificates(mustLeaf(t, "P-256.pem")), pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE " + "KEY", Bytes: []byte("x")})...), "OpenSSH"},
		"an unknown block":       {pem.EncodeToMemory(&pem.Block{Type: "CANARY", Bytes: []byte("x")}), "PEM block of an unknown type"},
		"an unknown cipher":      {b.pfx(b.sealedSafe(pkix.AlgorithmIdentifier{Algorithm: oid(1, 2, 3)}, nil)), "object identifier 1.2.3"},
		"a PFX for a public key": {b.pfx(typed{oid(1, 2, 840, 113549, 1, 7, 3), explicit(key)}), "encrypted for a public key"},
		"SDSI": {b.pfx(b.safe(typed{oid(1, 2, 840, 113549, 1, 12, 10, 1, 3), explicit(b.marshal(typed{oid(1, 2, 840, 113549, 1, 9, 22, 2), explicit(b.marshal(cert))}))})),
			"not X.509"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, c.content, "")
			assert.ErrorIs(t, err, certificate.ErrUnsupported)
			assert.ErrorContains(t, err, c.says)
			assert.NotContains(t, err.Error(), "CANARY")
		})
	}
}

func TestCertificatesAndKeysAreCountedAndMeasured(t *testing.T) {
	b := builder{t}
	key, cert := b.leaf()
	_, err := parse(t, b.pfx(b.safe(append(slicesOf(b.cert(cert), limits.Certificates+1), b.plainKey(key))...)), "")
	assert.ErrorIs(t, err, certificate.ErrTooManyCertificates)
	small := mustLeaf(t, "P-256.pem")
	_, err = parse(t, bytes.Repeat(certificate.EncodeCertificates(small), limits.Certificates+1), "")
	assert.ErrorIs(t, err, certificate.ErrTooManyCertificates)
	_, err = parse(t, bytes.Repeat(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("x")}), limits.PEMBlocks+1), "")
	assert.ErrorIs(t, err, certificate.ErrTooManyCertificates)

	// An RSA key of 500,000 bits, whose check would take days.
	n := new(big.Int).Lsh(big.NewInt(1), 500_000)
	n.Add(n, big.NewInt(1))
	large := b.marshal(struct {
		Version                     int
		N, E, D, P, Q, Dp, Dq, QInv *big.Int
	}{0, n, big.NewInt(65537), n, n, n, n, n, n})
	for _, content := range [][]byte{
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: large}), b.pfx(b.safe(b.cert(cert), b.plainKey(large))),
	} {
		_, err = parse(t, content, "")
		assert.ErrorIs(t, err, certificate.ErrKeyTooLarge)
	}
	assert.False(t, certificate.IsPrivateKey(large))
}

func TestDeepAndLongStructuresEnd(t *testing.T) {
	deep := bytes.Repeat([]byte{0x30, 0x80}, 400_000)
	many := append([]byte{0x30, 0x80}, bytes.Repeat([]byte{0x05, 0x00}, 400_000)...)
	pieces := append([]byte{0x24, 0x80}, bytes.Repeat([]byte{0x04, 0x00}, 400_000)...)
	for name, content := range map[string][]byte{
		"levels": deep, "elements": many, "pieces": pieces, "a long tag": append([]byte{0x3f}, bytes.Repeat([]byte{0xff}, 1<<19)...),
		"a length of 4 GiB": {0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0}, "a length of lengths": {0x30, 0xff, 1}, "a primitive without length": {0x04, 0x80, 0, 0},
		"one octet": {0x30}, "a tag without length": {0x3f, 0x80},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := parse(t, content, "")
			runtime.ReadMemStats(&after)
			assert.ErrorIs(t, err, certificate.ErrMalformed)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(32<<20))
		})
	}
}

func TestAnEncryptedOrUnusualKeyInDERIsKnown(t *testing.T) {
	b := builder{t}
	for name, file := range map[string]string{"encrypted": "encrypted.pem", "with scrypt": "scrypt.pem", "of PKCS #12": "pbes1.pem", "on secp256k1": "secp256k1.pem", "on a brainpool curve": "brainpool.pem", "RSASSA-PSS": "pss.pem"} {
		blocks, err := certificate.DecodePEMBlocks(vector(t, file))
		require.NoError(t, err)
		for _, block := range blocks {
			assert.Equal(t, strings.HasSuffix(block.Type, "PRIVATE KEY"), certificate.IsPrivateKey(block.Bytes), "%s: %s", name, block.Type)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	for _, content := range [][]byte{public, nil, {0x30}, {0x30, 0}, b.marshal([]int{1, 2, 3}), b.marshal([]string{"text"})} {
		assert.False(t, certificate.IsPrivateKey(content), "%x", content)
	}
}

// pfxWithPBMAC1 is a PFX with a valid MAC of RFC 9579 whose key has keyLength bytes.
func (b builder) pfxWithPBMAC1(keyLength int, safes ...typed) []byte {
	b.Helper()
	content := b.marshal(safes)
	kdf := pkix.AlgorithmIdentifier{Algorithm: oid(1, 2, 840, 113549, 1, 5, 12), Parameters: asn1.RawValue{FullBytes: b.marshal(struct {
		Salt              []byte
		Rounds, KeyLength int
		PRF               pkix.AlgorithmIdentifier
	}{[]byte("salt"), 2, keyLength, pkix.AlgorithmIdentifier{Algorithm: oid(1, 2, 840, 113549, 2, 9)}})}}
	parameters := b.marshal([]pkix.AlgorithmIdentifier{kdf, {Algorithm: oid(1, 2, 840, 113549, 2, 9)}})
	key, err := pbkdf2.Key(sha256.New, "", []byte("salt"), 2, keyLength)
	require.NoError(b, err)
	mac := hmac.New(sha256.New, key)
	mac.Write(content)
	type digestInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	return b.marshal(struct {
		Version int
		Safe    typed
		MAC     struct {
			Mac    digestInfo
			Salt   []byte
			Rounds int
		}
	}{3, typed{oid(1, 2, 840, 113549, 1, 7, 1), explicit(b.marshal(content))}, struct {
		Mac    digestInfo
		Salt   []byte
		Rounds int
	}{digestInfo{pkix.AlgorithmIdentifier{Algorithm: oid(1, 2, 840, 113549, 1, 5, 14), Parameters: asn1.RawValue{FullBytes: parameters}}, mac.Sum(nil)}, []byte("x"), 1}})
}

func TestAMACWithAShortOrLongKeyProvesNothing(t *testing.T) {
	b := builder{t}
	key, cert := b.leaf()
	for length, isRead := range map[int]bool{1: false, 19: false, 20: true, 32: true, 64: true, 65: false, 1 << 20: false} {
		_, err := parse(t, b.pfxWithPBMAC1(length, b.safe(b.cert(cert), b.plainKey(key))), "")
		if isRead {
			assert.NoError(t, err, "%d bytes", length)
		} else {
			assert.ErrorIs(t, err, certificate.ErrMalformed, "%d bytes", length)
		}
	}
}

// deep nests sequences.
func deep(levels int) []byte {
	if levels == 1 {
		return []byte{0x30, 0x80, 0, 0}
	}
	return append(append([]byte{0x30, 0x80}, deep(levels-1)...), 0, 0)
}

func TestElementsAreNestedToABoundAlone(t *testing.T) {
	b := builder{t}
	key, cert := b.leaf()
	// A bag of an unknown type is skipped, whatever it contains.
	with := func(levels int) []byte {
		return b.pfx(b.safe(b.cert(cert), b.plainKey(key), typed{oid(1, 2, 3), explicit(deep(levels))}))
	}
	_, err := parse(t, with(limits.DERLevels-8), "")
	require.NoError(t, err)
	_, err = parse(t, with(limits.DERLevels+1), "")
	assert.ErrorIs(t, err, certificate.ErrMalformed)
}
