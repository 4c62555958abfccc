package chartvalues

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func valuesYAML(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile("../../charts/akv2k8s/values.yaml")
	require.NoError(t, err)
	return content
}

func parsedComments(t *testing.T) Comments {
	t.Helper()
	c, err := ParseComments(valuesYAML(t))
	require.NoError(t, err)
	return c
}

// schemaAt returns the schema at a path of keys.
func schemaAt(t *testing.T, s Schema, path string) Schema {
	t.Helper()
	for step := range strings.SplitSeq(path, ".") {
		below, ok := s["properties"].(Schema)[step].(Schema)
		require.True(t, ok, "%s has no %s", path, step)
		s = below
	}
	return s
}

func TestEveryKeyOfTheTreeIsInValuesYAMLWithADescriptionAndNoOther(t *testing.T) {
	rows, err := ValueRows(valuesYAML(t))
	require.NoError(t, err)
	var paths []string
	for _, row := range rows {
		paths = append(paths, row.Path)
		assert.NotEmpty(t, row.Description, "%s has no comment", row.Path)
	}
	assert.ElementsMatch(t, LeafPaths(), paths)
	known := slices.Concat(LeafPaths(), sectionPaths(reflect.TypeFor[Values](), ""))
	for path := range parsedComments(t) {
		within := slices.ContainsFunc(LeafPaths(), func(leaf string) bool { return strings.HasPrefix(path, leaf+".") })
		assert.True(t, within || slices.Contains(known, path), "values.yaml has %s, and the tree has not", path)
	}
}

func sectionPaths(t reflect.Type, path string) []string {
	var all []string
	for f := range structFields(t, path) {
		if !f.isLeaf() {
			all = append(append(all, f.path), sectionPaths(f.goType, f.path)...)
		}
	}
	return all
}

func TestTheSchemaSaysWhatAKeyTakes(t *testing.T) {
	whole := fullSchema(parsedComments(t))
	assert.Equal(t, false, whole["additionalProperties"])
	assert.Equal(t, true, schemaAt(t, whole, "global")["additionalProperties"], "Helm shares it among charts")
	assert.Equal(t, true, schemaAt(t, whole, "global.metrics.serviceMonitor")["additionalProperties"])
	assert.Equal(t, false, schemaAt(t, whole, "global.customCloud")["additionalProperties"], "that name is ours alone")
	for path, want := range map[string]Schema{
		"watchAllNamespaces":          {"type": "boolean"},
		"azureKeyVaultResyncPeriod":   {"type": []string{"integer", "string"}, "pattern": "^[0-9]+$", "minimum": 1},
		"controller.logLevel":         {"type": []string{"string", "null"}, "enum": []any{"info", "debug", "trace", "", nil}},
		"global.logLevel":             {},
		"controller.metrics.enabled":  {"type": []string{"boolean", "null"}},
		"controller.tolerations":      {"type": []string{"array", "null"}, "items": Schema{"$ref": "#/definitions/kubernetes.Toleration"}},
		"controller.resources":        {"allOf": []Schema{{"$ref": "#/definitions/kubernetes.ResourceRequirements"}}},
		"controller.podLabels":        {"type": []string{"object", "null"}, "additionalProperties": Schema{"type": []string{"string", "number", "boolean", "null"}}},
		"controller.image.repository": {"type": "string", "minLength": 1, "pattern": repositoryPattern},
		"env_injector.registries.mirrors": {"type": []string{"object", "null"},
			"additionalProperties": Schema{"type": "array", "items": Schema{"type": "string"}}},
		"env_injector.podDisruptionBudget.minAvailable": {"type": []string{"integer", "string", "null"}, "pattern": "^([0-9]+%?)?$", "minimum": 0},
		"rbac": {},
	} {
		got := schemaAt(t, whole, path)
		assert.NotEmpty(t, got["description"], path)
		delete(got, "description")
		assert.Equal(t, want, got, path)
	}
	item := schemaAt(t, whole, "vaultRules")["items"].(Schema)
	assert.Equal(t, Schema{"type": []string{"array", "null"}, "items": Schema{"type": "string"}}, schemaAt(t, item, "vaults"))
}

func TestThePartsMakeTheWhole(t *testing.T) {
	parts, bundle := Schemas(parsedComments(t)), BundledSchema(parsedComments(t))
	assert.Len(t, parts, 4)
	for key, file := range SchemaParts() {
		assert.Equal(t, Schema{"$ref": file + ".schema.json"}, parts["akv2k8s"]["properties"].(Schema)[key])
		assert.Equal(t, Schema{"$ref": "#/definitions/" + key}, bundle["properties"].(Schema)[key])
		assert.Equal(t, parts[file]["properties"], bundle["definitions"].(Schema)[key].(Schema)["properties"])
	}
}

