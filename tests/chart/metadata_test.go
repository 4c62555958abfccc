package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
)

// annotation reads an annotation of Chart.yaml for Artifact Hub, which is a text in YAML.
func annotation[T any](t *testing.T, name string) (value T) {
	t.Helper()
	c, err := loaded()
	require.NoError(t, err)
	require.NoError(t, yaml.UnmarshalStrict([]byte(c.Metadata.Annotations["artifacthub.io/"+name]), &value), name)
	return value
}

func TestArtifactHubUnderstandsTheAnnotations(t *testing.T) {
	c, err := loaded()
	require.NoError(t, err)
	require.NoError(t, c.Metadata.Validate())
	assert.Equal(t, "security", annotation[string](t, "category"))
	license, err := os.ReadFile("../../LICENSE")
	require.NoError(t, err)
	assert.Equal(t, "Apache-2.0", annotation[string](t, "license"))
	assert.Contains(t, string(license), "Apache License\n                           Version 2.0")
	type link struct{ Name, URL string }
	links := annotation[[]link](t, "links")
	require.NotEmpty(t, links)
	for _, change := range annotation[[]struct {
		Kind, Description string
		Links             []link
	}](t, "changes") {
		assert.Contains(t, []string{"added", "changed", "deprecated", "removed", "fixed", "security"}, change.Kind)
		assert.NotEmpty(t, change.Description)
		links = append(links, change.Links...)
	}
	for _, l := range links {
		assert.NotEmpty(t, l.Name)
		path := regexp.MustCompile(`^https://github.com/akv2k8s/akv2k8s/(?:blob|tree)/[^/]+/([^#]*)`).FindStringSubmatch(l.URL)
		if path == nil {
			assert.True(t, strings.HasPrefix(l.URL, "https://"), l.URL)
			continue
		}
		_, err := os.Stat(filepath.Join("../..", path[1]))
		assert.NoError(t, err, l.URL)
	}
	for _, m := range c.Metadata.Maintainers {
		assert.NotEmpty(t, m.Name)
		assert.NotEmpty(t, m.URL)
	}
}

func TestArtifactHubKnowsTheImages(t *testing.T) {
	rendered, err := draw(map[string]any{})
	require.NoError(t, err)
	used := map[string]bool{}
	for _, image := range regexp.MustCompile(`ghcr\.io/akv2k8s/[\w.:-]+`).FindAllString(rendered, -1) {
		used[image] = true
	}
	listed := map[string]bool{}
	for _, image := range annotation[[]struct {
		Name, Image string
		Platforms   []string
	}](t, "images") {
		listed[image.Image] = true
	}
	assert.Equal(t, used, listed)
}

// schemaOf is the JSON schema of a version of AzureKeyVaultSecret.
func schemaOf(t *testing.T, apiVersion string) []byte {
	t.Helper()
	content, err := os.ReadFile("../../schemas/azurekeyvaultsecret_" + strings.TrimPrefix(apiVersion, "spv.no/") + ".json")
	require.NoError(t, err)
	return content
}

func TestArtifactHubKnowsTheDefinition(t *testing.T) {
	var definition struct {
		Metadata struct{ Name string }
		Spec     struct {
			Names    struct{ Kind string }
			Versions []struct {
				Name    string
				Storage bool
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(crd.YAML(), &definition))
	crds := annotation[[]struct{ Kind, Version, Name, DisplayName, Description string }](t, "crds")
	require.Len(t, crds, 1)
	assert.Equal(t, definition.Metadata.Name, crds[0].Name)
	assert.Equal(t, definition.Spec.Names.Kind, crds[0].Kind)
	for _, v := range definition.Spec.Versions {
		if v.Storage {
			assert.Equal(t, v.Name, crds[0].Version)
		}
		schemaOf(t, v.Name)
	}
	examples := annotation[[]map[string]any](t, "crdsExamples")
	require.NotEmpty(t, examples)
	for _, example := range examples {
		assert.NoError(t, chartutil.ValidateAgainstSingleSchema(example, schemaOf(t, example["apiVersion"].(string))))
	}
}

var modeline = regexp.MustCompile(`(?m)^# yaml-language-server: \$schema=(\S+)$`)

// TestEditorsFindTheSchemas reads the comments that name a schema, and validates what follows them by it.
func TestEditorsFindTheSchemas(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/*.yaml")
	require.NoError(t, err)
	resources := 0
	for _, file := range append(files, "../../charts/akv2k8s/values.yaml") {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		if filepath.Base(file) == "rendered.yaml" {
			continue
		}
		for _, document := range regexp.MustCompile(`(?m)^---$`).Split(string(content), -1) {
			values := map[string]any{}
			require.NoError(t, yaml.Unmarshal([]byte(document), &values), file)
			ours := values["kind"] == "AzureKeyVaultSecret"
			named := modeline.FindStringSubmatch(document)
			if !ours && !strings.HasPrefix(filepath.Base(file), "values") {
				assert.Nil(t, named, "%s: this schema is for another kind", file)
				continue
			}
			if !assert.NotNil(t, named, "%s: a document has no comment # yaml-language-server: $schema=…", file) {
				continue
			}
			schema, err := os.ReadFile(filepath.Join(filepath.Dir(file), named[1]))
			require.NoError(t, err, file)
			assert.NoError(t, chartutil.ValidateAgainstSingleSchema(values, schema), file)
			if ours {
				resources++
			}
		}
	}
	assert.Greater(t, resources, 20, "the resources of the examples were not found")
}

func TestSchemasRejectMistakes(t *testing.T) {
	const good = `{"apiVersion": "spv.no/v2beta1", "kind": "AzureKeyVaultSecret", "metadata": {"name": "n"}, "spec": {"refreshInterval": 0, "vault": {"name": "kv1", "object": {"name": "o", "type": "secret"}}}}`
	for from, to := range map[string]string{"": "", `"refreshInterval"`: `"refreshintervall"`, `"secret"`: `"secrets"`, `"name": "kv1", `: "", `: 0`: `: true`,
		"v2beta1": "v2", `"AzureKeyVaultSecret"`: `"Secret"`, `"spec"`: `"spce"`} {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(strings.Replace(good, from, to, 1)), &object))
		err := chartutil.ValidateAgainstSingleSchema(object, schemaOf(t, "spv.no/v2beta1"))
		if from == "" {
			assert.NoError(t, err)
		} else {
			assert.Error(t, err, to)
		}
	}
}
