//go:build cluster

package eso

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/convert"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// secret is what both controllers write.
type secret struct {
	Type        string            `json:"type"`
	Data        map[string][]byte `json:"data"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Immutable   bool              `json:"immutable,omitempty"`
}

// azure is an emulated Azure that processes reach through a proxy.
type azure struct {
	*azuretest.Azure
	// proxy is the URL of the proxy, caFile and tokenFile are files.
	proxy, caFile, tokenFile string
}

func startAzure(t *testing.T) azure {
	t.Helper()
	a := azure{Azure: azuretest.Start(t)}
	folder := t.TempDir()
	a.caFile, a.tokenFile = filepath.Join(folder, "ca.pem"), filepath.Join(folder, "token")
	require.NoError(t, os.WriteFile(a.caFile, a.CA, 0o600))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	const issuer, subject = "https://cluster", "system:serviceaccount:external-secrets:external-secrets"
	a.Directory.Register(entra.Principal{Name: "app", ClientID: azuretest.AppClientID, ObjectID: azuretest.AppObjectID,
		Secret: a.AppSecret, Federated: []entra.Federation{{Issuer: issuer, Subject: subject,
			Key: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}}})
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{Issuer: issuer, Subject: subject,
		Audience: jwt.ClaimStrings{"api://AzureADTokenExchange"}, IssuedAt: jwt.NewNumericDate(time.Now()),
		ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))}).SignedString(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a.tokenFile, []byte(token), 0o600))
	a.proxy = a.StartProxy(t)
	return a
}

// seed fills the vault, and returns the manifests with the version of a secret.
func seed(t *testing.T, a azure, manifests string) string {
	t.Helper()
	everybody := map[string][]string{azuretest.AppObjectID: {"get", "list", "certificates/get", "keys/get"}}
	for vault, operations := range map[string]map[string][]string{"kv1": everybody, "kv2": everybody} {
		for id, all := range operations {
			a.Vaults.SetPermissions(vault, id, all)
		}
	}
	put := func(name, value string, tags ...string) string {
		one := keyvault.Secret{Value: value, Tags: map[string]string{}}
		for i := 0; i+1 < len(tags); i += 2 {
			one.Tags[tags[i]] = tags[i+1]
		}
		return a.Vaults.PutSecret("kv1", name, one)
	}
	old := put("database-password", "the old one")
	put("database-password", "pässword: with \"quotes\"\nand a line\n")
	put("database-user", "app")
	put("encoded", base64.StdEncoding.EncodeToString([]byte{0, 1, 2, 250}))
	put("encoded-text", base64.StdEncoding.EncodeToString([]byte("text")))
	put("registry", `{"auths":{"r.example":{"auth":"eDp5"}}}`)
	put("object", `{"user":"app","port":5432,"ratio":1.50,"big":12345678901234567890,"on":true,"none":null,"nested":{"a":[1,"x"]},"x-y_z.1":"k"}`)
	put("other-object", `{"cache":"redis"}`)
	put("encoded-object", `{"one":"MQ==","two":"Mg=="}`)
	put("shop-a", "1", "team", "shop", "env", "prod")
	put("shop-b", "2", "team", "shop")
	put("other-c", "3", "team", "other", "env", "prod")
	put("b64-a", "YQ==", "kind", "encoded")
	put("b64-b", "Yg==", "kind", "encoded")
	pfx, text := certificate(t)
	put("site-pfx", pfx)
	put("site-pem", text)
	a.Vaults.PutSecret("kv2", "token", keyvault.Secret{Value: "of the second vault"})
	return strings.ReplaceAll(manifests, "OLD-VERSION", old)
}

// certificate returns a certificate with its key and CA, as PFX in base64 and as PEM.
func certificate(t *testing.T) (pfx, text string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	issue := func(name string, parent *x509.Certificate) *x509.Certificate {
		template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: parent == nil,
			BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		if parent == nil {
			parent = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		require.NoError(t, err)
		issued, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return issued
	}
	ca := issue("ca", nil)
	leaf := issue("site.example", ca)
	packed, err := pkcs12.Modern.Encode(key, leaf, []*x509.Certificate{ca}, "")
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	var out strings.Builder
	for _, block := range []*pem.Block{{Type: "PRIVATE KEY", Bytes: pkcs8}, {Type: "CERTIFICATE", Bytes: leaf.Raw}, {Type: "CERTIFICATE", Bytes: ca.Raw}} {
		out.Write(pem.EncodeToMemory(block))
	}
	return base64.StdEncoding.EncodeToString(packed), out.String()
}

// runOperator returns the Secrets that External Secrets Operator writes.
func runOperator(t *testing.T, a azure, manifests string) map[string]secret {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, []byte(`{apiVersion: v1, kind: Config, current-context: none, `+
		`clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}], contexts: [{name: none, context: {cluster: none, user: none}}], `+
		`users: [{name: none, user: {}}]}`), 0o600))
	program := filepath.Join(t.TempDir(), "eso")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = "../../eso"
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Stdin = strings.NewReader(manifests)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HTTPS_PROXY="+a.proxy, "NO_PROXY=", "SSL_CERT_FILE="+a.caFile,
		"AZURE_CLIENT_ID="+azuretest.AppClientID, "AZURE_TENANT_ID="+azuretest.Tenant, "AZURE_FEDERATED_TOKEN_FILE="+a.tokenFile)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), stderr.String())
	all := map[string]secret{}
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &all))
	return all
}

func TestBothControllersWriteEqualSecrets(t *testing.T) {
	a := startAzure(t)
	content, err := os.ReadFile("testdata/manifests.yaml")
	require.NoError(t, err)
	manifests := seed(t, a, string(content))
	result, err := convert.Convert(t.Context(), []convert.Input{{Name: "manifests.yaml", Content: []byte(manifests)}}, convert.Options{})
	require.NoError(t, err)
	for _, finding := range result.Findings {
		assert.NotEqual(t, convert.LeftOut, finding.Kind, finding.String())
	}
	want := runOperator(t, a, manifests)
	got := runController(t, a, result.Documents)
	require.Greater(t, len(want), 20)
	assert.ElementsMatch(t, names(want), names(got))
	for name, one := range want {
		assertEqualSecrets(t, name, one, got[name])
	}
}

func names(all map[string]secret) []string {
	var list []string
	for name := range all {
		list = append(list, name)
	}
	return list
}

// assertEqualSecrets compares two Secrets. Private keys can have other encodings of the same key, and each product has
// labels and annotations of its own.
func assertEqualSecrets(t *testing.T, name string, want, got secret) {
	t.Helper()
	// A real API server sets the default type.
	assert.Equal(t, cmp.Or(want.Type, "Opaque"), cmp.Or(got.Type, "Opaque"), "%s: type", name)
	assert.Equal(t, want.Immutable, got.Immutable, "%s: immutable", name)
	assert.ElementsMatch(t, keys(want.Data), keys(got.Data), "%s: data keys", name)
	for key, value := range want.Data {
		if key == "tls.key" || key == "tls.crt" {
			assert.Equal(t, blocks(t, value), blocks(t, got.Data[key]), "%s: %s", name, key)
			continue
		}
		assert.Equal(t, string(value), string(got.Data[key]), "%s: %s", name, key)
	}
	for _, kind := range []struct{ want, got map[string]string }{{want.Labels, got.Labels}, {want.Annotations, got.Annotations}} {
		for key, value := range kind.want {
			if !strings.Contains(key, "external-secrets.io/") {
				assert.Equal(t, value, kind.got[key], "%s: %s", name, key)
			}
		}
	}
}

func keys(data map[string][]byte) []string {
	var all []string
	for key := range data {
		all = append(all, key)
	}
	return all
}

// blocks returns certificates and keys of a PEM in one encoding, in their order.
func blocks(t *testing.T, text []byte) []string {
	t.Helper()
	var all []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		der := block.Bytes
		if strings.Contains(block.Type, "KEY") {
			key, err := x509.ParsePKCS8PrivateKey(der)
			if err != nil {
				key, err = x509.ParsePKCS1PrivateKey(der)
			}
			require.NoError(t, err)
			der, err = x509.MarshalPKCS8PrivateKey(key)
			require.NoError(t, err)
		}
		all = append(all, base64.StdEncoding.EncodeToString(der))
	}
	require.NotEmpty(t, all)
	return all
}
