package chart

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// everything are values that switch every part on.
func everything(t *testing.T) map[string]any {
	t.Helper()
	content, err := os.ReadFile("testdata/everything.yaml")
	require.NoError(t, err)
	values := map[string]any{}
	require.NoError(t, yaml.Unmarshal(content, &values))
	return values
}

// eachMap calls visit with every map in a value, with the key that it stands under.
func eachMap(key string, value any, visit func(key string, fields map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(key, value)
		for key, inner := range value {
			eachMap(key, inner, visit)
		}
	case []any:
		for _, inner := range value {
			eachMap(key, inner, visit)
		}
	}
}

// complaints are what an API server would refuse in the names and labels of a render.
func complaints(all objects, namespace string) []string {
	var found []string
	complain := func(object *unstructured.Unstructured, what string, messages []string) {
		for _, message := range messages {
			found = append(found, fmt.Sprintf("%s %s: %s: %s", object.GetKind(), object.GetName(), what, message))
		}
	}
	for _, object := range all {
		switch name := object.GetName(); object.GetKind() {
		case "Service":
			complain(object, "name", validation.IsDNS1035Label(name))
		case "Job": // its pods have the name as a label
			complain(object, "name", validation.IsDNS1123Label(name))
		default:
			complain(object, "name", validation.IsDNS1123Subdomain(name))
		}
		metadata := object.Object["metadata"].(map[string]any)
		if inNamespace, ok := metadata["namespace"]; ok && inNamespace != namespace && inNamespace != "team" {
			complain(object, "namespace", []string{fmt.Sprintf("%v (%T)", inNamespace, inNamespace)})
		}
		eachMap("", object.Object, func(key string, fields map[string]any) {
			switch key {
			case "labels", "matchLabels", "nodeSelector", "selector":
				for label, value := range fields {
					if _, nested := value.(map[string]any); nested || label == "matchExpressions" {
						continue
					}
					text, ok := value.(string)
					if !ok {
						complain(object, label, []string{fmt.Sprintf("%v is no text", value)})
						continue
					}
					complain(object, label, validation.IsValidLabelValue(text))
				}
			case "containers", "initContainers", "volumes":
				if name, ok := fields["name"].(string); ok {
					complain(object, key, validation.IsDNS1123Label(name))
				}
			case "annotations":
				for name, value := range fields {
					if _, ok := value.(string); !ok {
						complain(object, name, []string{fmt.Sprintf("%v is no text", value)})
					}
				}
			}
		})
	}
	return found
}

func TestNamesAndLabelsFitForEveryNameOfARelease(t *testing.T) {
	const longVersion = "3.0.0-Alpha.build.20261128103000.0123456789abcdef+meta.data.of.a.pipeline"
	var releases []release
	for length := 1; length <= 53; length++ {
		releases = append(releases, release{name: strings.Repeat("a", length), namespace: "akv2k8s", version: longVersion})
	}
	for _, name := range []string{"aks-weu-prod-01-azure-key-vault", strings.Repeat("akv2k8s-", 7)[:53], strings.Repeat("1", 53), "1", "123", "1e3", "0x1f", "true", "null", "on", "my.release", "1.2",
		strings.Repeat("a.", 26) + "a", strings.Repeat("a-", 26) + "a", "a" + strings.Repeat("-", 51) + "a", strings.Repeat("1.", 26) + "a"} {
		releases = append(releases, release{name: name, namespace: "akv2k8s"}, release{name: name, namespace: strings.Repeat("n", 63), version: longVersion})
	}
	for _, namespace := range []string{"1", "123", "1e3", "0123", "true", "null", strings.Repeat("9", 63)} {
		releases = append(releases, release{name: "akv2k8s", namespace: namespace})
	}
	values := everything(t)
	delete(values, "fullnameOverride")
	delete(values, "nameOverride")
	for _, r := range releases {
		out, err := r.draw(values)
		require.NoError(t, err, r)
		assert.Empty(t, complaints(parse(t, out), r.namespace), "release %s, version %s", r.name, r.version)
	}
}

func TestNamesAndLabelsFitForEveryOverride(t *testing.T) {
	for _, override := range []string{"a", "1", "123", "true", strings.Repeat("a", 51), strings.Repeat("a", 63), strings.Repeat("a-", 40) + "a", strings.Repeat("1.", 30) + "a", "a.b"} {
		for _, key := range []string{"fullnameOverride", "nameOverride", "name"} {
			values := everything(t)
			delete(values, "fullnameOverride")
			values[key] = override
			out, err := draw(values)
			if err != nil {
				assert.ErrorContains(t, err, "does not match pattern", "%s=%s is refused by its path", key, override)
				continue
			}
			assert.Empty(t, complaints(parse(t, out), "akv2k8s"), "%s=%s", key, override)
		}
	}
}

// jobs are the names of the Jobs of a render.
func jobs(all objects) (names []string) {
	for _, object := range all {
		if object.GetKind() == "Job" {
			names = append(names, object.GetName())
		}
	}
	return names
}

func TestNamesThatAreCutStayApart(t *testing.T) {
	const begin = "3.0.0-alpha.build.20261128103000.0123456789abcdef."
	name := strings.Repeat("a", 50)
	seen := map[string]string{}
	for _, version := range []string{begin + "1", begin + "2", begin + "1+b"} {
		out, err := release{name: name, namespace: "akv2k8s", version: version, upgrade: true}.draw(map[string]any{})
		require.NoError(t, err)
		names := jobs(parse(t, out))
		require.Len(t, names, 2)
		for _, job := range names {
			assert.Empty(t, seen[job], "versions %s and %s make one Job, whose template can't be changed", seen[job], version)
			seen[job] = version
		}
	}
	assert.ElementsMatch(t, []string{"akv2k8s-crds-3-0-0", "akv2k8s-envinjector-inherit-3-0-0"}, jobs(drawn(t)), "docs/upgrading.md names them")
}

func TestHookObjectsGoAlsoWhenAHookFails(t *testing.T) {
	for name, object := range drawn(t) {
		annotations := object.GetAnnotations()
		if annotations["helm.sh/hook"] == "" {
			continue
		}
		if object.GetKind() == "Job" {
			ttl, found, err := unstructured.NestedInt64(object.Object, "spec", "ttlSecondsAfterFinished")
			require.NoError(t, err)
			assert.True(t, found && ttl > 0, "%s stays for its log, and goes by itself", name)
			deadline, _, err := unstructured.NestedInt64(object.Object, "spec", "activeDeadlineSeconds")
			require.NoError(t, err)
			assert.Positive(t, deadline, "%s ends in any case", name)
			continue
		}
		if annotations["helm.sh/hook"] == "test" {
			deadline, _, err := unstructured.NestedInt64(object.Object, "spec", "activeDeadlineSeconds")
			require.NoError(t, err)
			assert.Positive(t, deadline, "%s ends in any case", name)
			assert.Equal(t, "before-hook-creation", annotations["helm.sh/hook-delete-policy"], "%s stays for its log", name)
			continue
		}
		for _, policy := range []string{"before-hook-creation", "hook-succeeded", "hook-failed"} {
			assert.Contains(t, annotations["helm.sh/hook-delete-policy"], policy, name)
		}
	}
}
