package render

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gruntwork-io/terratest/modules/helm"
	"github.com/gruntwork-io/terratest/modules/k8s"
	"github.com/gruntwork-io/terratest/modules/logger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

const (
	root      = "../../.."
	chart     = root + "/charts/akv2k8s"
	namespace = "akv2k8s"
)

func options(values ...string) *helm.Options {
	return &helm.Options{Logger: logger.Discard, ValuesFiles: values, KubectlOptions: k8s.NewKubectlOptions("", "", namespace)}
}

// render is what helm template makes, or its error.
func render(t *testing.T, o *helm.Options, args ...string) (string, error) {
	t.Helper()
	return helm.RenderTemplateContextE(t, t.Context(), o, chart, "akv2k8s", nil, args...)
}

// deployments are those of a render, by name.
func deployments(t *testing.T, rendered string) map[string]appsv1.Deployment {
	t.Helper()
	all := map[string]appsv1.Deployment{}
	for _, document := range strings.Split(rendered, "\n---\n") {
		if !strings.Contains(document, "\nkind: Deployment\n") {
			continue
		}
		var d appsv1.Deployment
		helm.UnmarshalK8SYaml(t, document, &d)
		all[d.Name] = d
	}
	return all
}

func TestEveryExampleRenders(t *testing.T) {
	files, err := filepath.Glob(root + "/examples/*/values.yaml")
	require.NoError(t, err)
	require.Greater(t, len(files), 20)
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			rendered, err := render(t, options(file))
			require.NoError(t, err)
			found := deployments(t, rendered)
			require.NotEmpty(t, found)
			for name, d := range found {
				assert.Equal(t, namespace, d.Namespace, name)
				container := d.Spec.Template.Spec.Containers[0]
				assert.NotContains(t, container.Image, "latest", name)
				require.NotNil(t, container.SecurityContext, name)
				assert.Equal(t, new(true), container.SecurityContext.ReadOnlyRootFilesystem, name)
				assert.Equal(t, new(false), container.SecurityContext.AllowPrivilegeEscalation, name)
			}
		})
	}
}

// set finds the arguments of --set in a command, with and without quotes.
var set = regexp.MustCompile(`--set(-string|-json)? ("[^"]+"|'[^']+'|\S+)`)

func TestEveryCommandOfTheDocumentationRenders(t *testing.T) {
	pages, err := filepath.Glob(root + "/docs/*.md")
	require.NoError(t, err)
	more, err := filepath.Glob(root + "/examples/*/README.md")
	require.NoError(t, err)
	commands := 0
	for _, page := range append(append(pages, more...), root+"/README.md") {
		content, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, command := range commandsOf(string(content)) {
			var args []string
			for _, match := range set.FindAllStringSubmatch(command, -1) {
				args = append(args, "--set"+match[1], strings.Trim(match[2], `"'`))
			}
			if len(args) == 0 {
				continue
			}
			commands++
			_, err := render(t, options(), args...)
			assert.NoError(t, err, "%s: %s", page, command)
		}
	}
	assert.GreaterOrEqual(t, commands, 5)
}

// commandsOf are the commands that install or upgrade, each on one line.
func commandsOf(page string) []string {
	var commands []string
	for _, line := range strings.Split(strings.ReplaceAll(page, "\\\n", " "), "\n") {
		if strings.Contains(line, "helm upgrade --install") || strings.Contains(line, "helm install") {
			commands = append(commands, line)
		}
	}
	return commands
}

func TestValuesThatCannotWorkAreRefused(t *testing.T) {
	content, err := os.ReadFile(root + "/tests/chart/testdata/refusals.yaml")
	require.NoError(t, err)
	var all []struct{ Name, Values, Says string }
	require.NoError(t, yaml.UnmarshalStrict(content, &all))
	require.Greater(t, len(all), 60)
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "values.yaml")
			require.NoError(t, os.WriteFile(file, []byte(c.Values), 0o600))
			_, err := render(t, options(file))
			assert.ErrorContains(t, err, c.Says)
		})
	}
}
