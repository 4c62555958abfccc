//go:build cluster

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/akv2k8s/akv2k8s/src/cli"
	"github.com/akv2k8s/akv2k8s/src/wire"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// kubectlAkv2k8s runs the command line and returns its output, with messages, and its exit code.
func kubectlAkv2k8s(t *testing.T, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var out bytes.Buffer
	code := cli.Run(ctx, slices.Insert(args, 1, "--kubeconfig", s.Cluster.Kubeconfig()), genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out})
	return out.String(), code
}

// healthyInstallation has the doctor look at an installation without a fault, and at Azure.
func healthyInstallation(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "out")
	tm.awaitValue("out", canary+"-db", patience)
	for _, more := range [][]string{nil, {"--azure"}, {"-n", tm.namespace}} {
		began := time.Now()
		out, code := kubectlAkv2k8s(t, append([]string{"doctor"}, more...)...)
		t.Logf("doctor %v took %s", more, time.Since(began).Round(100*time.Millisecond))
		assert.Zero(t, code, out)
		for line := range strings.Lines(out) {
			for _, complaint := range []string{"FAIL", "WARN", "warn"} {
				assert.False(t, strings.HasPrefix(strings.TrimSpace(line), complaint), "doctor %v: %s", more, line)
			}
		}
		assert.Empty(t, leaks(out))
	}
}

// commandLine is what a tenant does with the command line.
func commandLine(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	run := func(want int, args ...string) string {
		t.Helper()
		out, code := kubectlAkv2k8s(t, append(args, "-n", tm.namespace)...)
		assert.Equal(t, want, code, "%v: %s", args, out)
		assert.Empty(t, leaks(out), "%v", args)
		return out
	}
	require.NoError(t, stage.Await(t.Context(), patience, "the resource", func(ctx context.Context) error {
		if c := tm.ready(ctx, "db"); c.Status != "True" {
			return fmt.Errorf("it is %s: %s", c.Reason, c.Message)
		}
		return nil
	}))
	assert.Contains(t, run(0, "get"), "db")
	assert.Contains(t, run(0, "refresh", "db"), "db")
	p := withFiles(tm.pod("app", map[string]string{"DB": "db@azurekeyvault"}, "sleep", "600"), "/etc/app/db: db@azurekeyvault")
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	tm.create(p)
	require.NoError(t, stage.Await(t.Context(), patience, "pod app", func(ctx context.Context) error {
		var now corev1.Pod
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: "app"}, &now); err != nil || now.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it is %s: %w", now.Status.Phase, err)
		}
		return nil
	}))
	out, code := kubectlAkv2k8s(t, "exec", "app", "-n", tm.namespace, "--", "sh", "-c", "echo $DB; exit 7")
	assert.Equal(t, canary+"-db", strings.TrimSpace(out))
	assert.Equal(t, 7, code, "the exit code is that of the command")
	explained := run(0, "explain", "pod/app")
	for _, want := range []string{"DB", "db@azurekeyvault", tm.vault, "/etc/app/db"} {
		assert.Contains(t, explained, want)
	}
	assert.Contains(t, run(0, "explain", "akvs/db"), tm.vault)
	run(0, "doctor", "pod/app")
	run(0, "doctor", "akvs/db")

	tm.resource("broken", "never-there", "")
	tm.awaitReason("broken", "ObjectNotFound")
	for _, args := range [][]string{{"doctor", "akvs/broken"}, {"doctor"}} {
		assert.Contains(t, run(1, args...), "never-there", "the doctor names what is missing")
	}
	assert.Contains(t, run(0, "explain", "akvs/broken"), "never-there")
	waits := tm.pod("waits", map[string]string{"DB": "broken@azurekeyvault"}, "sleep", "600")
	waits.Annotations = map[string]string{wire.AnnotationDelivery: "init"}
	tm.create(waits)
	code32, _ := tm.ended("waits")
	assert.NotZero(t, code32)
	assert.Contains(t, run(1, "doctor", "pod/waits"), "never-there", "and why a container ended")
	assert.Contains(t, run(0, "explain", "pod/waits"), "broken")
}
