package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/akv2k8s/akv2k8s/src/chartvalues"
)

func ownVersions(t *testing.T) []crdVersion {
	t.Helper()
	versions, err := readVersions("../../..")
	require.NoError(t, err)
	return versions
}

func TestEveryFieldHasADescriptionAndARow(t *testing.T) {
	versions := ownVersions(t)
	assert.Equal(t, "v2beta1", versions[0].Name)
	page := crdPage(versions)
	count := 0
	for _, part := range []string{"spec", "status"} {
		for _, f := range fieldsOf(versions[0], part) {
			count++
			assert.NotEmpty(t, f.description(), "%s has no comment in src/api/v2beta1", f.path)
			assert.NotContains(t, f.description(), "AzureKeyVaultSecretS", f.path)
			assert.True(t, strings.Contains(page, "\n| `"+f.path+"` | "), "the page lacks %s", f.path)
		}
	}
	assert.Greater(t, count, 50)
	for _, row := range []string{
		"| `spec.vault.object.type` | string | required; one of `secret`, `certificate`, `key`, `multi-key-value-secret` | Type of the object. |",
		"| `spec.output.transform` | list of strings | one of `trim`, `base64encode`, `base64decode`; at most 16 items | ",
		"| `spec.data[]` | list of objects | 1 to 100 items; “set either vault.object, for one object, or data and dataFrom, for several”; “each dataKey must be different” | ",
		"| `spec.data[].dataKey` | string | 1 to 253 characters; pattern `",
		"| `spec.refreshInterval` | integer or string | at most 32 characters; “must be 0",
		"| `spec.dataFrom[].match.tags` | map of strings | 1 to 15 entries | ",
		"| `status.lastAzureUpdate` | time (RFC 3339) |  | lastAzureUpdate is when ",
		"| `status.conditions[].status` | string | required; one of `True`, `False`, `Unknown` | ",
		"| `spec` | object | required | The desired state of a resource. |",
		"| `spv.no/v1` | yes | no | the same |",
	} {
		assert.True(t, strings.Contains(page, row), "the page lacks %s", row)
	}
	assert.False(t, strings.Contains(page, "default `"), "the page says that there is none")
}

func TestVersionsThatDifferAreNamed(t *testing.T) {
	a, b := ownVersions(t)[0], *ownVersions(t)[1].DeepCopy()
	assert.Empty(t, differingFields(a, b))
	spec := b.Schema.OpenAPIV3Schema.Properties["spec"]
	delete(spec.Properties, "refreshInterval")
	output := spec.Properties["output"]
	output.Description = "another"
	spec.Properties["output"] = output
	assert.Equal(t, []string{"spec.output", "spec.refreshInterval"}, differingFields(a, b))
	assert.Contains(t, crdPage([]crdVersion{a, b}), "| different: `spec.output`, `spec.refreshInterval` |")
}

func TestADefinitionThatCannotBeUsedIsAnError(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, definitionFile)), 0o755))
	for content, says := range map[string]string{"": "no version in which resources are stored", "[": definitionFile,
		"spec: {versions: [{name: v1}]}": "no version in which resources are stored"} {
		require.NoError(t, os.WriteFile(filepath.Join(root, definitionFile), []byte(content), 0o600))
		_, err := readVersions(root)
		assert.ErrorContains(t, err, says)
	}
	_, err := readVersions(t.TempDir())
	assert.Error(t, err)
}

func rawJSON(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }

// at is the schema at a path of keys.
func at(t *testing.T, schema map[string]any, path string) map[string]any {
	t.Helper()
	for step := range strings.SplitSeq(path, ".") {
		below, ok := schema[step].(map[string]any)
		require.True(t, ok, "%s has no %s", path, step)
		schema = below
	}
	return schema
}

func TestJSONSchemasStandAlone(t *testing.T) {
	for _, version := range ownVersions(t) {
		text, err := indentedJSON(crdJSONSchema(version))
		require.NoError(t, err)
		assert.NotContains(t, text, "x-kubernetes")
		assert.NotContains(t, text, "$ref")
		var schema map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &schema))
		assert.Equal(t, "spv.no/"+version.Name, at(t, schema, "properties.apiVersion")["const"])
		name := at(t, schema, "properties.spec.properties.vault.properties.name")
		assert.Equal(t, "string", name["type"])
		assert.Contains(t, name["description"], "\n\nThe API server checks: must be the vault's name alone")
		assert.Equal(t, []any{"integer", "string"}, at(t, schema, "properties.spec.properties.refreshInterval")["type"])
		items := at(t, schema, "properties.spec.properties.data.items")
		assert.Equal(t, false, items["additionalProperties"])
		assert.Equal(t, []any{"object"}, items["required"])
		assert.Equal(t, map[string]any{"type": "string"}, at(t, schema, "properties.spec.properties.output.properties.secret.properties.metadata.properties.labels.additionalProperties"))
		assert.Equal(t, "date-time", at(t, schema, "properties.status.properties.expires")["format"])
	}
	assert.Equal(t, chartvalues.Schema{"type": "string", "default": json.RawMessage(`"a"`)},
		keywordsOf(crdSchema{Type: "string", Default: rawJSON(`"a"`)}))
	assert.Equal(t, []string{"default `1`", "at least 2 items"}, schemaRules(crdSchema{Default: rawJSON("1"), MinItems: new(int64(2))}))
}
