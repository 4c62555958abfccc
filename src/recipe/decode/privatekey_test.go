package decode_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

// publicly makes a ConfigMapData of one value.
func publicly(t *testing.T, value string, transforms ...string) error {
	t.Helper()
	r := recipeOf(decode.Secret, "")
	r.Outputs, r.Items[0].Transforms = []recipe.Output{{Kind: recipe.OutputConfigMap, Name: "c", DataKey: "k"}}, transforms
	_, err := configMapData(t.Context(), r, contents(r, object(value)))
	return err
}

// privateForms are private keys as tools write them. Each is split where a scanner of this repository would find it.
func privateForms(t *testing.T) map[string]string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	raw, err := base64.StdEncoding.DecodeString(vector(t, "password.pfx"))
	require.NoError(t, err)
	file := func(name string) string { return vector(t, name) }
	jwk := `{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}`
	pgp := append([]byte{0x95, 0x01, 0xfe, 4, 0x60, 1, 2, 3, 1}, make([]byte, 100)...)
	return map[string]string{
		"PKCS #8 in PEM":       string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE " + "KEY", Bytes: pkcs8})),
		"encrypted PEM":        file("encrypted.pem"),
		"SEC 1 in PEM":         string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE " + "KEY", Bytes: sec1})),
		"OpenSSH":              "-----BEGIN OPENSSH PRIVATE " + "KEY-----\nb3Bl\n-----END OPENSSH PRIVATE " + "KEY-----",
		"OpenSSH in binary":    "openssh-key-v1\x00" + "aaaa",
		"SSH.com":              "---- BEGIN SSH2 ENCRYPTED PRIVATE " + "KEY ----\nP2/5\n",
		"PGP":                  "-----BEGIN PGP PRIVATE " + "KEY BLOCK-----\n\nlQ\n",
		"PGP in binary":        string(pgp),
		"PGP, newer packet":    string(append([]byte{0xc5, 0x58, 4, 0x60, 1, 2, 3, 22}, make([]byte, 100)...)),
		"PGP, a subkey":        string(append([]byte{0x9d, 0x01, 0xfe, 4, 0x60, 1, 2, 3, 1}, make([]byte, 100)...)),
		"PGP, two octets":      string(append([]byte{0xc5, 0xc1, 0x23, 4, 0x60, 1, 2, 3, 1}, make([]byte, 100)...)),
		"PGP, five octets":     string(append([]byte{0xc5, 0xff, 0, 0, 1, 0xfe, 4, 0x60, 1, 2, 3, 22}, make([]byte, 100)...)),
		"PuTTY":                "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n",
		"age":                  "# created\nAGE-SECRET-" + "KEY-1QQQQ\n",
		"age in small letters": strings.ToLower("AGE-SECRET-" + "KEY-1QQQQ"),
		"WireGuard":            "[Interface]\nPrivateKey = " + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n",
		"XML of .NET":          "<RSAKeyValue><Modulus>AA</Modulus><D>AA</D></RSAKeyValue>",
		"DNSSEC":               "Private-key-format: v1.3\nAlgorithm: 13\n",
		"minisign":             "untrusted comment: minisign encrypted secret key\nRWRTY0Iy\n",
		"a JWK":                jwk,
		"a JWK in a set":       `{"keys":[` + rsaJWK + `,` + jwk + `]}`,
		"a JWK in a list":      `[[` + jwk + `]]`,
		"a JWK in an object":   `{"a":{"b":[{"signing":` + jwk + `}]}}`,
		"a JWK in a text":      `{"a":` + quoted(jwk) + `}`,
		"a JWK with escapes":   `{"\u006bty":"oct","\u006b":"AA"}`,
		"a symmetric JWK":      `{"kty":"oct","k":"AA"}`,
		"PKCS #8 in DER":       string(pkcs8),
		"SEC 1 in DER":         string(sec1),
		"PKCS #1 in DER":       string(x509.MarshalPKCS1PrivateKey(rsaKey)),
		"encrypted DER":        string(derOf(t, "encrypted.pem")),
		"secp256k1 in DER":     string(derOf(t, "secp256k1.pem")),
		"a PFX":                string(raw),
		"a key store of Java":  "\xfe\xed\xfe\xed\x00\x00\x00\x02" + "\x06\x0a\x2b\x06\x01\x04\x01\x2a\x02\x11\x01\x01",
		"a blob of Windows":    "\x07\x02\x00\x00\x00\xa4\x00\x00RSA2\x00\x08\x00\x00" + strings.Repeat("x", 100),
		"a key of CNG":         "ECS2\x20\x00\x00\x00" + strings.Repeat("x", 96),
		"a PVK file":           "\x1e\xf1\xb5\xb0" + strings.Repeat("\x00", 40),
	}
}

func quoted(text string) string {
	out, _ := json.Marshal(text)
	return string(out)
}

