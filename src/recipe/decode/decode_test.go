package decode_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

// recipeOf is a recipe with one object and a Secret of the type, with data key k.
func recipeOf(t recipe.ObjectType, secretType string) recipe.Recipe {
	return recipe.Recipe{Vault: "kv1", Items: []recipe.Item{{Name: "o", Type: t, ContentType: "application/x-json"}},
		Outputs: []recipe.Output{{Kind: recipe.OutputSecret, Name: "s", DataKey: "k", Type: secretType}}}
}

func object(value string) keyvault.Object {
	return keyvault.Object{Ref: keyvault.Ref{Kind: keyvault.KindSecret}, Version: "1", Value: keyvault.NewValue([]byte(value))}
}

func contents(r recipe.Recipe, o keyvault.Object) []decode.FetchedItem {
	return []decode.FetchedItem{{Item: r.Items[0], Object: o}}
}

func secretOf(r recipe.Recipe, o keyvault.Object) (map[string]keyvault.Value, error) {
	return secretData(context.Background(), r, contents(r, o))
}

// secretData is the data of the recipe's Secret.
func secretData(ctx context.Context, r recipe.Recipe, contents []decode.FetchedItem) (map[string]keyvault.Value, error) {
	return outputData(ctx, r, recipe.OutputSecret, contents)
}

// configMapData is the data of the recipe's ConfigMap.
func configMapData(ctx context.Context, r recipe.Recipe, contents []decode.FetchedItem) (map[string]keyvault.Value, error) {
	return outputData(ctx, r, recipe.OutputConfigMap, contents)
}

func outputData(ctx context.Context, r recipe.Recipe, kind string, contents []decode.FetchedItem) (map[string]keyvault.Value, error) {
	at := slices.IndexFunc(r.Outputs, func(o recipe.Output) bool { return o.Kind == kind })
	return decode.OutputData(ctx, r, r.Outputs[at], contents)
}

func variableOf(r recipe.Recipe, o keyvault.Object, part string) (keyvault.Value, error) {
	q, err := decode.NewQuery(r, part)
	if err != nil {
		return keyvault.Value{}, err
	}
	return decode.VariableValue(q, o)
}

// vector reads a test file of package certificate. A PFX is base64-encoded, as in a vault.
func vector(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "certificate", "testdata", name))
	require.NoError(t, err)
	if strings.HasSuffix(name, ".pfx") {
		return base64.StdEncoding.EncodeToString(content)
	}
	return string(content)
}

func leafOf(t testing.TB, name string) []byte {
	t.Helper()
	bundle, err := certificate.Parse([]byte(vector(t, name)), "")
	require.NoError(t, err)
	return bundle.Leaf().Raw
}

// The two public keys of RFC 7517, appendix A.1, without optional members.
const (
	rsaJWK = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB"}`
	ecJWK  = `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`
)

