package decode_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

func TestEveryObjectTypeIsInTheSchema(t *testing.T) {
	var definition apiextensions.CustomResourceDefinition
	require.NoError(t, yaml.Unmarshal(crd.YAML(), &definition))
	require.NotEmpty(t, definition.Spec.Versions)
	for _, version := range definition.Spec.Versions {
		spec := version.Schema.OpenAPIV3Schema.Properties["spec"].Properties
		data := spec["data"].Items.Schema.Properties
		for field, object := range map[string]apiextensions.JSONSchemaProps{"spec.vault.object": spec["vault"].Properties["object"], "spec.data[].object": data["object"]} {
			var accepted []string
			for _, value := range object.Properties["type"].Enum {
				var name string
				require.NoError(t, yaml.Unmarshal(value.Raw, &name))
				accepted = append(accepted, name)
			}
			for _, name := range decode.ObjectTypes() {
				assert.Contains(t, accepted, string(name), "add it to the types of src/api/v2beta1, then run make generate: %s.type of %s", field, version.Name)
			}
			assert.Len(t, accepted, len(decode.ObjectTypes()), "the schema of %s accepts a type that has no file: %s.type", version.Name, field)
		}
	}
}

func TestEveryObjectTypeIsDocumented(t *testing.T) {
	fields, err := os.ReadFile("../../../docs/reference/azurekeyvaultsecret.md")
	require.NoError(t, err)
	queries, err := os.ReadFile("../../../docs/reference/env-injection.md")
	require.NoError(t, err)
	for _, name := range decode.ObjectTypes() {
		assert.Contains(t, string(fields), "`"+string(name)+"`", "docs/reference/azurekeyvaultsecret.md: add it to spec.vault.object.type and to the table of data keys")
		assert.Contains(t, string(queries), "\n| "+string(name)+" |", "docs/reference/env-injection.md: add a row with its queries")
	}
}

func TestEveryObjectTypeReadsAKindThatVaultsHave(t *testing.T) {
	for _, name := range decode.ObjectTypes() {
		q := decode.Query{Item: recipe.Item{Name: "o", Type: name}}
		for _, private := range []bool{false, true} {
			assert.Contains(t, keyvault.ItemKinds(), q.Kind(private), "%s: add the kind to src/keyvault/kind.go", name)
		}
	}
}

// A type that does not exist is neither read nor decoded as a secret.
func TestAnUnknownTypeIsNoSecret(t *testing.T) {
	item := recipe.Item{Name: "o", Type: "canary"}
	r := recipe.Recipe{Items: []recipe.Item{item}, Outputs: []recipe.Output{{Kind: recipe.OutputSecret, Name: "s", DataKey: "k"}}}
	assert.Empty(t, decode.KindForOutput(r, item))
	assert.Empty(t, decode.Query{Item: item}.Kind(false))
	assert.False(t, decode.Query{Item: item}.NeedsPrivateKey())
	assert.False(t, decode.HasEntries(item.Type))
	_, fromVault := secretOf(r, object("v"))
	_, asVariable := variableOf(r, object("v"), "")
	for _, err := range []error{decode.CheckItem(item, "spec.vault.object"), decode.CheckOutputs(r), fromVault, asVariable} {
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
		assert.ErrorContains(t, err, `spec.vault.object.type "canary" is not known; use one of [secret certificate key multi-key-value-secret]`)
	}
}
