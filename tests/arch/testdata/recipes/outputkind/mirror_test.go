package output_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// TestTheNewKindWorks runs with the overlay of tests/arch, from the recipe to the desired state. The path from there to
// the live object and the status is in TestEveryKindOfOutputIsWrittenAndReadBack.
func TestTheNewKindWorks(t *testing.T) {
	out := recipe.Output{Kind: "Mirror", Name: "out", DataKey: "k"}
	r := recipe.Recipe{Items: []recipe.Item{{Name: "o", Type: decode.Secret}}, Outputs: []recipe.Output{out}}
	read := func(value string) []decode.FetchedItem {
		return []decode.FetchedItem{{Item: r.Items[0], Object: keyvault.Object{Value: keyvault.NewValue([]byte(value))}}}
	}
	data, err := decode.OutputData(t.Context(), r, out, read("v"))
	require.NoError(t, err)
	d := desired(owner(), out, data)
	assert.Equal(t, output.Mirror, d.Kind)
	assert.Equal(t, map[string][]byte{"k": []byte("v")}, d.Data)
	_, err = decode.OutputData(t.Context(), r, out, read("-----BEGIN EC PRIVATE "+"KEY-----"))
	assert.ErrorContains(t, err, "private key", "a new kind is public")
}
