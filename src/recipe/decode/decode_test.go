package decode_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

func secretRecipe(change func(*recipe.Recipe)) recipe.Recipe {
	r := recipe.Recipe{Vault: "kv1", Name: "o", Type: recipe.Secret, Secret: &recipe.SecretOutput{Name: "s", DataKey: "k"}}
	change(&r)
	return r
}

func object(value string) keyvault.Object {
	return keyvault.Object{Version: "1", Value: keyvault.NewValue([]byte(value))}
}

func TestSecretData(t *testing.T) {
	cases := map[string]struct {
		change   func(*recipe.Recipe)
		in, want string
	}{
		"the value as it is":           {func(*recipe.Recipe) {}, " a\x00b\n", " a\x00b\n"},
		"Opaque said aloud":            {func(r *recipe.Recipe) { r.Secret.Type = "Opaque" }, "v", "v"},
		"transformed, in order":        {func(r *recipe.Recipe) { r.Transforms = []string{"trim", "base64encode"} }, " a ", "YQ=="},
		"the empty value is a value":   {func(*recipe.Recipe) {}, "", ""},
		"an identity changes no value": {func(r *recipe.Recipe) { r.Identity = "sa" }, "v", "v"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			data, err := decode.SecretData(secretRecipe(c.change), object(c.in))
			require.NoError(t, err)
			require.Len(t, data, 1)
			assert.Equal(t, c.want, string(data["k"].Reveal()))
		})
	}
}

func TestSecretDataRefusesWhatItCannotMake(t *testing.T) {
	cases := map[string]struct {
		change func(*recipe.Recipe)
		field  string
		kind   fault.Kind
	}{
		"a certificate":           {func(r *recipe.Recipe) { r.Type = recipe.Certificate }, "spec.vault.object.type", fault.Invalid},
		"a ConfigMap":             {func(r *recipe.Recipe) { r.ConfigMap = &recipe.ConfigMapOutput{Name: "c"} }, "spec.output.configMap", fault.Invalid},
		"an output of nothing":    {func(r *recipe.Recipe) { r.Secret = nil }, "spec.output", fault.Invalid},
		"a typed Secret":          {func(r *recipe.Recipe) { r.Secret.Type = "kubernetes.io/tls" }, "spec.output.secret.type", fault.Invalid},
		"a missing data key":      {func(r *recipe.Recipe) { r.Secret.DataKey = "" }, "spec.output.secret.dataKey", fault.Invalid},
		"a value that is no code": {func(r *recipe.Recipe) { r.Transforms = []string{"base64decode"} }, "base64decode", fault.Malformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := decode.SecretData(secretRecipe(c.change), object("canary !"))
			assert.Equal(t, c.kind, fault.KindOf(err))
			assert.ErrorContains(t, err, c.field)
			assert.NotContains(t, err.Error(), "canary")
		})
	}
}

func TestVariable(t *testing.T) {
	r := secretRecipe(func(r *recipe.Recipe) { r.Secret = nil; r.Transforms = []string{"trim"} })
	v, err := decode.Variable(r, object(" v "), "")
	require.NoError(t, err)
	assert.Equal(t, "v", string(v.Reveal()), "the same transforms as the Secret")

	_, err = decode.Variable(r, object("canary"), "password")
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.ErrorContains(t, err, "password")

	_, err = decode.Variable(secretRecipe(func(r *recipe.Recipe) { r.Type = recipe.Key }), object("x"), "")
	assert.Equal(t, fault.Invalid, fault.KindOf(err))

	_, err = decode.Variable(secretRecipe(func(r *recipe.Recipe) { r.Transforms = []string{"base64decode"} }), object("!"), "")
	assert.Equal(t, fault.Malformed, fault.KindOf(err))
}
