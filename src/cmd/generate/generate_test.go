package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFilesAreWrittenBelowTheRoot(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, chart), 0o755))
	values, err := os.ReadFile("../../../charts/akv2k8s/values.yaml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(root, chart, "values.yaml"), values, 0o600))
	var errs strings.Builder
	require.Zero(t, run([]string{root}, &errs), errs.String())
	for name, holds := range map[string]string{"charts/akv2k8s/values.schema.json": `"#/definitions/controller"`, "values-schemas/akv2k8s.schema.json": `"controller.schema.json"`,
		"values-schemas/env-injector.schema.json": `"failurePolicy"`, "charts/akv2k8s/templates/_needed.tpl": "env_injector.cache.maxAge\n",
		"charts/akv2k8s/templates/_rights.tpl": "- apiGroups: [spv.no]\n", "docs/security/rbac.md": "| `akv2k8s-controller-sync` | watched | `secrets`, `configmaps` |",
		"charts/akv2k8s/README.md": "| `watchAllNamespaces` | `true` |", "docs/reference/values.md": "| `watchAllNamespaces` | `true` |"} {
		content, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		assert.Contains(t, string(content), holds, name)
	}
}

func TestWhatGoesWrongIsSaid(t *testing.T) {
	var errs strings.Builder
	assert.Equal(t, 2, run(nil, &errs))
	assert.Equal(t, 1, run([]string{t.TempDir()}, &errs))
	assert.Contains(t, errs.String(), "values.yaml")
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, chart), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, chart, "values.yaml"), []byte("[no keys]"), 0o600))
	assert.Equal(t, 1, run([]string{root}, &errs))
}
