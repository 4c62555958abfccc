// Package stagetest opens a stage for a test, and takes its cluster down when the test has ended.
package stagetest

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// Config is of a cluster with this name, of the kind that CLUSTER says.
func Config(t testing.TB, name string) bed.Config {
	t.Helper()
	folder, err := os.Getwd()
	require.NoError(t, err)
	root, err := bed.Root(folder)
	require.NoError(t, err)
	return bed.Config{Root: root, Name: name, Getenv: os.Getenv, Progress: stage.Progress(os.Stdout)}
}

// Open opens the stage.
func Open(t testing.TB, config bed.Config) *stage.Stage {
	t.Helper()
	s, err := stage.Open(t.Context(), config)
	if s != nil { // also one that did not come up whole
		t.Cleanup(func() { assert.NoError(t, s.Cluster.Down(context.WithoutCancel(t.Context()))) })
	}
	require.NoError(t, err)
	return s
}