func derOf(t *testing.T, name string) []byte {
	t.Helper()
	blocks, err := certificate.DecodePEMBlocks([]byte(vector(t, name)))
	require.NoError(t, err)
	for _, block := range blocks {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block.Bytes
		}
	}
	return nil
}

func zipped(text string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return out.String()
}

// inUTF16 is little-endian.
func inUTF16(text string) string {
	var out strings.Builder
	for i := range len(text) {
		out.WriteString(text[i:i+1] + "\x00")
	}
	return out.String()
}

func TestPrivateKeysStayOutOfConfigMapsInEveryForm(t *testing.T) {
	wrap := func(text string, width int, indent string) string {
		var out strings.Builder
		for encoded := base64.StdEncoding.EncodeToString([]byte(text)); encoded != ""; {
			n := min(width, len(encoded))
			out.WriteString(indent + encoded[:n] + "\n")
			encoded = encoded[n:]
		}
		return out.String()
	}
	b64 := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	encodings := map[string]func(string) string{
		"as it is":               func(s string) string { return s },
		"base64":                 b64,
		"base64 twice":           func(s string) string { return b64(b64(s)) },
		"base64 three times":     func(s string) string { return b64(b64(b64(s))) },
		"base64url":              func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
		"wrapped base64":         func(s string) string { return wrap(s, 64, "") },
		"wrapped base64 in YAML": func(s string) string { return "kind: x\nkey: |\n" + wrap(s, 76, "    ") + "other: y\n" },
		"base64 in a kubeconfig": func(s string) string { return "users:\n- user:\n    client-key-data: " + b64(s) + "\n    name: x\n" },
		"base64 in JSON":         func(s string) string { return `{"a":[{"key":` + quoted(b64(s)) + `}],"b":1}` },
		"base64 in an .env file": func(s string) string { return "A=1\nKEY=\"" + b64(s) + "\"\n" },
		"a data URI":             func(s string) string { return "data:application/octet-stream;base64," + b64(s) },
		"hexadecimal":            func(s string) string { return hex.EncodeToString([]byte(s)) },
		"capital hexadecimal":    func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
		"gzip":                   zipped,
		"base64 of gzip":         func(s string) string { return b64(zipped(s)) },
		"a byte-order mark":      func(s string) string { return "\ufeff" + s },
		"base64 with percents":   func(s string) string { return url.QueryEscape(b64(s)) },
		"base64 of UTF-16":       func(s string) string { return b64(inUTF16(s)) },
	}
	// Base64 shorter than any key is not looked into.
	const short = 30
	for form, key := range privateForms(t) {
		for encoding, encode := range encodings {
			if encoding == "base64 of UTF-16" && strings.ContainsFunc(key, func(r rune) bool { return r == 0 || r > 126 }) {
				continue // only text is written so
			}
			if len(key) < short && encoding != "as it is" && encoding != "a byte-order mark" {
				key += strings.Repeat("\n", short)
			}
			err := publicly(t, encode(key))
			assert.Equal(t, fault.Malformed, fault.KindOf(err), "%s, %s", form, encoding)
			if err != nil {
				assert.ErrorContains(t, err, "never goes into a ConfigMap", "%s, %s", form, encoding)
			}
		}
		assert.Error(t, publicly(t, key, "base64encode"), "%s, encoded by a transform", form)
		assert.Error(t, publicly(t, key, "base64encode", "base64encode"), "%s, encoded by two transforms", form)
	}
}

func TestABlobThatIsCutOffCountsAsPrivate(t *testing.T) {
	assert.Error(t, publicly(t, "\x07\x02\x00\x00\x00\xa4\x00\x00RSA2"))
}

