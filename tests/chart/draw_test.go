package chart

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/strvals"
	"sigs.k8s.io/yaml"
)

var loaded = sync.OnceValues(func() (*chart.Chart, error) { return loader.Load("../../charts/akv2k8s") })

// release is what a chart is rendered as.
type release struct {
	name, namespace string
	// version of the chart, if it is not the one in Chart.yaml.
	version string
	// upgrade says that the release was there before.
	upgrade bool
}

// draw renders the chart by Helm's library, which is quicker than the program, and as the same release.
func draw(values map[string]any) (string, error) {
	return release{name: "akv2k8s", namespace: "akv2k8s"}.draw(values)
}

func (r release) draw(values map[string]any) (string, error) {
	files, err := r.files(values)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if content := strings.TrimSpace(files[name]); content != "" && !strings.HasSuffix(name, ".txt") {
			out.WriteString("---\n# Source: " + name + "\n" + content + "\n")
		}
	}
	return out.String(), nil
}

// files are what each template becomes.
func (r release) files(values map[string]any) (map[string]string, error) {
	shared, err := loaded()
	if err != nil {
		return nil, err
	}
	c, metadata := *shared, *shared.Metadata
	c.Metadata = &metadata
	if r.version != "" {
		metadata.Version = r.version
	}
	options := chartutil.ReleaseOptions{Name: r.name, Namespace: r.namespace, Revision: 1, IsInstall: !r.upgrade, IsUpgrade: r.upgrade}
	all, err := chartutil.ToRenderValues(&c, values, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(&c, all)
}

// fromYAML reads values as a file has them.
func fromYAML(t *testing.T, text string) map[string]any {
	t.Helper()
	values := map[string]any{}
	require.NoError(t, yaml.Unmarshal([]byte(text), &values))
	return values
}

// set makes values of PATH=JSON.
func set(t *testing.T, items []string) map[string]any {
	t.Helper()
	values := map[string]any{}
	for _, item := range items {
		require.NoError(t, strvals.ParseJSON(item, values))
	}
	return values
}

func TestTheLibraryRendersWhatTheProgramRenders(t *testing.T) {
	byProgram, err := try(t)
	require.NoError(t, err, byProgram)
	byLibrary, err := draw(map[string]any{})
	require.NoError(t, err)
	require.Equal(t, parse(t, byProgram), parse(t, byLibrary))
}
