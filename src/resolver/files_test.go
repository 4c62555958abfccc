package resolver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/resolver"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// fileSource has one resource of each kind, and the values of their objects.
type fileSource struct {
	recipes map[string]recipe.Recipe
	values  map[string]string
	kinds   map[string]keyvault.Kind
	reads   int
	mu      sync.Mutex
}

// pemCertificate is a certificate with its private key, as PEM.
func pemCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))
}

func newFileSource(t *testing.T) (*fileSource, string, string) {
	t.Helper()
	certificate, key := pemCertificate(t)
	one := func(item recipe.Item, outputs ...recipe.Output) recipe.Recipe {
		return recipe.Recipe{Vault: "kv", Items: []recipe.Item{item}, Outputs: outputs}
	}
	minutes, once := 5*time.Minute, time.Duration(0)
	s := &fileSource{kinds: map[string]keyvault.Kind{}, values: map[string]string{
		"db": "a\x00b", "user": "ada:pass:word", "multi": `{"A": "1", "b.txt": "two words"}`, "web": certificate + key, "empty": "", "pw": "changeit",
		"large": strings.Repeat("x", 60_000),
	}, recipes: map[string]recipe.Recipe{
		"db":    one(recipe.Item{Name: "db", Type: decode.Secret}),
		"keyed": one(recipe.Item{Name: "db", Type: decode.Secret}, recipe.Output{Kind: recipe.OutputSecret, Name: "s", DataKey: "dsn"}),
		"user":  one(recipe.Item{Name: "user", Type: decode.Secret}, recipe.Output{Kind: recipe.OutputSecret, Name: "s", Type: "kubernetes.io/basic-auth"}),
		"multi": one(recipe.Item{Name: "multi", Type: decode.MultiKey, ContentType: "application/x-json"}),
		"web":   one(recipe.Item{Name: "web", Type: decode.Certificate}, recipe.Output{Kind: recipe.OutputConfigMap, Name: "c", DataKey: "ca.pem"}),
		"pem":   one(recipe.Item{Name: "web", Type: decode.Secret}),
		"empty": one(recipe.Item{Name: "empty", Type: decode.Secret}),
		"pw":    one(recipe.Item{Name: "pw", Type: decode.Secret}),
		"large": one(recipe.Item{Name: "large", Type: decode.Secret}),
		"several": {Vault: "kv", MultipleItems: true, RefreshInterval: &minutes, Items: []recipe.Item{{Name: "db", Type: decode.Secret, DataKey: "a"},
			{Name: "web", Type: decode.Certificate, DataKey: "web.pem"}, {Name: "pw", Type: decode.Secret, DataKey: "password"}}},
		"once": {Vault: "kv", RefreshInterval: &once, Items: []recipe.Item{{Name: "pw", Type: decode.Secret}}},
	}}
	return s, certificate, key
}

func (s *fileSource) ReadResource(_ context.Context, name string) (recipe.Recipe, error) {
	r, ok := s.recipes[name]
	if !ok {
		return r, &fault.Error{Kind: fault.NotFound, Operation: "there is no such resource", CanAppearLater: true}
	}
	return r, nil
}

func (s *fileSource) ReadObject(_ context.Context, _ recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	s.kinds[ref.Name] = ref.Kind
	value := []byte(s.values[ref.Name])
	if ref.Kind == keyvault.KindCertificate {
		block, _ := pem.Decode(value)
		value = block.Bytes
	}
	return keyvault.Object{Ref: ref, Value: keyvault.NewValue(value)}, nil
}

// resolveFiles resolves one directory.
func resolveFiles(t *testing.T, s *fileSource, entries ...wire.FileEntry) (map[string]string, resolver.Files, error) {
	t.Helper()
	found, err := resolver.Resolver{Source: s}.ResolveFiles(t.Context(), wire.PodFiles{Directories: map[string][]wire.FileEntry{"0": entries}}, time.Hour)
	texts := map[string]string{}
	for name, file := range found.Directories["0"] {
		texts[name] = string(file.Content)
	}
	return texts, found, err
}

