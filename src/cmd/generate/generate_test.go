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
	require.NoError(t, os.MkdirAll(filepath.Join(root, chartFolder), 0o755))
	for _, name := range []string{"charts/akv2k8s/values.yaml", "charts/akv2k8s/Chart.yaml", "CHANGELOG.md"} {
		content, err := os.ReadFile(filepath.Join("../../..", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(root, name), content, 0o600))
	}
	code, err := filepath.Abs("../..")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(code, filepath.Join(root, "src")))
	var errs strings.Builder
	require.Zero(t, run([]string{root}, &errs), errs.String())
	for name, holds := range map[string]string{"charts/akv2k8s/values.schema.json": `"#/definitions/controller"`, "values-schemas/akv2k8s.schema.json": `"controller.schema.json"`,
		"values-schemas/env-injector.schema.json": `"failurePolicy"`, "charts/akv2k8s/templates/_needed.tpl": "env_injector.cache.maxAge\n",
		"charts/akv2k8s/templates/_rights.tpl": "- apiGroups: [spv.no]\n", "docs/security/rbac.md": "| `akv2k8s-controller-sync` | watched | `secrets`, `configmaps` |",
		"docs/reference/flags.md":                   "### `envinjector migrate-v1-ca`",
		"docs/reference/crd.md":                     "| `spec.vault.name` | string | required",
		"schemas/azurekeyvaultsecret_v1alpha1.json": `"const": "spv.no/v1alpha1"`,
		"charts/akv2k8s/Chart.yaml":                 "image: ghcr.io/akv2k8s/env:",
		"docs/reference/metrics.md":                 "| `akv2k8s_resource_ready` | gauge | `namespace`, `name` | ",
		"charts/akv2k8s/README.md":                  "| `watchAllNamespaces` | `true` |", "docs/reference/values.md": "| `watchAllNamespaces` | `true` |"} {
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
	require.NoError(t, os.MkdirAll(filepath.Join(root, chartFolder), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, chartFolder, "values.yaml"), []byte("[no keys]"), 0o600))
	assert.Equal(t, 1, run([]string{root}, &errs))
}

func TestAMetricIsFoundHoweverItIsDeclared(t *testing.T) {
	folder := t.TempDir()
	const code = `package p
var labels = []string{"a", "b"}
var d = prometheus.NewDesc("akv2k8s_d", "described", labels, nil)
func f() {
	counter("akv2k8s_c", "counted")
	prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "akv2k8s_h", Help: "in " + "pieces"}, []string{"x"})
	prometheus.NewGauge(prometheus.GaugeOpts{Name: "akv2k8s_g", Help: "g", ConstLabels: prometheus.Labels{"y": "z"}})
	println("other", "text")
}`
	require.NoError(t, os.WriteFile(filepath.Join(folder, "p.go"), []byte(code), 0o600))
	found, err := declaredMetrics(folder)
	require.NoError(t, err)
	assert.Equal(t, []metric{{"akv2k8s_c", "counter", "counted", nil, "both"}, {"akv2k8s_d", "gauge", "described", []string{"a", "b"}, "both"},
		{"akv2k8s_g", "gauge", "g", []string{"y"}, "both"}, {"akv2k8s_h", "histogram", "in pieces", []string{"x"}, "both"}}, found)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "p.go"), []byte(`package p
var x = made("akv2k8s_x")`), 0o600))
	_, err = declaredMetrics(folder)
	assert.ErrorContains(t, err, "akv2k8s_x cannot be found")
	_, err = declaredMetrics(filepath.Join(folder, "none"))
	assert.Error(t, err)
}