// TestEveryCell checks the data keys for each type of Secret and type of object.
func TestEveryCell(t *testing.T) {
	public := keyvault.Object{Ref: keyvault.Ref{Kind: keyvault.KindCertificate}, Value: keyvault.NewValue(leafOf(t, "ordered.pem"))}
	pfx, key := object(vector(t, "openssl3.pfx")), object(rsaJWK)
	raw, err := base64.StdEncoding.DecodeString(vector(t, "openssl3.pfx"))
	require.NoError(t, err)
	modulus, err := base64.RawURLEncoding.DecodeString(strings.Split(rsaJWK, `"`)[7])
	require.NoError(t, err)
	leafPEM := func() string {
		bundle, err := certificate.Parse([]byte(vector(t, "ordered.pem")), "")
		require.NoError(t, err)
		return string(certificate.EncodeCertificates(bundle.Leaf()))
	}()
	some := func(content string) map[string]string { return map[string]string{"k": content} }
	fixed := func(key, content string) map[string]string { return map[string]string{key: content} }
	const docker = `{"auths": {}}`
	for name, c := range map[string]struct {
		object     recipe.ObjectType
		secretType string
		vault      keyvault.Object
		want       map[string]string
	}{
		"secret, unset":                 {decode.Secret, "", object(" a\x00b\n"), some(" a\x00b\n")},
		"secret, Opaque":                {decode.Secret, "Opaque", object(""), some("")},
		"secret, another type":          {decode.Secret, "example.org/own", object("v"), some("v")},
		"secret, dockerconfigjson":      {decode.Secret, "kubernetes.io/dockerconfigjson", object(docker), fixed(".dockerconfigjson", docker)},
		"secret, dockercfg":             {decode.Secret, "kubernetes.io/dockercfg", object(docker), fixed(".dockercfg", docker)},
		"secret, basic-auth":            {decode.Secret, "kubernetes.io/basic-auth", object("me:pass:word"), map[string]string{"username": "me", "password": "pass:word"}},
		"secret, basic-auth, empty":     {decode.Secret, "kubernetes.io/basic-auth", object(":"), map[string]string{"username": "", "password": ""}},
		"secret, ssh-auth":              {decode.Secret, "kubernetes.io/ssh-auth", object("key"), fixed("ssh-privatekey", "key")},
		"certificate, unset":            {decode.Certificate, "", public, some(leafPEM)},
		"certificate, Opaque, PFX":      {decode.Certificate, "Opaque", pfx, some(string(raw))},
		"certificate, Opaque, PEM":      {decode.Certificate, "Opaque", object(vector(t, "reversed.pem")), some(vector(t, "reversed.pem"))},
		"certificate, dockerconfigjson": {decode.Certificate, "kubernetes.io/dockerconfigjson", public, some(leafPEM)},
		"certificate, dockercfg":        {decode.Certificate, "kubernetes.io/dockercfg", public, some(leafPEM)},
		"certificate, basic-auth":       {decode.Certificate, "kubernetes.io/basic-auth", public, some(leafPEM)},
		"certificate, ssh-auth":         {decode.Certificate, "kubernetes.io/ssh-auth", public, some(leafPEM)},
		"certificate, another type":     {decode.Certificate, "example.org/own", public, some(leafPEM)},
		"key, unset":                    {decode.Key, "", key, some(string(modulus))},
		"key, Opaque":                   {decode.Key, "Opaque", key, some(string(modulus))},
		"key, another type":             {decode.Key, "kubernetes.io/ssh-auth", key, some(string(modulus))},
		"multi-key, unset":              {decode.MultiKey, "", object(`{"a": "1"}`), fixed("a", "1")},
		"multi-key, tls":                {decode.MultiKey, "kubernetes.io/tls", object(`{"tls.crt": "c", "tls.key": "k"}`), map[string]string{"tls.crt": "c", "tls.key": "k"}},
		"multi-key, basic-auth":         {decode.MultiKey, "kubernetes.io/basic-auth", object(`{"username": "u"}`), fixed("username", "u")},
	} {
		t.Run(name, func(t *testing.T) {
			r := recipeOf(c.object, c.secretType)
			r.AllowEmpty = true
			data, err := secretOf(r, c.vault)
			require.NoError(t, err)
			got := map[string]string{}
			for key, value := range data {
				got[key] = string(value.Reveal())
			}
			assert.Equal(t, c.want, got)
			if c.vault.Ref.Kind == keyvault.KindCertificate {
				assert.Equal(t, keyvault.KindCertificate, decode.KindForOutput(r, r.Items[0]), "the public part needs no permission for the secret")
			}
		})
	}
}

