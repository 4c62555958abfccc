package decode_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
	"github.com/akv2k8s/akv2k8s/src/resolver"
)

// flagSource has one AzureKeyVaultSecret for a flag.
type flagSource struct{ resource string }

func (s flagSource) ReadResource(context.Context, string) (recipe.Recipe, error) {
	return fromapi.Parse([]byte(s.resource))
}

func (flagSource) ReadObject(_ context.Context, _ recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	return keyvault.Object{Ref: ref, Version: "1", Value: keyvault.NewValue([]byte(`{"on": true, "owner": "team-a"}`))}, nil
}

// TestTheNewTypeWorks runs with the overlay of tests/arch, from the resource to the output and the variables.
func TestTheNewTypeWorks(t *testing.T) {
	source := flagSource{`{"spec":{"vault":{"name":"kv1","object":{"name":"o","type":"flag"}},"output":{"secret":{"name":"out","dataKey":"k"},"configMap":{"name":"out","dataKey":"k"}}}}`}
	r, err := source.ReadResource(t.Context(), "flags")
	require.NoError(t, err)
	o, err := source.ReadObject(t.Context(), r, r.ItemRef(r.Items[0], decode.KindForOutput(r, r.Items[0])))
	require.NoError(t, err)
	for _, out := range r.Outputs {
		data, err := decode.OutputData(t.Context(), r, out, []decode.FetchedItem{{Item: r.Items[0], Object: o}})
		require.NoError(t, err)
		assert.Equal(t, "true", string(data["k"].Reveal()), out.Kind)
	}
	values, err := resolver.Resolve(t.Context(), source, map[string]string{"ON": "flags@azurekeyvault", "OWNER": "flags@azurekeyvault?owner"})
	require.NoError(t, err)
	assert.Equal(t, map[string][]byte{"ON": []byte("true"), "OWNER": []byte("team-a")}, values)
	_, err = resolver.Resolve(t.Context(), source, map[string]string{"X": "flags@azurekeyvault?canary"})
	assert.ErrorContains(t, err, "use owner, or remove")
}
