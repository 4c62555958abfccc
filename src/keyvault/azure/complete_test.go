package azure_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func TestAnObjectThatLacksSomethingIsAnError(t *testing.T) {
	const (
		at          = "https://kv1.vault.azure.net/"
		anotherName = "another object or version"
	)
	for name, c := range map[string]struct {
		kind       keyvault.Kind
		body, says string
	}{
		"a secret without a value":          {keyvault.KindSecret, `{"id":"` + at + `secrets/db/01"}`, "incomplete"},
		"a secret without an id":            {keyvault.KindSecret, `{"value":"v"}`, "incomplete"},
		"a secret whose id has no version":  {keyvault.KindSecret, `{"value":"v","id":"` + at + `secrets/db"}`, anotherName},
		"a certificate without content":     {keyvault.KindCertificate, `{"id":"` + at + `certificates/db/01"}`, "incomplete"},
		"a certificate with empty content":  {keyvault.KindCertificate, `{"id":"` + at + `certificates/db/01","cer":""}`, "incomplete"},
		"a certificate without an id":       {keyvault.KindCertificate, `{"cer":"YQ=="}`, "incomplete"},
		"a key that is not there":           {keyvault.KindKey, `{}`, "incomplete"},
		"a key without an id":               {keyvault.KindKey, `{"key":{"kty":"RSA","n":"AQ","e":"AQAB"}}`, "incomplete"},
		"a key without a type":              {keyvault.KindKey, `{"key":{"kid":"` + at + `keys/db/01","n":"AQ","e":"AQAB"}}`, "incomplete"},
		"a key whose id has no version":     {keyvault.KindKey, `{"key":{"kid":"` + at + `keys/db","kty":"RSA"}}`, anotherName},
		"a null in a list of certificates":  {keyvault.KindCertificateList, `{"value":[null]}`, "incomplete"},
		"a null in a list of keys":          {keyvault.KindKeyList, `{"value":[null]}`, "incomplete"},
		"a null in a list of secrets":       {keyvault.KindSecretList, `{"value":[null]}`, "incomplete"},
		"a certificate that is disabled":    {keyvault.KindCertificate, `{"id":"` + at + `certificates/db/01","cer":"YQ==","attributes":{"enabled":false}}`, "disabled"},
		"a key that is disabled":            {keyvault.KindKey, `{"key":{"kid":"` + at + `keys/db/01","kty":"RSA"},"attributes":{"enabled":false}}`, "disabled"},
		"a list that goes on at another vm": {keyvault.KindKeyList, `{"value":[],"nextLink":"https://kv1.vault.azure.net.evil.example/keys"}`, "another host"},
	} {
		t.Run(name, func(t *testing.T) {
			ref := keyvault.Ref{Vault: "kv1", Kind: c.kind, Name: "db"}
			object, err := ofVault(t, scripted{status: http.StatusOK, body: c.body, calls: new(int)}).Fetch(t.Context(), ref)
			require.ErrorContains(t, err, c.says)
			assert.Zero(t, object)
			if c.says != "disabled" {
				assert.Equal(t, fault.Malformed, fault.KindOf(err))
			}
		})
	}
}

func TestWhatAVaultMayLeaveOutIsNotNeeded(t *testing.T) {
	for name, c := range map[string]struct {
		kind keyvault.Kind
		body string
		tags map[string]string
	}{
		"a certificate with tags and an unset state": {keyvault.KindCertificate,
			`{"id":"https://kv1.vault.azure.net/certificates/db/01","cer":"YQ==","attributes":{},"tags":{"t":"1","none":null}}`, map[string]string{"t": "1"}},
		"a key with tags":                    {keyvault.KindKey, `{"key":{"kid":"https://kv1.vault.azure.net/keys/db/01","kty":"RSA"},"tags":{"t":"1"}}`, map[string]string{"t": "1"}},
		"a last page that has an empty link": {keyvault.KindSecretList, `{"value":[{"id":"https://kv1.vault.azure.net/secrets/db"}],"nextLink":""}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			object, err := ofVault(t, scripted{status: http.StatusOK, body: c.body, calls: new(int)}).Fetch(t.Context(), keyvault.Ref{Vault: "kv1", Kind: c.kind, Name: "db"})
			require.NoError(t, err)
			assert.Equal(t, c.tags, object.Tags)
		})
	}
}

func TestOtherTypesOfMissingObjectsAreRememberedUpToABound(t *testing.T) {
	v := ofVault(t, scripted{status: http.StatusNotFound, body: `{"error":{"code":"SecretNotFound"}}`, calls: new(int)})
	for i := range limits.OtherTypeLookups + 5 {
		_, err := v.Fetch(t.Context(), keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: fmt.Sprint("n", i)})
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		require.LessOrEqual(t, v.CachedOtherTypes(), limits.OtherTypeLookups)
	}
	assert.Positive(t, v.CachedOtherTypes())
}