func TestFilesHaveTheValuesOfTheirReferences(t *testing.T) {
	s, certificate, key := newFileSource(t)
	for name, c := range map[string]struct {
		entry wire.FileEntry
		want  map[string]string
	}{
		"a value with a NUL byte":            {wire.FileEntry{Path: "sub/db", Reference: "db@azurekeyvault"}, map[string]string{"sub/db": "a\x00b"}},
		"an empty value":                     {wire.FileEntry{Path: "f", Reference: "empty@azurekeyvault"}, map[string]string{"f": ""}},
		"a part":                             {wire.FileEntry{Path: "f", Reference: "user@azurekeyvault?password"}, map[string]string{"f": "pass:word"}},
		"an item":                            {wire.FileEntry{Path: "f", Reference: "several@azurekeyvault?web.pem"}, map[string]string{"f": certificate}},
		"a folder of a secret":               {wire.FileEntry{Path: ".", IsFolder: true, Reference: "db@azurekeyvault"}, map[string]string{"db": "a\x00b"}},
		"a folder of an empty secret":        {wire.FileEntry{Path: ".", IsFolder: true, Reference: "empty@azurekeyvault"}, map[string]string{"empty": ""}},
		"a folder as the Secret has it":      {wire.FileEntry{Path: "x", IsFolder: true, Reference: "keyed@azurekeyvault"}, map[string]string{"x/dsn": "a\x00b"}},
		"a folder of a user":                 {wire.FileEntry{Path: ".", IsFolder: true, Reference: "user@azurekeyvault"}, map[string]string{"username": "ada", "password": "pass:word"}},
		"a folder of entries":                {wire.FileEntry{Path: ".", IsFolder: true, Reference: "multi@azurekeyvault"}, map[string]string{"A": "1", "b.txt": "two words"}},
		"a folder of a certificate":          {wire.FileEntry{Path: "tls", IsFolder: true, Reference: "web@azurekeyvault"}, map[string]string{"tls/tls.crt": certificate, "tls/tls.key": key}},
		"a folder of spec.data":              {wire.FileEntry{Path: ".", IsFolder: true, Reference: "several@azurekeyvault"}, map[string]string{"a": "a\x00b", "web.pem": certificate, "password": "changeit"}},
		"json":                               {wire.FileEntry{Path: "f.json", Format: "json", Reference: "multi@azurekeyvault"}, map[string]string{"f.json": "{\n  \"A\": \"1\",\n  \"b.txt\": \"two words\"\n}\n"}},
		"properties, as the Secret has them": {wire.FileEntry{Path: "f", Format: "properties", Reference: "user@azurekeyvault"}, map[string]string{"f": "password=pass\\:word\nusername=ada\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.entry.Mode = 0o440
			got, files, err := resolveFiles(t, s, c.entry)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
			for _, file := range files.Directories["0"] {
				assert.EqualValues(t, 0o440, file.Mode)
			}
		})
	}
}

func TestAKeystoreHoldsTheCertificateAndItsKey(t *testing.T) {
	s, certificate, _ := newFileSource(t)
	for _, reference := range []string{"web@azurekeyvault", "pem@azurekeyvault", "several@azurekeyvault?web.pem"} {
		entry := wire.FileEntry{Path: "f", Format: "pfx", Reference: reference, PasswordReference: "pw@azurekeyvault"}
		got, _, err := resolveFiles(t, s, entry)
		require.NoError(t, err)
		_, found, err := pkcs12.Decode([]byte(got["f"]), "changeit")
		require.NoError(t, err)
		block, _ := pem.Decode([]byte(certificate))
		assert.True(t, bytes.Equal(block.Bytes, found.Raw))
		again, _, err := resolveFiles(t, s, entry)
		require.NoError(t, err)
		assert.Equal(t, got, again)
	}
	assert.Equal(t, keyvault.KindSecret, s.kinds["web"], "the private key is in the secret")
}

func TestACertificateIsReadOnceForAllItsFiles(t *testing.T) {
	s, certificate, key := newFileSource(t)
	got, _, err := resolveFiles(t, s, wire.FileEntry{Path: "c", Reference: "web@azurekeyvault"}, wire.FileEntry{Path: "k", Reference: "web@azurekeyvault?tls.key"},
		wire.FileEntry{Path: "f", IsFolder: true, Reference: "web@azurekeyvault"})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"c": certificate, "k": key, "f/tls.crt": certificate, "f/tls.key": key}, got)
	assert.Equal(t, 1, s.reads)
}

