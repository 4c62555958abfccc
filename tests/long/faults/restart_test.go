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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/wire"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// says waits until the log of a container has a text, and returns the log.
func (c crew) says(pod, container, text string, within time.Duration) (content string) {
	c.Helper()
	require.NoError(c, stage.Await(c.Context(), within, "the log of pod "+pod, func(ctx context.Context) error {
		log, err := c.Kube.CoreV1().Pods("team").GetLogs(pod, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
		if content = string(log); !strings.Contains(content, text) {
			return fmt.Errorf("container %s says %q: %w", container, content, err)
		}
		return nil
	}))
	return content
}

// nodeRestarts has pods of every delivery, with a variable and a file, on a node that is started again. What was in
// memory is lost, the value has changed meanwhile, and the env-injector starts at the same time: every pod goes on with
// the new value in both, and no program ever misses its file.
func (c crew) nodeRestarts() {
	c.Helper()
	show := `now=$(cat /f/db) || now=missing; echo "variable $DB, file $now"; exec sleep 3600`
	names := []string{"image", "init", "envfile", "once"}
	for _, name := range names {
		p := printer(c.Stage, "restarts-"+name)
		p.Annotations = map[string]string{wire.AnnotationFiles: "/f/db: db@azurekeyvault", wire.AnnotationDelivery: name}
		if name == "once" {
			p.Annotations[wire.AnnotationDelivery], p.Annotations[wire.AnnotationRefreshInterval] = "init", "0"
		}
		p.Spec.RestartPolicy = corev1.RestartPolicyAlways
		p.Spec.Containers[0].Command = []string{"sh", "-c", show}
		require.NoError(c, c.Client.Create(c.Context(), p))
	}
	for _, name := range names {
		c.says("restarts-"+name, "app", "variable value-0, file value-0", time.Minute)
	}

	require.NoError(c, c.Azure.Vault(c.Context(), "kv-team", map[string]string{"db": "value-1"})) // also after Back
	require.NoError(c, c.Away(c.Context()))
	started := time.Now()
	require.NoError(c, c.cluster.RestartNode(c.Context()))
	require.NoError(c, c.Back(c.Context()))
	for _, name := range names {
		log := c.says("restarts-"+name, "app", "variable value-1, file value-1", 3*time.Minute)
		assert.NotContains(c, log, "missing", name)
	}
	c.Logf("every pod has the new value %s after the node went away", time.Since(started).Round(time.Second))
	c.twoReplicas()
	c.while(3, 10, func() {})
	require.NoError(c, c.Azure.Put(c.Context(), "kv-team", "db", "value-0"))
	for _, name := range names {
		require.NoError(c, c.Kube.CoreV1().Pods("team").Delete(c.Context(), "restarts-"+name, metav1.DeleteOptions{}))
	}
}

// tokenIsRefused has a pod whose token the API server no longer accepts, as if it had expired: its ServiceAccount was
// replaced. The file stays as it is, and the log names the cause.
func (c crew) tokenIsRefused() {
	c.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "replaced"}}
	require.NoError(c, c.Client.Create(c.Context(), account.DeepCopy()))
	p := printer(c.Stage, "token")
	p.Annotations = map[string]string{wire.AnnotationFiles: "/f/db: db@azurekeyvault", wire.AnnotationRefreshInterval: "1m"}
	p.Spec.ServiceAccountName, p.Spec.RestartPolicy, p.Spec.Containers[0].Env = account.Name, corev1.RestartPolicyAlways, nil
	p.Spec.Containers[0].Command = []string{"sh", "-c", `while :; do cat /f/db || echo missing; echo; sleep 1; done`}
	require.NoError(c, c.Client.Create(c.Context(), p))
	c.says("token", "app", "value-0\n", time.Minute)
	require.NoError(c, c.Client.Delete(c.Context(), account.DeepCopy()))
	require.NoError(c, c.Client.Create(c.Context(), account.DeepCopy()))
	require.NoError(c, c.Azure.Put(c.Context(), "kv-team", "db", "value-1"))
	said := c.says("token", wire.FilesContainer, "the files were not refreshed and stay as they are", 2*time.Minute)
	c.Logf("the sidecar says: %s", said)
	assert.Contains(c, said, "token")
	log := c.says("token", "app", "value-0", time.Minute)
	assert.NotContains(c, log, "value-1")
	assert.NotContains(c, log, "missing")
	var now corev1.Pod
	require.NoError(c, c.Client.Get(c.Context(), types.NamespacedName{Namespace: "team", Name: "token"}, &now))
	for _, status := range append(now.Status.InitContainerStatuses, now.Status.ContainerStatuses...) {
		assert.Zero(c, status.RestartCount, "container %s goes on", status.Name)
	}
	require.NoError(c, c.Client.Delete(c.Context(), p))
	require.NoError(c, c.Azure.Put(c.Context(), "kv-team", "db", "value-0"))
}
