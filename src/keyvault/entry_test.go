package keyvault_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

func TestTheSizeOfAnEntryCountsItsNameAndTags(t *testing.T) {
	plain := keyvault.Entry{Name: "a"}.Size()
	assert.Equal(t, plain+9, keyvault.Entry{Name: "0123456789"}.Size())
	assert.Equal(t, plain+64+5, keyvault.Entry{Name: "a", Tags: map[string]string{"ab": "cde"}}.Size())
}

func TestAnIdentityIsNamedInWords(t *testing.T) {
	assert.Equal(t, `ServiceAccount "reader" of namespace "team"`, keyvault.Identity{Namespace: "team", ServiceAccount: "reader"}.String())
}
