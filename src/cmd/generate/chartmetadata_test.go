package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestChangesAreThoseOfTheVersionOrUnreleased(t *testing.T) {
	const changelog = `# Changelog

## [Unreleased]

Text.

### Controller

- One thing, with ` + "`code`" + ` and [a page](docs/upgrading.md#b)
  over two lines.
- Another: [site](https://example.org).

Text after.
  Not an item.

### Fixed

- A fault.

## [1.0.0] - 2026-01-01

- Old.
`
	changes, err := changesOf(changelog, "2.0.0")
	require.NoError(t, err)
	assert.Equal(t, []change{{"changed", "One thing, with code and a page over two lines.", []changeLink{{"a page", "docs/upgrading.md#b"}}},
		{"changed", "Another: site.", []changeLink{{"site", "https://example.org"}}}, {"fixed", "A fault.", nil}}, changes)
	assert.Equal(t, `  artifacthub.io/changes: |
    - kind: changed
      description: >-
        One thing, with code and a page over two lines.
      links:
        - name: "a page"
          url: https://github.com/akv2k8s/akv2k8s/blob/v2.0.0/docs/upgrading.md#b
    - kind: changed
      description: >-
        Another: site.
      links:
        - name: "site"
          url: https://example.org
    - kind: fixed
      description: >-
        A fault.
`, changesAnnotation(changes, "2.0.0"))
	old, err := changesOf(changelog, "1.0.0")
	require.NoError(t, err)
	assert.Equal(t, []change{{"changed", "Old.", nil}}, old)
	_, err = changesOf("# Changelog\n", "1.0.0")
	assert.ErrorContains(t, err, "no changes of 1.0.0")
}

func TestChartMetadataThatCannotBeUsedIsAnError(t *testing.T) {
	root := t.TempDir()
	_, err := chartMetadata(root, nil)
	require.Error(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(root, chartFolder), 0o755))
	write := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(content), 0o600))
	}
	values := []byte("{controller: {image: {repository: r/c}}, env_injector: {image: {repository: r/i}, envImage: {repository: r/e}}}")
	for _, step := range []struct{ file, content, values, says string }{
		{chartFolder + "Chart.yaml", "name: akv2k8s\n", string(values), "has no line"},
		{chartFolder + "Chart.yaml", "[\n" + generatedMetadata, string(values), "Chart.yaml"},
		{chartFolder + "Chart.yaml", "appVersion: 1.0.0\nannotations:\n" + generatedMetadata + "old", "[", "values.yaml"},
		{chartFolder + "Chart.yaml", "appVersion: 1.0.0\nannotations:\n" + generatedMetadata + "old", "{}", "without a repository"},
		{chartFolder + "Chart.yaml", "appVersion: 1.0.0\nannotations:\n" + generatedMetadata + "old", string(values), "CHANGELOG.md"},
		{"CHANGELOG.md", "", string(values), "no changes"},
	} {
		write(step.file, step.content)
		_, err := chartMetadata(root, []byte(step.values))
		assert.ErrorContains(t, err, step.says)
	}
	write("CHANGELOG.md", "## [1.0.0]\n- A change.\n")
	text, err := chartMetadata(root, values)
	require.NoError(t, err)
	assert.Contains(t, text, "appVersion: 1.0.0\nannotations:\n"+generatedMetadata+"  artifacthub.io/images: |\n    - name: c\n      image: r/c:1.0.0\n")
	assert.NotContains(t, text, "old")
}
