package keyvault_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

func TestEveryKindHasAListACollectionAndARole(t *testing.T) {
	collections := map[keyvault.Kind]string{keyvault.KindSecret: "secrets", keyvault.KindCertificate: "certificates", keyvault.KindKey: "keys"}
	roles := map[keyvault.Kind]string{keyvault.KindSecret: "Key Vault Secrets User", keyvault.KindCertificate: "Key Vault Certificate User",
		keyvault.KindKey: "Key Vault Crypto User"}
	assert.Equal(t, keyvault.KindCertificate, keyvault.ItemKinds()[0], "a certificate has a secret and a key of the same name")
	assert.Len(t, collections, len(keyvault.ItemKinds()))
	for _, kind := range keyvault.ItemKinds() {
		assert.Equal(t, kind, kind.ListKind().ItemKind())
		assert.Equal(t, kind, keyvault.KindOfCollection(collections[kind]))
		assert.Equal(t, roles[kind], kind.RequiredRole())
		assert.Equal(t, roles[kind], kind.ListKind().RequiredRole())
	}
	assert.Empty(t, keyvault.KindOfCollection("storage"))
	assert.Empty(t, keyvault.Kind("").RequiredRole())
	assert.Empty(t, keyvault.Kind("").ItemKind(), "the zero kind is no list")
	assert.Empty(t, keyvault.Kind("").ListKind())
}