func TestTLSIsTheChainAndTheKey(t *testing.T) {
	for name, c := range map[string]struct {
		object       recipe.ObjectType
		order, first string
	}{
		"openssl3.pfx":    {decode.Certificate, "", "leaf"},
		"keytool.pfx":     {decode.Certificate, "ensureserverfirst", "leaf"},
		"legacy-3des.pfx": {decode.Secret, "", "leaf"},
		"legacy-rc2.pfx":  {decode.Secret, "", "leaf"},
		"reversed.pem":    {decode.Certificate, "", "root"},
		"windows.pem":     {decode.Certificate, "ensureserverfirst", "leaf"},
		"P-384.pem":       {decode.Secret, "", "P-384"},
		"ed25519.pem":     {decode.Secret, "ensureserverfirst", "ed25519"},
	} {
		t.Run(name, func(t *testing.T) {
			r := recipeOf(c.object, "kubernetes.io/tls")
			r.Outputs[0].DataKey, r.Outputs[0].ChainOrder = "", c.order
			assert.Equal(t, keyvault.KindSecret, decode.KindForOutput(r, r.Items[0]), "the key is in the secret")
			data, err := secretOf(r, object(vector(t, name)))
			require.NoError(t, err)
			require.Len(t, data, 2)
			both, err := certificate.Parse(append(data["tls.crt"].Reveal(), data["tls.key"].Reveal()...), "")
			require.NoError(t, err)
			require.NotNil(t, both.Leaf(), "the key is of one of the certificates")
			assert.Equal(t, c.first+".example", both.Certificates[0].Subject.CommonName)
		})
	}
}