func TestWhatAFileCantHoldNamesTheFile(t *testing.T) {
	s, _, _ := newFileSource(t)
	large := make([]wire.FileEntry, 0, 80)
	for i := range 80 {
		large = append(large, wire.FileEntry{Path: fmt.Sprint(i), Reference: "large@azurekeyvault"})
	}
	for name, c := range map[string]struct {
		entries []wire.FileEntry
		kind    fault.Kind
		says    string
	}{
		"a resource that is missing": {[]wire.FileEntry{{Path: "a/b", Reference: "gone@azurekeyvault"}}, fault.NotFound, `file "a/b" (gone@azurekeyvault): there is no such resource`},
		"a folder that is missing":   {[]wire.FileEntry{{Path: ".", IsFolder: true, Reference: "gone@azurekeyvault"}}, fault.NotFound, `folder (gone@azurekeyvault): there is`},
		"no reference":               {[]wire.FileEntry{{Path: "a", Reference: "canary"}}, fault.Invalid, `file "a": the value is meant as a reference`},
		"a part of a folder":         {[]wire.FileEntry{{Path: "a", IsFolder: true, Reference: "web@azurekeyvault?tls.key"}}, fault.Invalid, "remove the question mark"},
		"an unknown part":            {[]wire.FileEntry{{Path: "a", Reference: "db@azurekeyvault?x"}}, fault.Invalid, `the query "x" is not known`},
		"a key of another format":    {[]wire.FileEntry{{Path: "a", Format: "dotenv", Reference: "multi@azurekeyvault"}}, fault.Invalid, `the data key "b.txt" is not the name of a variable`},
		"an unknown format":          {[]wire.FileEntry{{Path: "a", Format: "yaml", Reference: "db@azurekeyvault"}}, fault.Invalid, "unknown format"},
		"no certificate":             {[]wire.FileEntry{{Path: "a", Format: "jks", Reference: "multi@azurekeyvault?A", PasswordReference: "pw@azurekeyvault"}}, fault.Invalid, "an object of type multi-key-value-secret has none"},
		"no password":                {[]wire.FileEntry{{Path: "a", Format: "jks", Reference: "web@azurekeyvault", PasswordReference: "gone@azurekeyvault"}}, fault.NotFound, "its password (gone@azurekeyvault): there is no such"},
		"an empty password":          {[]wire.FileEntry{{Path: "a", Format: "jks", Reference: "web@azurekeyvault", PasswordReference: "empty@azurekeyvault"}}, fault.Malformed, "the password for a file of format jks is empty"},
		"too many bytes":             {large, fault.Invalid, "files with more than 4 MiB"},
		"too many files":             {make([]wire.FileEntry, limits.PodFiles+1), fault.Invalid, "more than 200 files"},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range c.entries {
				if c.entries[i].Reference == "" {
					c.entries[i] = wire.FileEntry{Path: fmt.Sprint(i), Reference: "db@azurekeyvault"}
				}
			}
			got, _, err := resolveFiles(t, s, c.entries...)
			require.ErrorContains(t, err, c.says)
			assert.Equal(t, c.kind, fault.KindOf(err))
			assert.NotContains(t, err.Error(), "canary")
			assert.Empty(t, got)
		})
	}
	_, _, err := resolveFiles(t, s, wire.FileEntry{Path: "a", Reference: "gone@azurekeyvault"})
	assert.True(t, fault.CanAppearLater(err), "a resource that is created later is waited for")
}

func TestTheShortestRefreshIntervalCounts(t *testing.T) {
	s, _, _ := newFileSource(t)
	for want, references := range map[time.Duration][]string{time.Hour: {"db", "once"}, 5 * time.Minute: {"db", "once", "several?a"}, 0: {"once"}} {
		var entries []wire.FileEntry
		for _, reference := range references {
			name, query, _ := strings.Cut(reference, "?")
			entries = append(entries, wire.FileEntry{Path: name, Reference: strings.TrimSuffix(name+"@azurekeyvault?"+query, "?")})
		}
		_, files, err := resolveFiles(t, s, entries...)
		require.NoError(t, err)
		assert.Equal(t, want, files.RefreshInterval, "%v", references)
	}
}

func TestFilesReserveMemory(t *testing.T) {
	s, _, _ := newFileSource(t)
	full := fault.New(fault.Throttled, "no memory left")
	reserved := 0
	r := resolver.Resolver{Source: s, ReserveBytes: func(bytes int) error {
		if reserved += bytes; reserved > 200_000 {
			return full
		}
		return nil
	}}
	entries := []wire.FileEntry{}
	for i := range 5 {
		entries = append(entries, wire.FileEntry{Path: fmt.Sprint(i), Reference: "large@azurekeyvault"})
	}
	_, err := r.ResolveFiles(t.Context(), wire.PodFiles{Directories: map[string][]wire.FileEntry{"0": entries}}, time.Hour)
	assert.ErrorIs(t, err, full)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = resolver.Resolver{Source: s}.ResolveFiles(ended, wire.PodFiles{Directories: map[string][]wire.FileEntry{"0": entries}}, time.Hour)
	assert.Equal(t, fault.Unavailable, fault.KindOf(err))
}
