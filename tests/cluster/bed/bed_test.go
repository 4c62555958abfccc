package bed

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// config is of a machine whose environment is env and whose programs are recorded in ran.
func config(t *testing.T, env map[string]string, ran *[]string, fail bool) (Config, *bytes.Buffer) {
	t.Helper()
	out := &bytes.Buffer{}
	cache := t.TempDir()
	return Config{Root: "/repo", Name: "x", Progress: out, Getenv: func(name string) string {
		if value, ok := env[name]; ok {
			return value
		}
		return map[string]string{"XDG_CACHE_HOME": cache}[name]
	}, Run: func(_ context.Context, program string, args ...string) error {
		*ran = append(*ran, program+" "+strings.Join(args, " "))
		if fail {
			return errors.New("it failed")
		}
		return nil
	}}, out
}

func TestTheChoiceIsPrintedAndAnUnknownOneRefused(t *testing.T) {
	var ran []string
	for _, choice := range []string{"local", "kind", "current"} {
		c, out := config(t, map[string]string{"CLUSTER": choice}, &ran, false)
		_, err := Open(t.Context(), c)
		require.NoError(t, err)
		assert.Contains(t, out.String(), "cluster x: "+choice)
	}
	c, _ := config(t, map[string]string{"CLUSTER": "minikube"}, &ran, false)
	_, err := Open(t.Context(), c)
	assert.ErrorContains(t, err, "use kind, current or local")
	c, _ = config(t, map[string]string{"XDG_CACHE_HOME": "", "HOME": ""}, &ran, false)
	_, err = Open(t.Context(), c)
	assert.ErrorContains(t, err, "XDG_CACHE_HOME")
}

func TestAForeignClusterNeedsToBeNamedAndARegistry(t *testing.T) {
	var ran []string
	c, _ := config(t, map[string]string{"CLUSTER": "current"}, &ran, false)
	cluster, err := Open(t.Context(), c)
	require.NoError(t, err)
	assert.ErrorContains(t, cluster.Up(t.Context()), "KUBECONFIG")
	assert.ErrorContains(t, cluster.Load(t.Context(), nil), "IMAGE_REGISTRY")
	assert.Equal(t, "up", cluster.Status(t.Context()))
	c, _ = config(t, map[string]string{"CLUSTER": "current", "IMAGE_REGISTRY": "registry.example/path/"}, &ran, false)
	cluster, err = Open(t.Context(), c)
	require.NoError(t, err)
	ran = nil
	require.NoError(t, cluster.Load(t.Context(), map[string]string{"ghcr.io/akv2k8s/env:1": "/a.tar"}))
	require.Len(t, ran, 1)
	assert.True(t, strings.HasSuffix(ran[0], "push /a.tar registry.example/path/env:1"), ran[0])
}

func TestKindIsMadeWithTheNodesAzureJSON(t *testing.T) {
	var ran []string
	c, _ := config(t, map[string]string{"CLUSTER": "kind", "KIND_IMAGE": "kindest/node:v1.34.7"}, &ran, true)
	cluster, err := Open(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, "down", cluster.Status(t.Context()))
	assert.Error(t, cluster.Up(t.Context()))
	assert.Contains(t, ran[len(ran)-1], "kind create cluster --name akv2k8s-x")
	assert.Contains(t, ran[len(ran)-1], "--image kindest/node:v1.34.7")
	folder := filepath.Dir(cluster.Kubeconfig())
	content, err := os.ReadFile(filepath.Join(folder, "kind.yaml"))
	require.NoError(t, err)
	assert.Contains(t, string(content), "/etc/kubernetes/azure.json")
}

func TestNamesGoIntoAForeignCorefileOnceAndOutAgain(t *testing.T) {
	const corefile = ".:53 {\n    errors\n    kubernetes cluster.local\n}\nexample.org {\n    forward . 1.1.1.1\n}\n"
	with := withNames(corefile)
	assert.Contains(t, with, "vault\\.azure\\.net")
	assert.Equal(t, corefile, withoutNames(with))
	assert.Equal(t, with, withNames(withoutNames(with)))
	assert.Equal(t, corefile, withoutNames(corefile))
}

func TestRootIsFoundFromBelow(t *testing.T) {
	folder, err := os.Getwd()
	require.NoError(t, err)
	root, err := Root(folder)
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(root, "go.mod"))
	_, err = Root(t.TempDir())
	assert.ErrorContains(t, err, "not inside the repository")
}