func TestKeysInEveryFormat(t *testing.T) {
	for name, c := range map[string]struct{ jwk, format, want string }{
		"RSA as PEM": {rsaJWK, "pem", "-----BEGIN PUBLIC KEY-----\n"},
		"EC as PEM":  {ecJWK, "pem", "-----BEGIN PUBLIC KEY-----\n"},
		"RSA as JWK": {rsaJWK, "jwk", rsaJWK},
		"EC as JWK":  {ecJWK, "jwk", ecJWK},
	} {
		t.Run(name, func(t *testing.T) {
			r := recipeOf(decode.Key, "")
			r.Outputs[0].KeyFormat = c.format
			data, err := secretOf(r, object(c.jwk))
			require.NoError(t, err)
			assert.Contains(t, string(data["k"].Reveal()), c.want)
			variable, err := variableOf(r, object(c.jwk), c.format)
			require.NoError(t, err)
			assert.True(t, data["k"].Equal(variable), "a pod gets the same")
			assert.Equal(t, keyvault.KindKey, decode.KindForOutput(r, r.Items[0]))
		})
	}
	for name, jwk := range map[string]string{
		"no JSON": "x", "RSA without numbers": `{"kty":"RSA"}`, "an exponent without bound": `{"kty":"RSA","n":"AQAB","e":"__________8"}`, "a curve of no PEM": `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`,
		"a point that is none": `{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`, "a number that is none": `{"kty":"EC","crv":"P-256","x":"!","y":"AQ"}`,
		"a number too large":          `{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("_", 60) + `","y":"AQ"}`,
		"another too large":           `{"kty":"EC","crv":"P-256","x":"AQ","y":"` + strings.Repeat("_", 60) + `"}`,
		"RSA with a modulus alone":    `{"kty":"RSA","n":"AQAB"}`,
		"RSA with an exponent alone":  `{"kty":"RSA","e":"AQAB"}`,
		"an exponent above 31 bits":   `{"kty":"RSA","n":"AQAB","e":"gAAAAA"}`,
		"half a point":                `{"kty":"EC","crv":"P-256","x":"AQ"}`,
		"the other half":              `{"kty":"EC","crv":"P-256","y":"AQ"}`,
		"a curve that nobody knows":   `{"kty":"EC","crv":"P-1","x":"AQ","y":"AQ"}`,
		"half a point on secp256k1":   `{"kty":"EC","crv":"P-256K","x":"AQ"}`,
		"the other half on secp256k1": `{"kty":"EC","crv":"P-256K","y":"AQ"}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := recipeOf(decode.Key, "")
			r.Outputs[0].KeyFormat = "pem"
			_, err := secretOf(r, object(jwk))
			assert.Equal(t, fault.Malformed, fault.KindOf(err))
		})
	}
	_, err := secretOf(recipeOf(decode.Key, ""), object(ecJWK))
	assert.ErrorContains(t, err, "keyFormat", "an EC key has no modulus: no empty value")
	_, err = secretOf(recipeOf(decode.Key, ""), object(`{"kty":"RSA","n":"AQAB!","e":"AQAB"}`))
	assert.Equal(t, fault.Malformed, fault.KindOf(err), "no part of a modulus")
}

func TestOnlyWhoWantsThePrivateKeyReadsACertificateAsASecret(t *testing.T) {
	for name, c := range map[string]struct {
		typ, part  string
		want, both keyvault.Kind
	}{
		"a secret":                {"secret", "", keyvault.KindSecret, keyvault.KindSecret},
		"many values":             {"multi-key-value-secret", "a", keyvault.KindSecret, keyvault.KindSecret},
		"a key":                   {"key", "", keyvault.KindKey, keyvault.KindKey},
		"a certificate":           {"certificate", "", keyvault.KindCertificate, keyvault.KindSecret},
		"a certificate's key":     {"certificate", "tls.key", keyvault.KindSecret, keyvault.KindSecret},
		"a secret's user":         {"secret", "username", keyvault.KindSecret, keyvault.KindSecret},
		"a certificate in binary": {"certificate", "raw", keyvault.KindCertificate, keyvault.KindSecret},
	} {
		q := decode.Query{Item: recipe.Item{Name: "o", Type: recipe.ObjectType(c.typ)}, Part: c.part}
		assert.Equal(t, c.part == "tls.key", q.NeedsPrivateKey(), name)
		assert.Equal(t, c.want, q.Kind(q.NeedsPrivateKey()), name)
		assert.Equal(t, c.both, q.Kind(true), "%s, beside the key of the same certificate", name)
	}
	public := recipe.Recipe{Items: recipeOf(decode.Certificate, "").Items,
		Outputs: []recipe.Output{{Kind: recipe.OutputConfigMap, Name: "c", DataKey: "k"}}}
	assert.Equal(t, keyvault.KindCertificate, decode.KindForOutput(public, public.Items[0]), "a ConfigMap alone")
	for typ, want := range map[string]keyvault.Kind{
		"": keyvault.KindCertificate, "Opaque": keyvault.KindSecret, "kubernetes.io/tls": keyvault.KindSecret,
	} {
		r := recipeOf(decode.Certificate, typ)
		assert.Equal(t, want, decode.KindForOutput(r, r.Items[0]), "type %q", typ)
	}
}

func TestAQueryThatIsNotKnownGivesNoEmptyValue(t *testing.T) {
	for _, typ := range decode.ObjectTypes() {
		part := "canary"
		if typ == decode.MultiKey {
			part = ""
		}
		_, err := decode.VariableValue(decode.Query{Item: recipe.Item{Name: "o", Type: typ}, Part: part}, object("user:password"))
		assert.Equal(t, fault.Invalid, fault.KindOf(err), typ)
	}
}

func TestConfigMapsHoldTheSameButNothingPrivate(t *testing.T) {
	r := recipeOf(decode.Secret, "kubernetes.io/basic-auth")
	r.Outputs = append(r.Outputs, recipe.Output{Kind: recipe.OutputConfigMap, Name: "c", DataKey: "ck"})
	data, err := configMapData(context.Background(), r, contents(r, object("u:p")))
	require.NoError(t, err)
	assert.Equal(t, "u:p", string(data["ck"].Reveal()), "the type of the Secret is not the ConfigMap's")

	both := recipeOf(decode.Certificate, "kubernetes.io/tls")
	both.Outputs = append(both.Outputs, recipe.Output{Kind: recipe.OutputConfigMap, Name: "c", DataKey: "ck"})
	data, err = configMapData(context.Background(), both, contents(both, object(vector(t, "openssl3.pfx"))))
	require.NoError(t, err)
	public, err := certificate.Parse(data["ck"].Reveal(), "")
	require.NoError(t, err)
	assert.Nil(t, public.Key)
	assert.Equal(t, "leaf.example", public.Leaf().Subject.CommonName)

	many := multiKey("json")
	many.Outputs = []recipe.Output{{Kind: recipe.OutputConfigMap, Name: "c"}}
	for name, c := range map[string]struct {
		recipe  recipe.Recipe
		content string
	}{
		"a PEM":                 {r, vector(t, "ordered.pem")},
		"a PFX":                 {r, vector(t, "legacy-rc2.pfx")},
		"a PEM in base64":       {r, base64.StdEncoding.EncodeToString([]byte(vector(t, "P-256.pem")))},
		"a JWK":                 {r, strings.Replace(ecJWK, `{`, `{"d":"canary",`, 1)},
		"a JWK of a secret":     {r, `{"kty":"oct","k":"canary"}`},
		"a set of JWKs":         {r, `{"keys":[` + rsaJWK + `,` + strings.Replace(rsaJWK, `{`, `{"d":"canary",`, 1) + `]}`},
		"DER in base64":         {r, base64.StdEncoding.EncodeToString(keyDER(t, "P-256.pem"))},
		"a PFX with a password": {r, vector(t, "password.pfx")},
		"an entry of many":      {many, `{"a": "-----BEGIN EC PRIVATE ` + `KEY-----\ncanary"}`},
	} {
		_, err := configMapData(context.Background(), c.recipe, contents(c.recipe, object(c.content)))
		assert.Equal(t, fault.Malformed, fault.KindOf(err), name)
		assert.ErrorContains(t, err, "never goes into a ConfigMap", name)
		assert.NotContains(t, err.Error(), "canary")
	}
}

func TestPublicKeysAndPlainTextMayGoIntoAConfigMap(t *testing.T) {
	r := recipeOf(decode.Secret, "")
	r.Outputs = []recipe.Output{{Kind: recipe.OutputConfigMap, Name: "c", DataKey: "k"}}
	for _, content := range []string{rsaJWK, ecJWK, `{"keys":[` + ecJWK + `]}`, `{"d":"of the settings","k":"v"}`, "plain", "cGxhaW4=", "[1]"} {
		data, err := configMapData(context.Background(), r, contents(r, object(content)))
		require.NoError(t, err, content)
		assert.Equal(t, content, string(data["k"].Reveal()))
	}
}

func keyDER(t *testing.T, name string) []byte {
	t.Helper()
	bundle, err := certificate.Parse([]byte(vector(t, name)), "")
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(bundle.Key)
	require.NoError(t, err)
	return der
}

func TestSeveralObjectsBecomeOneOutput(t *testing.T) {
	r := recipe.Recipe{Vault: "kv1", MultipleItems: true, Outputs: []recipe.Output{{Kind: recipe.OutputSecret, Name: "s", Type: "kubernetes.io/basic-auth"}}, Items: []recipe.Item{
		{Name: "user", Type: decode.Secret, DataKey: "username"}, {Name: "pass", Type: decode.Secret, DataKey: "password", Transforms: []string{"trim"}},
		{Name: "more", Type: decode.MultiKey, ContentType: "application/x-json"}}}
	read := func(more string) []decode.FetchedItem {
		return []decode.FetchedItem{{Item: r.Items[0], Object: object("me:too")}, {Item: r.Items[1], Object: object(" p ")}, {Item: r.Items[2], Object: object(more)}}
	}
	data, err := secretData(context.Background(), r, read(`{"extra": 1}`))
	require.NoError(t, err)
	require.Len(t, data, 3)
	assert.Equal(t, "me:too", string(data["username"].Reveal()), "each has its own key, and is not split")
	assert.Equal(t, "p", string(data["password"].Reveal()))
	_, err = secretData(context.Background(), r, read(`{"username": "canary"}`))
	assert.ErrorContains(t, err, `data key "username"`)
	_, err = secretData(context.Background(), r, read(`canary`))
	assert.ErrorContains(t, err, "object more")
	assert.NotContains(t, err.Error(), "canary")
}

func TestWhatCannotBeMadeIsRefusedWithTheFieldAndWithoutTheValue(t *testing.T) {
	for name, c := range map[string]struct {
		recipe  recipe.Recipe
		content string
		says    string
		kind    fault.Kind
	}{
		"an output of nothing":             {recipe.Recipe{Items: recipeOf(decode.Secret, "").Items}, "canary", "spec.output", fault.Invalid},
		"a missing data key":               {noDataKey(recipeOf(decode.Secret, "")), "canary", "spec.output.secret.dataKey", fault.Invalid},
		"a certificate without a data key": {noDataKey(recipeOf(decode.Certificate, "Opaque")), "canary", "spec.output.secret.dataKey", fault.Invalid},
		"a ConfigMap without a data key":   {recipe.Recipe{Items: recipeOf(decode.Key, "").Items, Outputs: []recipe.Output{{Kind: recipe.OutputConfigMap, Name: "c"}}}, "canary", "spec.output.configMap.dataKey", fault.Invalid},
		"a key as TLS":                     {recipeOf(decode.Key, "kubernetes.io/tls"), "canary", "spec.output.secret.type", fault.Invalid},
		"a value that is no base64":        {transforming("base64decode"), "canary !", "base64decode", fault.Malformed},
		"no docker config":                 {recipeOf(decode.Secret, "kubernetes.io/dockerconfigjson"), "canary", "not JSON", fault.Malformed},
		"no credentials":                   {recipeOf(decode.Secret, "kubernetes.io/basic-auth"), "canary", "NAME:PASSWORD", fault.Malformed},
		"TLS of garbage":                   {recipeOf(decode.Secret, "kubernetes.io/tls"), "canary", "neither PFX nor PEM", fault.Malformed},
		"TLS of a PFX with a password":     {recipeOf(decode.Secret, "kubernetes.io/tls"), vector(t, "password.pfx"), "without a password", fault.Malformed},
		"TLS of a PFX without a key":       {recipeOf(decode.Certificate, "kubernetes.io/tls"), vector(t, "nokey.pfx"), "exportable", fault.Malformed},
		"TLS of a PEM without a key":       {recipeOf(decode.Certificate, "kubernetes.io/tls"), vector(t, "nokey.pem"), "exportable", fault.Malformed},
		"Opaque of a PEM without a key":    {recipeOf(decode.Certificate, "Opaque"), vector(t, "nokey.pem"), "exportable", fault.Malformed},
		"TLS of a key of another":          {recipeOf(decode.Certificate, "kubernetes.io/tls"), vector(t, "foreign.pem"), "none of the 1 certificates", fault.Malformed},
		"TLS of two keys":                  {recipeOf(decode.Certificate, "kubernetes.io/tls"), vector(t, "twokeys.pem"), "keep one key", fault.Malformed},
		"a certificate that can't be read": {recipeOf(decode.Certificate, ""), "canary", "neither PFX nor PEM", fault.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := secretOrConfigMap(c.recipe, object(c.content))
			assert.Empty(t, data)
			assert.Equal(t, c.kind, fault.KindOf(err))
			assert.ErrorContains(t, err, c.says)
			assert.NotContains(t, err.Error(), "canary")
		})
	}
}

func noDataKey(r recipe.Recipe) recipe.Recipe {
	r.Outputs[0].DataKey = ""
	return r
}

func transforming(names ...string) recipe.Recipe {
	r := recipeOf(decode.Secret, "")
	r.Items[0].Transforms = names
	return r
}

func secretOrConfigMap(r recipe.Recipe, o keyvault.Object) (map[string]keyvault.Value, error) {
	if err := decode.CheckOutputs(r); err != nil {
		return nil, err
	}
	return secretOf(r, o)
}

func TestEveryQuery(t *testing.T) {
	public := keyvault.Object{Ref: keyvault.Ref{Kind: keyvault.KindCertificate}, Value: keyvault.NewValue(leafOf(t, "ordered.pem"))}
	whole := object(vector(t, "ordered.pem"))
	der := base64.StdEncoding.EncodeToString(leafOf(t, "ordered.pem"))
	noNUL := `{"kty":"RSA","n":"AQEB","e":"AQAB"}`
	for name, c := range map[string]struct {
		typ      recipe.ObjectType
		part     string
		object   keyvault.Object
		contains string
	}{
		"a secret":                              {decode.Secret, "", object("u:p:q"), "u:p:q"},
		"its user name":                         {decode.Secret, "username", object("u:p:q"), "u"},
		"its password":                          {decode.Secret, "password", object("u:p:q"), "p:q"},
		"a certificate":                         {decode.Certificate, "", public, "-----BEGIN CERTIFICATE-----"},
		"by its name":                           {decode.Certificate, "tls.crt", whole, "-----BEGIN CERTIFICATE-----"},
		"its key":                               {decode.Certificate, "tls.key", whole, "-----BEGIN RSA PRIVATE KEY-----"},
		"its bytes":                             {decode.Certificate, "raw", public, der},
		"its bytes, read together with its key": {decode.Certificate, "raw", whole, der},
		"a key":                                 {decode.Key, "", object(noNUL), "\x01\x01\x01"},
		"an entry":                              {decode.MultiKey, "a", object(`{"a": "1"}`), "1"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := variableOf(recipeOf(c.typ, ""), c.object, c.part)
			require.NoError(t, err)
			assert.Contains(t, string(v.Reveal()), c.contains)
		})
	}
	for name, c := range map[string]struct {
		typ    recipe.ObjectType
		part   string
		object string
		kind   fault.Kind
		says   string
	}{
		"a part that a secret has not":      {decode.Secret, "tls.crt", "canary", fault.Invalid, "username, password"},
		"a part that a certificate has not": {decode.Certificate, "pem", "canary", fault.Invalid, "tls.crt, tls.key, raw"},
		"a part that a key has not":         {decode.Key, "raw", "canary", fault.Invalid, "pem, jwk"},
		"a password of no credentials":      {decode.Secret, "password", "canary", fault.Malformed, "NAME:PASSWORD"},
		"a modulus with a NUL":              {decode.Key, "", `{"kty":"RSA","n":"AQAB","e":"AQAB"}`, fault.Malformed, "?pem or ?jwk"},
		"a key of no modulus":               {decode.Key, "", ecJWK, fault.Malformed, "azurekeyvault?pem"},
		"a private key that is not there":   {decode.Certificate, "tls.key", vector(t, "nokey.pem"), fault.Malformed, "exportable"},
		"bytes that can't be read":          {decode.Certificate, "raw", "canary", fault.Malformed, "neither PFX nor PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := variableOf(recipeOf(c.typ, ""), object(c.object), c.part)
			assert.Equal(t, c.kind, fault.KindOf(err))
			assert.ErrorContains(t, err, c.says)
			assert.NotContains(t, err.Error(), "canary")
		})
	}
}

func TestWhichVaultWasReadInPlaceOfAnother(t *testing.T) {
	own, other := decode.FetchedItem{}, decode.FetchedItem{Object: keyvault.Object{FallbackVault: "kv2"}}
	assert.Equal(t, "kv2", decode.FallbackVault([]decode.FetchedItem{own, other}))
	assert.Empty(t, decode.FallbackVault([]decode.FetchedItem{own}))
}

// FuzzJWK decodes keys in every format.
func FuzzJWK(f *testing.F) {
	for _, seed := range []string{rsaJWK, ecJWK, `{"kty":"EC","crv":"P-256K","x":"AA","y":"AA"}`, `{"kty":"RSA","n":"AQAB","e":"AA"}`, "{", "null"} {
		f.Add(seed, "pem")
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, content, format string) {
		r := recipeOf(decode.Key, "")
		r.Outputs[0].KeyFormat = format
		fuzzbudget.Check(t, decoding, len(content), func() {
			if _, err := secretOf(r, object(content)); err != nil && fault.KindOf(err) != fault.Malformed {
				t.Error(err)
			}
		})
	})
}

func TestAKeyOnSecp256k1HasAPEM(t *testing.T) {
	// The base point of the curve.
	jwk := `{"kty":"EC","crv":"P-256K","x":"eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g","y":"SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg"}`
	r := recipeOf(decode.Key, "")
	r.Outputs[0].KeyFormat = "pem"
	data, err := secretOf(r, object(jwk))
	require.NoError(t, err)
	assert.Contains(t, string(data["k"].Reveal()), "-----BEGIN PUBLIC KEY-----\nMFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAE")
	for _, name := range []string{"SECP256K1", "secp256k1"} {
		again, err := secretOf(r, object(strings.Replace(jwk, "P-256K", name, 1)))
		require.NoError(t, err)
		assert.Equal(t, data["k"].Reveal(), again["k"].Reveal(), name)
	}
	_, err = secretOf(r, object(strings.Replace(jwk, `"x":"e`, `"x":"f`, 1)))
	assert.Equal(t, fault.Malformed, fault.KindOf(err), "not a point of the curve")
}
