package chart

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// told are the names of the metrics that the product's code has.
func told(t *testing.T) map[string]bool {
	t.Helper()
	names, quoted := map[string]bool{}, regexp.MustCompile(`"(akv2k8s_[a-z_]+)"`)
	require.NoError(t, filepath.WalkDir("../../src", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, found := range quoted.FindAllStringSubmatch(string(content), -1) {
			names[found[1]] = true
		}
		return err
	}))
	require.NotEmpty(t, names)
	return names
}

func TestAlertsAndDashboardAskForMetricsThatThereAre(t *testing.T) {
	all := render(t, "global.metrics.enabled=true", "global.metrics.prometheusRule.enabled=true", "global.metrics.grafanaDashboard.enabled=true", "fullnameOverride=vaults")
	dashboard, _, err := unstructured.NestedString(all["ConfigMap/vaults-dashboard"].Object, "data", "akv2k8s.json")
	require.NoError(t, err)
	assert.True(t, json.Valid([]byte(dashboard)))
	rules, err := json.Marshal(all["PrometheusRule/vaults"].Object)
	require.NoError(t, err)
	assert.NotRegexp(t, `NAMESPACE|FULLNAME`, string(rules))
	assert.Contains(t, string(rules), `up{namespace=\"akv2k8s\", pod=~\"vaults-controller-.+\"}`)
	assert.Contains(t, string(rules), "{{ $labels.namespace }}", "it is for Prometheus, not for Helm")
	known := told(t)
	for name, text := range map[string]string{"dashboard": dashboard, "rules": string(rules)} {
		asked := regexp.MustCompile(`akv2k8s_[a-z_]+`).FindAllString(text, -1)
		assert.Greater(t, len(asked), 5, name)
		for _, metric := range asked {
			base := regexp.MustCompile(`_(count|bucket|sum)$`).ReplaceAllString(metric, "")
			assert.True(t, known[metric] || known[base], "the %s asks for %s, which nobody tells", name, metric)
		}
	}
}

func TestNobodyIsToldThatWhatIsNotInstalledDoesNotAnswer(t *testing.T) {
	for set, want := range map[string][]bool{"global.metrics.enabled=true": {true, true}, "global.metrics.enabled=true,controller.enabled=false": {false, true},
		"controller.metrics.enabled=true": {true, false}} {
		rules, err := json.Marshal(render(t, "global.metrics.prometheusRule.enabled=true", set)["PrometheusRule/akv2k8s"].Object)
		require.NoError(t, err)
		for i, alert := range []string{"Akv2k8sControllerDown", "Akv2k8sEnvInjectorDown"} {
			assert.Equal(t, want[i], strings.Contains(string(rules), alert), "%s with %s", alert, set)
		}
		assert.Contains(t, string(rules), "Akv2k8sResourceNotReady")
	}
}

func TestMonitorsReadThePortThatTheServiceHas(t *testing.T) {
	for _, set := range []string{"global.metrics.serviceMonitor.enabled=true", "global.metrics.podMonitor.enabled=true"} {
		all := render(t, "global.metrics.enabled=true", set)
		kind, list := "ServiceMonitor", "endpoints"
		if strings.Contains(set, "podMonitor") {
			kind, list = "PodMonitor", "podMetricsEndpoints"
		}
		for name, selected := range map[string]string{"akv2k8s-controller": controllerDeployment, "akv2k8s-envinjector": injectorDeployment} {
			assert.Equal(t, map[string]any{"port": "http", "path": "/metrics", "interval": "30s", "honorLabels": true}, all.at(t, kind+"/"+name, "spec", list).([]any)[0])
			wanted := all.at(t, kind+"/"+name, "spec", "selector", "matchLabels")
			assert.Subset(t, all.at(t, selected, "spec", "template", "metadata", "labels"), wanted)
			assert.Subset(t, all.at(t, "Service/"+name, "metadata", "labels"), wanted)
		}
	}
}

func TestNetworkPoliciesLetInWhatIsServed(t *testing.T) {
	all := render(t, "controller.networkPolicy.enabled=true", "env_injector.networkPolicy.enabled=true", "env_injector.networkPolicy.egress.enabled=true")
	ports := func(name string) (named []any) {
		for _, port := range all.at(t, "NetworkPolicy/"+name, "spec", "ingress", "ports").([]any) {
			named = append(named, port.(map[string]any)["port"])
		}
		return named
	}
	assert.Equal(t, []any{"http"}, ports("akv2k8s-controller"))
	assert.Equal(t, []any{"tls", "auth-tls", "http"}, ports("akv2k8s-envinjector"))
	assert.Equal(t, []any{"Ingress"}, all.at(t, "NetworkPolicy/akv2k8s-controller", "spec", "policyTypes"))
	assert.Equal(t, []any{"Ingress", "Egress"}, all.at(t, "NetworkPolicy/akv2k8s-envinjector", "spec", "policyTypes"))
}
