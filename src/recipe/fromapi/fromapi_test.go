package fromapi_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
)

func TestParseReadsEveryField(t *testing.T) {
	typed := v2beta1.AzureKeyVaultSecret{Spec: v2beta1.AzureKeyVaultSecretSpec{
		Vault: v2beta1.AzureKeyVault{
			Name:          "kv-1",
			Object:        v2beta1.AzureKeyVaultObject{Name: "cert", Type: "multi-key-value-secret", Version: "0a", ContentType: "application/x-yaml"},
			AzureIdentity: &v2beta1.AzureIdentity{Name: "sa"},
		},
		Output: &v2beta1.AzureKeyVaultOutput{
			Transform: []v2beta1.Transform{"trim", "base64decode"},
			Secret:    &v2beta1.AzureKeyVaultOutputSecret{Name: "s", Type: "kubernetes.io/tls", DataKey: "k", ChainOrder: "ensureserverfirst"},
			ConfigMap: &v2beta1.AzureKeyVaultOutputConfigMap{Name: "c", DataKey: "ck"},
		},
	}}
	want := recipe.Recipe{
		Vault: "kv-1", Name: "cert", Version: "0a", Type: recipe.MultiKey, ContentType: "application/x-yaml", Identity: "sa",
		Transforms: []string{"trim", "base64decode"},
		Secret:     &recipe.SecretOutput{Name: "s", Type: "kubernetes.io/tls", DataKey: "k", ChainOrder: "ensureserverfirst"},
		ConfigMap:  &recipe.ConfigMapOutput{Name: "c", DataKey: "ck"},
	}
	marshalled, err := json.Marshal(typed)
	require.NoError(t, err)
	got, err := fromapi.Parse(marshalled)
	require.NoError(t, err)
	assert.Empty(t, cmp.Diff(want, got))

	served := []byte(`{"apiVersion":"spv.no/v2beta1","kind":"AzureKeyVaultSecret","metadata":{"name":"n","uid":"u"},"spec":{
		"vault":{"name":"kv-1","object":{"name":"cert","type":"multi-key-value-secret","version":"0a","contentType":"application/x-yaml"},
		"azureIdentity":{"name":"sa"}},"output":{"transform":["trim","base64decode"],
		"secret":{"name":"s","type":"kubernetes.io/tls","dataKey":"k","chainOrder":"ensureserverfirst"},
		"configMap":{"name":"c","dataKey":"ck"}}},"status":{"secretName":"ignored"}}`)
	fromServer, err := fromapi.Parse(served)
	require.NoError(t, err)
	assert.Empty(t, cmp.Diff(got, fromServer), "the server's bytes and the typed object must mean the same")
}

const minimal = `{"spec":{"vault":{"name":"kv1","object":{"name":"o","type":"secret"}}`

func TestParseAcceptsBothSpellingsOfTransform(t *testing.T) {
	for _, spelling := range []string{"transform", "transforms"} {
		r, err := fromapi.Parse([]byte(minimal + `,"output":{"` + spelling + `":["trim"]}}}`))
		require.NoError(t, err)
		assert.Equal(t, []string{"trim"}, r.Transforms)
	}
	r, err := fromapi.Parse([]byte(minimal + `}}`))
	require.NoError(t, err)
	assert.Nil(t, r.Secret, "no output means no Secret")
	assert.Nil(t, r.ConfigMap)
}

func TestParseRefusesAndNamesTheField(t *testing.T) {
	cases := map[string]struct{ object, field string }{
		"no JSON":             {`{`, "AzureKeyVaultSecret"},
		"no vault":            {`{"spec":{"vault":{"object":{"name":"o","type":"secret"}}}}`, "spec.vault.name"},
		"a vault with dots":   {`{"spec":{"vault":{"name":"kv1.vault.azure.net","object":{"name":"o","type":"secret"}}}}`, "spec.vault.name"},
		"a vault with slash":  {`{"spec":{"vault":{"name":"kv1/x","object":{"name":"o","type":"secret"}}}}`, "spec.vault.name"},
		"an object as a path": {`{"spec":{"vault":{"name":"kv1","object":{"name":"../x","type":"secret"}}}}`, "spec.vault.object.name"},
		"a version as a path": {`{"spec":{"vault":{"name":"kv1","object":{"name":"o","type":"secret","version":"a/b"}}}}`, "spec.vault.object.version"},
		"an unknown type":     {`{"spec":{"vault":{"name":"kv1","object":{"name":"o","type":"token"}}}}`, "spec.vault.object.type"},
		"multi-key without a content type": {
			`{"spec":{"vault":{"name":"kv1","object":{"name":"o","type":"multi-key-value-secret"}}}}`, "spec.vault.object.contentType"},
		"both spellings of transform": {minimal + `,"output":{"transform":["trim"],"transforms":["trim"]}}}`, "transforms"},
		"an unknown transform":        {minimal + `,"output":{"transform":["rot13"]}}}`, "spec.output.transform"},
		"a reserved type":             {minimal + `,"output":{"secret":{"name":"s","type":"kubernetes.io/service-account-token"}}}}`, "spec.output.secret.type"},
		"a Secret without a name":     {minimal + `,"output":{"secret":{"dataKey":"k"}}}}`, "spec.output.secret.name"},
		"a bad data key":              {minimal + `,"output":{"secret":{"name":"s","dataKey":"a/b"}}}}`, "spec.output.secret.dataKey"},
		"a bad ConfigMap name":        {minimal + `,"output":{"configMap":{"name":"S"}}}}`, "spec.output.configMap.name"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := fromapi.Parse([]byte(c.object))
			assert.Equal(t, fault.Invalid, fault.KindOf(err))
			assert.ErrorContains(t, err, c.field)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal + `}}`))
	f.Add([]byte(minimal + `,"output":{"secret":{"name":"s","dataKey":"k"},"transform":["trim"]}}}`))
	f.Fuzz(func(t *testing.T, object []byte) {
		r, err := fromapi.Parse(object)
		if err == nil && (r.Vault == "" || r.Name == "") {
			t.Fatal("a recipe without a vault or an object was accepted")
		}
	})
}
