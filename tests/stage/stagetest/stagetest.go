// Package stagetest opens a stage for a test, and takes its cluster down when the test has ended.
package stagetest

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// ShowOnFailure prints the state and the last lines of the log of each pod of a namespace if the test has failed.
func ShowOnFailure(t testing.TB, s *stage.Stage, namespace string) {
	t.Helper()
	if !t.Failed() {
		return
	}
	ctx := context.WithoutCancel(t.Context())
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		t.Log("listing pods: ", err)
	}
	for _, pod := range pods.Items {
		t.Logf("pod %s: created %s, deleted %v, %s, conditions %+v, containers %+v", pod.Name, pod.CreationTimestamp,
			pod.DeletionTimestamp,
			pod.Status.Phase, pod.Status.Conditions, pod.Status.ContainerStatuses)
	}
	logs, err := s.Logs(ctx, namespace)
	if err != nil {
		t.Log("reading logs: ", err)
	}
	for name, log := range logs {
		lines := strings.Split(log, "\n")
		t.Logf("log of %s:\n%s", name, strings.Join(lines[max(0, len(lines)-lastLines):], "\n"))
	}
}

// lastLines are enough to see what a program did last.
const lastLines = 60