func TestWhatIsNeededIsWhatTakesNoNull(t *testing.T) {
	needed := RequiredPaths()
	for _, path := range []string{"cloudConfig", "controller.enabled", "env_injector.failurePolicy", "global.customCloud", "controller.metrics.serviceMonitor"} {
		assert.Contains(t, needed, path)
	}
	for _, path := range []string{"name", "rbac", "controller.env", "controller.logLevel", "controller.image.tag", "global.rbac"} {
		assert.NotContains(t, needed, path)
	}
}

func TestCommentsAreThoseRightAbove(t *testing.T) {
	c, err := ParseComments([]byte("# of nobody\n\n# -- one,\n# in two lines\na:\n  # inside\n  b: 1\n  c: 2 # beside\nd: 3\n"))
	require.NoError(t, err)
	assert.Equal(t, Comments{"a": "one, in two lines", "a.b": "inside"}, c)
	for _, bad := range []string{"", "[a]", "a: [", "a"} {
		_, err := ParseComments([]byte(bad))
		assert.Error(t, err, bad)
		_, err = ValueRows([]byte(bad))
		assert.Error(t, err, bad)
	}
}

func TestTheTableHasSectionsAndNoBrokenCells(t *testing.T) {
	table := MarkdownTable([]ValueRow{{"name", `"a|b"`, "one | two"}, {"global.env", "{}", "three"}, {"controller.name", "null", "four"}})
	assert.Equal(t, `### The installation

| Value | Default | What it does |
|---|---|---|
| `+"`name` | `\"a\\|b\"`"+` | one \| two |

### `+"`global`"+`

| Value | Default | What it does |
|---|---|---|
| `+"`global.env` | `{}`"+` | three |

### `+"`controller`"+`

| Value | Default | What it does |
|---|---|---|
| `+"`controller.name` | `null`"+` | four |
`, table)
}

func TestMistakesInTheTreeAreFoundAtOnce(t *testing.T) {
	assert.Panics(t, func() { applyRules(Schema{}, map[string]string{"mininum": "1"}) }, "a rule that does not exist")
	assert.Panics(t, func() { applyRules(Schema{}, map[string]string{"min": "one"}) }, "a bound that is no number")
	assert.Panics(t, func() { applyRules(Schema{}, map[string]string{"is": "odd"}) }, "a pattern that does not exist")
	assert.Panics(t, func() {
		kubernetesFieldSchema(valueField{path: "a", rules: map[string]string{"kubernetes": "Pot"}}, Schema{})
	}, "a type that does not exist")
	assert.Panics(t, func() { typeSchema(reflect.TypeFor[func()](), "a", schemaInputs{}) }, "a type that values can't have")
}

func TestKubernetesObjectsHaveTheirOwnSchema(t *testing.T) {
	definitions := BundledSchema(parsedComments(t))["definitions"].(Schema)
	resources := definitions["kubernetes.ResourceRequirements"].(Schema)
	assert.Equal(t, false, resources["additionalProperties"])
	assert.Equal(t, Schema{"type": []string{"object", "null"}, "additionalProperties": Schema{"type": []string{"string", "number", "null"}}},
		resources["properties"].(Schema)["limits"])
	probe := definitions["kubernetes.Probe"].(Schema)["properties"].(Schema)
	assert.Contains(t, probe, "httpGet", "fields of an embedded struct are the object's own")
	assert.NotContains(t, probe, "ProbeHandler")
	parts := Schemas(parsedComments(t))
	assert.Contains(t, parts["controller"]["definitions"], "kubernetes.Probe")
	assert.NotContains(t, parts["global"]["definitions"], "kubernetes.Probe", "each file has the definitions that it uses")
}

func TestListsForTheRulesOfTheChart(t *testing.T) {
	assert.Contains(t, PathsOf[StringMap](), "controller.podLabels")
	assert.Contains(t, PathsOf[Duration](), "env_injector.cache.maxAge")
	assert.Contains(t, PathsOf[Duration](), "global.metrics.serviceMonitor.interval", "also what takes null")
	keys := SharedGlobalKeys()
	assert.Contains(t, keys["global"], "keyVaultAuth")
	assert.Contains(t, keys["global.metrics.serviceMonitor"], "interval")
	assert.NotContains(t, keys, "global.customCloud")
	assert.Contains(t, GlobalEnums(), GlobalEnum{"global.logLevel", []string{"info", "debug", "trace"}})
}
