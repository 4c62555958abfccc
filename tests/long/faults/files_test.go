//go:build cluster

package faults

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/wire"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// filesStay has a pod with a file while every replica of the env-injector is away, the value changes, and the container
// that writes the file is killed. The program sees its file all the time, and the new one afterwards.
func (c crew) filesStay() {
	c.Helper()
	envInjector := types.NamespacedName{Namespace: "akv2k8s", Name: "akv2k8s-envinjector"}
	require.NoError(c, c.Azure.PutSecret(c.Context(), "kv-team", "db", keyvault.Secret{Value: "value-0"}))
	p := printer(c.Stage, "files")
	p.Annotations = map[string]string{wire.AnnotationFiles: "/f/db: db@azurekeyvault", wire.AnnotationRefreshInterval: "1m"}
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	p.Spec.Containers[0].Env = nil
	p.Spec.Containers[0].Command = []string{"sh", "-c", `last=; while :; do now=$(cat /f/db) || echo missing; case "$now" in value-?) ;; *) echo torn;; esac
		test "$now" = "$last" || echo "it is $now"; last=$now; sleep 1; done`}
	require.NoError(c, c.Client.Create(c.Context(), p))
	c.awaitFile("it is value-0", time.Minute)

	require.NoError(c, c.Scale(c.Context(), envInjector, 0))
	require.NoError(c, stage.Await(c.Context(), time.Minute, "no replica", func(ctx context.Context) error {
		if left := len(c.replicas(ctx)); left > 0 {
			return fmt.Errorf("%d are left", left)
		}
		return nil
	}))
	require.NoError(c, c.Azure.PutSecret(c.Context(), "kv-team", "db", keyvault.Secret{Value: "value-1"}))
	require.Equal(c, 1, c.kill("ENV_INJECTOR_FILES="), "the process that writes the file")
	require.NoError(c, stage.Await(c.Context(), time.Minute, "the container to start again", func(ctx context.Context) error {
		var now corev1.Pod
		if err := c.Client.Get(ctx, types.NamespacedName{Namespace: "team", Name: "files"}, &now); err != nil || len(now.Status.InitContainerStatuses) == 0 {
			return fmt.Errorf("it can't be read: %w", err)
		}
		for _, status := range now.Status.InitContainerStatuses {
			if status.Name == wire.FilesContainer && status.RestartCount == 1 && status.State.Running != nil {
				return nil
			}
		}
		return fmt.Errorf("it is %+v", now.Status.InitContainerStatuses)
	}))
	time.Sleep(10 * time.Second) // that nothing is lost shows only when time is over
	assert.Equal(c, "it is value-0\n", c.fileLog(c.Context()), "the old file stays")

	require.NoError(c, c.Scale(c.Context(), envInjector, 2))
	c.twoReplicas()
	started := time.Now()
	c.awaitFile("it is value-1", 4*time.Minute)
	c.Logf("the file changed %s after the env-injector came back", time.Since(started).Round(time.Second))
	assert.Equal(c, "it is value-0\nit is value-1\n", c.fileLog(c.Context()), "never missing, never torn")
	var now corev1.Pod
	require.NoError(c, c.Client.Get(c.Context(), types.NamespacedName{Namespace: "team", Name: "files"}, &now))
	assert.Zero(c, now.Status.ContainerStatuses[0].RestartCount, "the program was left alone")
	require.NoError(c, c.Client.Delete(c.Context(), p))
	require.NoError(c, c.Azure.PutSecret(c.Context(), "kv-team", "db", keyvault.Secret{Value: "value-0"}))
}

// fileLog is what the program has said of its file.
func (c crew) fileLog(ctx context.Context) string {
	c.Helper()
	content, err := c.Kube.CoreV1().Pods("team").GetLogs("files", &corev1.PodLogOptions{Container: "app"}).DoRaw(ctx)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func (c crew) awaitFile(text string, within time.Duration) {
	c.Helper()
	require.NoError(c, stage.Await(c.Context(), within, "the file", func(ctx context.Context) error {
		if said := c.fileLog(ctx); !strings.Contains(said, text) {
			return fmt.Errorf("the program says %q", said)
		}
		return nil
	}))
}
