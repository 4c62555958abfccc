package convert_test

import (
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chartutil"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/akv2k8s/akv2k8s/src/convert"
	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
	"github.com/akv2k8s/akv2k8s/src/convert/schema"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
)

var update = flag.Bool("update", false, "write the goldens of the corpus")

// corpusCase is one input of the corpus.
type corpusCase struct {
	// name is the path below testdata/corpus without the extension.
	name    string
	content []byte
	options convert.Options
}

// corpus reads the inputs. A comment "# vault: NAME=VAULT" at the beginning is the flag --vault.
func corpus(t *testing.T) []corpusCase {
	t.Helper()
	const folder = "testdata/corpus"
	var all []corpusCase
	require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".out.yaml") || filepath.Ext(path) != ".yaml" {
			return err
		}
		content, err := os.ReadFile(path)
		one := corpusCase{name: filepath.ToSlash(strings.TrimSuffix(strings.TrimPrefix(path, folder+string(filepath.Separator)), ".yaml")),
			content: content, options: convert.Options{Vaults: map[string]string{}}}
		for line := range strings.Lines(string(content)) {
			if flag, ok := strings.CutPrefix(line, "# vault: "); ok {
				store, vault, found := strings.Cut(strings.TrimSpace(flag), "=")
				if !found {
					store, vault = "", store
				}
				one.options.Vaults[store] = vault
			}
		}
		all = append(all, one)
		return err
	}))
	return all
}

func (c corpusCase) convert(t *testing.T) *convert.Result {
	t.Helper()
	return convertText(t, c.name+".yaml", c.content, c.options)
}

func convertText(t *testing.T, name string, content []byte, options convert.Options) *convert.Result {
	t.Helper()
	result, err := convert.Convert(t.Context(), []convert.Input{{Name: name, Content: content}}, options)
	require.NoError(t, err)
	return result
}

// output is what convert prints, with the values as documents.
func output(result *convert.Result) string {
	documents := append([]string{}, result.Documents...)
	for _, values := range result.Values {
		documents = append(documents, "# Values of the chart:\n"+values)
	}
	return strings.Join(documents, "---\n")
}

func report(result *convert.Result) string {
	var out strings.Builder
	for _, finding := range result.Findings {
		out.WriteString(finding.String() + "\n")
	}
	return out.String()
}

func TestTheCorpusIsLargeAndHasEverySource(t *testing.T) {
	folders := map[string]int{}
	for _, c := range corpus(t) {
		folders[filepath.Dir(c.name)]++
	}
	sum := 0
	for _, folder := range []string{"external-secrets", "secrets-store-csi", "akv2k8s-1.x", "app-configuration", "argocd-vault-plugin"} {
		assert.GreaterOrEqual(t, folders[folder], 5, folder)
		sum += folders[folder]
	}
	assert.GreaterOrEqual(t, sum, 60)
}

func TestEveryInputHasItsGoldens(t *testing.T) {
	for _, c := range corpus(t) {
		t.Run(c.name, func(t *testing.T) {
			result := c.convert(t)
			for file, got := range map[string]string{c.name + ".out.yaml": output(result), c.name + ".report.txt": report(result)} {
				path := filepath.Join("testdata/corpus", file)
				if *update {
					require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
				}
				want, err := os.ReadFile(path)
				require.NoError(t, err, "run the test with -update, and read the difference")
				assert.Equal(t, string(want), got)
			}
		})
	}
}

// TestEveryGoldenIsValid checks resources as the API server and the controller do, and values as Helm does.
func TestEveryGoldenIsValid(t *testing.T) {
	validator, err := schema.New("v2beta1")
	require.NoError(t, err)
	chartSchema, err := os.ReadFile("../../charts/akv2k8s/values.schema.json")
	require.NoError(t, err)
	resources, values := 0, 0
	for _, c := range corpus(t) {
		result := c.convert(t)
		for _, text := range result.Documents {
			var document map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(text), &document), c.name)
			if document["kind"] != "AzureKeyVaultSecret" {
				continue
			}
			resources++
			asJSON, err := json.Marshal(document)
			require.NoError(t, err)
			var decoded map[string]any
			require.NoError(t, utiljson.Unmarshal(asJSON, &decoded))
			assert.Empty(t, validator.Check(t.Context(), decoded), "%s:\n%s", c.name, text)
			r, err := fromapi.Parse(asJSON)
			require.NoError(t, err, "%s:\n%s", c.name, text)
			if len(r.Outputs) > 0 {
				assert.NoError(t, decode.CheckOutputs(r), "%s:\n%s", c.name, text)
			}
		}
		for _, text := range result.Values {
			var tree map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(text), &tree), c.name)
			if below, ok := tree["akv2k8s"].(map[string]any); ok {
				tree = below
			}
			values++
			assert.NoError(t, chartutil.ValidateAgainstSingleSchema(tree, chartSchema), "%s:\n%s", c.name, text)
		}
	}
	assert.Greater(t, resources, 60)
	assert.Greater(t, values, 20)
}

// TestNoValueReachesAReport looks for the word that all values of the corpus have that could be secret.
func TestNoValueReachesAReport(t *testing.T) {
	inputs := 0
	for _, c := range corpus(t) {
		if strings.Contains(string(c.content), "canary") {
			inputs++
			assert.NotContains(t, report(c.convert(t)), "canary", c.name)
		}
	}
	assert.Greater(t, inputs, 10)
}

// parts returns the documents of an input, as nodes.
func parts(t *testing.T, content []byte) []*yaml.Node {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(string(content)))
	var all []*yaml.Node
	for {
		var node yaml.Node
		if err := decoder.Decode(&node); err != nil {
			return all
		}
		all = append(all, node.Content[0])
	}
}

func join(t *testing.T, documents []*yaml.Node) []byte {
	t.Helper()
	var texts []string
	for _, node := range documents {
		text, err := manifest.Encode(node)
		require.NoError(t, err)
		texts = append(texts, text)
	}
	return []byte(strings.Join(texts, "---\n"))
}

// mappings visits the mappings below a node, with their paths.
func mappings(node *yaml.Node, path string, visit func(node *yaml.Node, path string)) {
	switch node.Kind {
	case yaml.MappingNode:
		visit(node, path)
		for i := 0; i+1 < len(node.Content); i += 2 {
			mappings(node.Content[i+1], path+"."+node.Content[i].Value, visit)
		}
	case yaml.SequenceNode:
		for _, item := range node.Content {
			mappings(item, path+"[]", visit)
		}
	}
}