func TestWhatIsNotPrivateMayGoIntoAConfigMap(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	random := make([]byte, 4096)
	_, err = rand.Read(random)
	require.NoError(t, err)
	random[0] = 1 // not the first octet of a packet
	chain, err := certificate.Parse([]byte(vector(t, "ordered.pem")), "")
	require.NoError(t, err)
	certs := string(certificate.EncodeCertificates(chain.Certificates...))
	trust, err := os.ReadFile(filepath.Join("..", "..", "certificate", "testdata", "nokey.pfx"))
	require.NoError(t, err)
	for name, value := range map[string]string{
		"certificates": certs, "certificates in base64": base64.StdEncoding.EncodeToString([]byte(certs)), "a public key in DER": string(public),
		"a public key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})), "a certificate in DER": string(chain.Certificates[0].Raw),
		"a PFX of certificates": base64.StdEncoding.EncodeToString(trust),
		"a public JWK":          rsaJWK, "a set of public JWKs": `{"keys":[` + ecJWK + "," + rsaJWK + `]}`, "settings with d and k": `{"d":"of the settings","k":"v"}`,
		"kty in one object and d in another": `{"a":{"kty":"x"},"d":1}`,
		"a key of SSH":                       "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5Pw0Jz9vI0qz0kQ6v7n0m1Yl1pO2yq8Xr1c8T0a1b2 me@host",
		"random bytes":                       string(random), "random base64": base64.StdEncoding.EncodeToString(random[:3000]), "random hexadecimal": hex.EncodeToString(random[:1000]),
		"the public part in XML of .NET":    "<RSAKeyValue><Modulus>AA</Modulus></RSAKeyValue>",
		"a setting of a path":               "privateKeyPath: /keys/a\nprivatekey=" + strings.Repeat("a", 20),
		"a public key of PGP":               string(append([]byte{0xc6, 0x58, 4, 0x60, 1, 2, 3, 22}, make([]byte, 100)...)),
		"a packet of PGP without a version": string(append([]byte{0xc5, 0x58, 0, 0x60, 1, 2, 3, 22}, make([]byte, 100)...)),
		"a packet of no known algorithm":    string(append([]byte{0xc5, 0x58, 4, 0x60, 1, 2, 3, 10}, make([]byte, 100)...)),
		"a short packet without a length":   "\x97" + strings.Repeat("\x04", 11),
		"a text of Windows":                 "RSA2 is the name of a kind of blob",
		"text":                              "a private key goes into a Secret, never into a ConfigMap", "JSON": `{"a":[1,2,{"b":"c"}]}`, "YAML": "a: 1\nb:\n  - c\n", "a token": "ey" + "JhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
		"a number": "12345678901234567890123456789012345678901234567890", "a connection string": "Server=tcp:x.database.windows.net;Database=d;User=u%40v", "gzip of text": zipped("text"),
	} {
		assert.NoError(t, publicly(t, value), name)
	}
}

func TestLookingForPrivateKeysIsBounded(t *testing.T) {
	pfx := vector(t, "iterations.pfx")
	nested := strings.Repeat("x", 1000)
	for range 12 {
		nested = base64.StdEncoding.EncodeToString([]byte(nested))
	}
	for name, value := range map[string]string{
		"many PFX":        `["` + strings.Repeat(pfx+`","`, 50) + `"]`,
		"deep base64":     nested,
		"a zip bomb":      zipped(strings.Repeat("A", 50<<20)),
		"many short runs": strings.Repeat(strings.Repeat("A", 40)+" ", 8_000),
		"one long run":    strings.Repeat("A", 900<<10),
		"deep JSON":       strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"many percents":   strings.Repeat("%41", 300<<10),
	} {
		t.Run(name, func(t *testing.T) {
			used := allocated(func() { _ = publicly(t, value) })
			assert.Less(t, used, uint64(160<<20))
		})
	}
}

// many is a JSON list of n texts.
func many(n int, text func(i int) string) string {
	var all []string
	for i := range n {
		all = append(all, text(i))
	}
	out, _ := json.Marshal(all)
	return string(out)
}

func TestOnlySoManyPFXAreOpenedToSeeWhetherTheyArePrivate(t *testing.T) {
	public := vector(t, "nokey.pfx")
	text := func(int) string { return public }
	require.NoError(t, publicly(t, public), "a PFX without a key")
	assert.NoError(t, publicly(t, many(3, text)))
	assert.ErrorContains(t, publicly(t, many(4, text)), "holds a private key", "further ones count as private")
}

func TestOnlySoMuchIsPeeled(t *testing.T) {
	// Each becomes 1 MiB when it is decompressed.
	bomb := func(i int) string {
		return base64.StdEncoding.EncodeToString([]byte(zipped(strings.Repeat("\n", limits.OutputBytes-1) + string(rune('a'+i)))))
	}
	assert.NoError(t, publicly(t, many(limits.KeyScanBytes/limits.OutputBytes-1, bomb)))
	assert.ErrorContains(t, publicly(t, many(limits.KeyScanBytes/limits.OutputBytes+1, bomb)), "too much nested encoding")
	used := allocated(func() { assert.NoError(t, publicly(t, zipped(strings.Repeat("\n", 100<<20)))) })
	assert.Less(t, used, uint64(500<<20), "no more of it is decompressed than an output may have (making it takes 400 MB)")
}

// FuzzConfigMap searches arbitrary values for private keys.
func FuzzConfigMap(f *testing.F) {
	for _, seed := range []string{"text", `{"kty":"oct","k":"a"}`, "LS0tLS1CRUdJTiBQUklWQVRF", "\x1f\x8b", "%41%", strings.Repeat("4142", 20), "\x95\x01\xfe\x04", "RSA2"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		r := recipeOf(decode.Secret, "")
		r.Outputs = []recipe.Output{{Kind: recipe.OutputConfigMap, Name: "c", DataKey: "k"}}
		fuzzbudget.Check(t, decoding, len(content), func() {
			_, err := configMapData(t.Context(), r, contents(r, keyvault.Object{Value: keyvault.NewValue(content)}))
			if err != nil && fault.KindOf(err) != fault.Malformed {
				t.Error(err)
			}
		})
	})
}
