package chart

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// checkMonitoring runs tests/tools/monitoring on a content, and returns the metrics that it queries, or the problems.
func checkMonitoring(t *testing.T, kind string, content []byte) (metrics []string, problems string) {
	t.Helper()
	program, err := buildTool("monitoring")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), kind)
	require.NoError(t, os.WriteFile(file, content, 0o600))
	var errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, kind, file)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		require.NotEmpty(t, errs.String())
		return nil, errs.String()
	}
	return strings.Fields(string(out)), ""
}

// documentedMetrics are the names in docs/reference/metrics.md, with those that a histogram has.
func documentedMetrics(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	require.NoError(t, err)
	names := map[string]bool{"up": true} // Prometheus has it for every target
	for _, found := range regexp.MustCompile("`(akv2k8s_[a-z_]+)").FindAllStringSubmatch(string(page), -1) {
		for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
			names[found[1]+suffix] = true
		}
	}
	require.Greater(t, len(names), 40)
	return names
}

// dashboardOf is the dashboard as the chart renders it.
func dashboardOf(t *testing.T) []byte {
	t.Helper()
	content, ok := render(t, "global.metrics.enabled=true", "global.metrics.grafanaDashboard.enabled=true").at(t, "ConfigMap/akv2k8s-dashboard", "data", "akv2k8s.json").(string)
	require.True(t, ok)
	return []byte(content)
}

func TestGrafanaReadsTheDashboard(t *testing.T) {
	metrics, problems := checkMonitoring(t, "dashboard", dashboardOf(t))
	require.Empty(t, problems)
	require.Greater(t, len(metrics), 10)
	for _, metric := range metrics {
		assert.True(t, documentedMetrics(t)[metric], "the dashboard queries %s, which docs/reference/metrics.md does not have", metric)
	}
}

func TestPrometheusReadsTheRules(t *testing.T) {
	all := render(t, "global.metrics.enabled=true", "global.metrics.prometheusRule.enabled=true")
	content, err := yaml.Marshal(map[string]any{"groups": all.at(t, "PrometheusRule/akv2k8s", "spec", "groups")})
	require.NoError(t, err)
	metrics, problems := checkMonitoring(t, "rules", content)
	require.Empty(t, problems)
	require.Greater(t, len(metrics), 5)
	for _, metric := range metrics {
		assert.True(t, documentedMetrics(t)[metric], "a rule queries %s, which docs/reference/metrics.md does not have", metric)
	}
	_, problems = checkMonitoring(t, "rules", bytes.Replace(content, []byte("expr: "), []byte("expr: sum( "), 1))
	assert.Contains(t, problems, "could not parse expression")
	_, problems = checkMonitoring(t, "rules", bytes.Replace(content, []byte("  rules:"), []byte("  unknown: 1\n  rules:"), 1))
	assert.Contains(t, problems, "field unknown not found")
}

// TestFaultsOfADashboardAreFound plants a fault of each kind into the dashboard, so that the test above can fail.
func TestFaultsOfADashboardAreFound(t *testing.T) {
	content := dashboardOf(t)
	for problem, plant := range map[string]func(board, panel, target map[string]any){
		"unexpected field 'titel'":              func(board, _, _ map[string]any) { board["titel"] = "x" },
		"unexpected field 'unknown'":            func(_, panel, _ map[string]any) { panel["unknown"] = true },
		"unexpected field 'expression'":         func(_, _, target map[string]any) { target["expression"] = "up" },
		"annotations: required field":           func(board, _, _ map[string]any) { delete(board, "annotations") },
		"options.textMode: required field":      func(_, panel, _ map[string]any) { delete(panel["options"].(map[string]any), "textMode") },
		"two panels have the id 2":              func(_, panel, _ map[string]any) { panel["id"] = 2 },
		"overlap":                               func(_, panel, _ map[string]any) { panel["gridPos"].(map[string]any)["w"] = 7 },
		"is outside the grid":                   func(_, panel, _ map[string]any) { panel["gridPos"].(map[string]any)["x"] = 20 },
		"its data source is not a variable":     func(_, panel, _ map[string]any) { panel["datasource"].(map[string]any)["uid"] = "prometheus" },
		"it has no query":                       func(_, panel, _ map[string]any) { panel["targets"] = []any{} },
		"parse error":                           func(_, _, target map[string]any) { target["expr"] = "sum(up" },
		"names no metric":                       func(_, _, target map[string]any) { target["expr"] = `sum({job="x"})` },
		"the variable $missing is not declared": func(_, _, target map[string]any) { target["expr"] = `up{namespace="$missing"}` },
	} {
		var board map[string]any
		require.NoError(t, json.Unmarshal(content, &board))
		panel := board["panels"].([]any)[0].(map[string]any)
		plant(board, panel, panel["targets"].([]any)[0].(map[string]any))
		changed, err := json.Marshal(board)
		require.NoError(t, err)
		_, problems := checkMonitoring(t, "dashboard", changed)
		assert.Contains(t, problems, problem)
	}
}
