package decode_test

import (
	"context"
	"encoding/base64"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// fingerprintOf returns the only fingerprint of a recipe with one object.
func fingerprintOf(t *testing.T, kind recipe.ObjectType, o keyvault.Object) (string, error) {
	t.Helper()
	r := recipeOf(kind, "")
	values, err := decode.Fingerprints(t.Context(), r, contents(r, o))
	for name, value := range values {
		assert.Equal(t, "/"+string(kind)+"/o/", name)
		return string(value.Reveal()), err
	}
	return "", err
}

func TestACertificateIsTheSameByWhicheverKindItIsRead(t *testing.T) {
	pfx, err := os.ReadFile("../../certificate/testdata/openssl3.pfx")
	require.NoError(t, err)
	bundle, err := certificate.Parse(pfx, "")
	require.NoError(t, err)
	public := keyvault.Object{Ref: keyvault.Ref{Kind: keyvault.KindCertificate}, Value: keyvault.NewValue(bundle.Leaf().Raw)}
	one, err := fingerprintOf(t, decode.Certificate, public)
	require.NoError(t, err)
	other, err := fingerprintOf(t, decode.Certificate, object(base64.StdEncoding.EncodeToString(pfx)))
	require.NoError(t, err)
	assert.Equal(t, one, other)
	assert.NotContains(t, one, "PRIVATE")
	_, err = fingerprintOf(t, decode.Certificate, object("canary"))
	assert.Equal(t, fault.Malformed, fault.KindOf(err))
	assert.Equal(t, keyvault.KindSecret, decode.AlternativeKind(recipe.Item{Type: decode.Certificate}))
	for _, kind := range []recipe.ObjectType{decode.Secret, decode.Key, decode.MultiKey, "other"} {
		assert.Empty(t, decode.AlternativeKind(recipe.Item{Type: kind}), kind)
	}
}

func TestWhatPodsCouldNotUseHasNoFingerprint(t *testing.T) {
	for _, kind := range []recipe.ObjectType{decode.Secret, decode.Key} {
		got, err := fingerprintOf(t, kind, object("any \x00"))
		require.NoError(t, err)
		assert.Equal(t, "any \x00", got)
	}
	got, err := fingerprintOf(t, decode.MultiKey, object(`{"any:key": 1}`))
	require.NoError(t, err, "a pod can ask for a name that no Secret can have")
	assert.Equal(t, `{"any:key": 1}`, got)
	_, err = fingerprintOf(t, decode.MultiKey, object("[canary"))
	assert.Equal(t, fault.Malformed, fault.KindOf(err))
	assert.NotContains(t, err.Error(), "canary")
	several, all := dataOf(2, "x", nil)
	values, err := decode.Fingerprints(t.Context(), several, all)
	require.NoError(t, err)
	assert.Len(t, values, 2)
	all[1].Item.Type = decode.Certificate
	_, err = decode.Fingerprints(t.Context(), several, all)
	assert.ErrorContains(t, err, "object o1")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = decode.Fingerprints(ended, several, all)
	assert.Equal(t, fault.Unavailable, fault.KindOf(err))
}
