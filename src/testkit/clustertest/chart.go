package clustertest

import (
	"errors"
	"io"
	"maps"
	"path/filepath"
	"runtime"
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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// loaded is the chart of the repository.
var loaded = sync.OnceValues(func() (*chart.Chart, error) {
	_, file, _, _ := runtime.Caller(0)
	return loader.Load(filepath.Join(filepath.Dir(file), "../../../charts/akv2k8s"))
})

// rendered are the rendered objects by namespace and values: many tests use the same.
var rendered sync.Map

// Render returns the objects of the chart as release akv2k8s in the namespace, with values as of --set. Objects of
// hooks are left out, because Helm deletes them.
func Render(t *testing.T, namespace string, values ...string) []*unstructured.Unstructured {
	t.Helper()
	key := strings.Join(append([]string{namespace}, values...), "\n")
	known, ok := rendered.Load(key)
	if !ok {
		known = render(t, namespace, values)
		rendered.Store(key, known)
	}
	var copied []*unstructured.Unstructured
	for _, object := range known.([]*unstructured.Unstructured) {
		copied = append(copied, object.DeepCopy())
	}
	return copied
}

func render(t *testing.T, namespace string, values []string) []*unstructured.Unstructured {
	t.Helper()
	c, err := loaded()
	require.NoError(t, err)
	set := map[string]any{}
	for _, value := range values {
		require.NoError(t, strvals.ParseInto(value, set))
	}
	options := chartutil.ReleaseOptions{Name: "akv2k8s", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, set, options, chartutil.DefaultCapabilities)
	require.NoError(t, err)
	files, err := engine.Render(c, all)
	require.NoError(t, err)
	var objects []*unstructured.Unstructured
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".txt") {
			continue
		}
		for decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(files[name]), 4096); ; {
			object := &unstructured.Unstructured{}
			err := decoder.Decode(object)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, name)
			if len(object.Object) > 0 && object.GetAnnotations()["helm.sh/hook"] == "" {
				objects = append(objects, object)
			}
		}
	}
	return objects
}
