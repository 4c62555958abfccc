package keyvault_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"testing"

	"github.com/davecgh/go-spew/spew"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// canary is a marker that must not appear in any output.
const canary = "canary-3f9c1b"

type document struct{ V keyvault.Value }

func TestValueNeverPrintsItsContent(t *testing.T) {
	object := keyvault.Object{
		Ref:   keyvault.Ref{Vault: "kv", Kind: keyvault.KindSecret, Name: "n"},
		Value: keyvault.NewValue([]byte(canary)),
	}
	hexCanary := fmt.Sprintf("%x", canary)
	printed := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t"} {
		printed["value "+verb] = fmt.Sprintf(verb, object.Value)
		printed["pointer "+verb] = fmt.Sprintf(verb, &object.Value)
		printed["object "+verb] = fmt.Sprintf(verb, object)
	}
	asJSON, err := json.Marshal(map[string]any{"o": object, "v": object.Value, "p": &object.Value})
	require.NoError(t, err)
	printed["json"] = string(asJSON)
	asXML, err := xml.Marshal(document{object.Value})
	require.NoError(t, err)
	printed["xml"] = string(asXML)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", object.Value, "o", object)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", object.Value, "o", object)
	printed["slog"] = log.String()
	printed["error"] = fmt.Errorf("wrapped: %v", object.Value).Error()
	printed["reflection"] = (&spew.ConfigState{DisableMethods: true, Indent: " "}).Sdump(object)
	for where, text := range printed {
		assert.NotContains(t, text, canary, where)
		assert.NotContains(t, text, hexCanary, where)
	}
	assert.Equal(t, keyvault.Redacted, fmt.Sprint(object.Value))
}

func TestValueRevealsACopy(t *testing.T) {
	in := []byte(canary)
	v := keyvault.NewValue(in)
	in[0] = 'X'
	assert.Equal(t, canary, string(v.Reveal()), "the caller's slice must not be shared")
	v.Reveal()[0] = 'X'
	assert.Equal(t, canary, string(v.Reveal()), "the revealed slice must not be shared")
	assert.Equal(t, len(canary), v.Len())
	assert.True(t, v.Equal(keyvault.NewValue([]byte(canary))))
	assert.False(t, v.Equal(keyvault.Value{}))
	assert.Zero(t, keyvault.Value{}.Len())
	assert.Nil(t, keyvault.Value{}.Reveal())
}

func TestAWipedValueHoldsZeros(t *testing.T) {
	v := keyvault.NewValue([]byte(canary))
	revealed := v.Reveal()
	v.Wipe()
	assert.Equal(t, make([]byte, len(canary)), v.Reveal())
	assert.Equal(t, canary, string(revealed), "what was revealed before is a copy")
	keyvault.Value{}.Wipe()
}

func TestRefNamesTheObject(t *testing.T) {
	assert.Equal(t, `secret list of vault "kv"`, keyvault.Ref{Vault: "kv", Kind: keyvault.KindSecretList}.String())
	assert.Equal(t, `key list of vault "kv"`, keyvault.Ref{Vault: "kv", Kind: keyvault.KindKeyList}.String())
	for _, kind := range []keyvault.Kind{keyvault.KindSecret, keyvault.KindCertificate, keyvault.KindKey} {
		assert.Equal(t, kind, kind.ListKind().ItemKind())
		assert.Empty(t, kind.ItemKind())
		assert.Empty(t, kind.ListKind().ListKind())
	}
	assert.Equal(t, `secret "db" of vault "kv"`, keyvault.Ref{Vault: "kv", Kind: keyvault.KindSecret, Name: "db"}.String())
	assert.Equal(t, `key "k" version 1a of vault "kv"`,
		keyvault.Ref{Vault: "kv", Kind: keyvault.KindKey, Name: "k", Version: "1a"}.String())
}

func TestStringMethodsAreRedactedToo(t *testing.T) {
	v := keyvault.NewValue([]byte("hunter2"))
	assert.Equal(t, keyvault.Redacted, v.String(), "fmt prefers Format, but others call these")
	assert.Equal(t, keyvault.Redacted, v.GoString())
}
