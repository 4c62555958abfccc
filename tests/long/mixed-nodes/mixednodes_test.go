//go:build cluster

package mixednodes

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/wire"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

const (
	namespace = "team"
	value     = "a-value-that-appears-nowhere"
	patience  = 2 * time.Minute
)

// suite has what the tests share.
type suite struct{ *stage.Stage }

func TestMixedNodes(t *testing.T) {
	config := stagetest.Config(t, "mixed-nodes")
	s := suite{stagetest.Open(t, config)}
	cluster, ok := s.Cluster.(*local.Cluster)
	if !ok {
		t.Skip("the second node is a kubelet of the local cluster; use CLUSTER=local")
	}
	s.install(t, map[string]any{"delivery": "auto"})
	t.Cleanup(func() { stagetest.ShowOnFailure(t, s.Stage, "akv2k8s") })
	require.NoError(t, s.Namespace(t.Context(), namespace, map[string]string{"azure-key-vault-env-injection": "enabled",
		"pod-security.kubernetes.io/enforce": "restricted"}))
	require.NoError(t, s.Azure.Vault(t.Context(), "kv-mixed", map[string]string{"db": value}))
	r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "db"}}
	r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = "kv-mixed", "db", "secret"
	require.NoError(t, s.Client.Create(t.Context(), r))

	t.Run("with new nodes alone, pods get image volumes", func(t *testing.T) {
		s.awaitDecision(t, "image")
		s.runs(t, s.pod("new", "auto", ""), "image", "node1")
		s.runs(t, s.pod("new-file", "envfile", ""), "envfile", "node1")
	})
	require.NoError(t, cluster.AddOldNode(t.Context(), s.Archives()))
	t.Run("an old node joins, and pods that may run there get init containers", func(t *testing.T) {
		s.awaitDecision(t, "init")
		s.runs(t, s.pod("anywhere", "auto", ""), "init", "")
		s.runs(t, s.pod("on-old", "auto", local.OldNode), "init", local.OldNode)
		s.runs(t, s.pod("on-new", "auto", "node1"), "image", "node1")
		s.runs(t, s.pod("file-on-new", "envfile", "node1"), "envfile", "node1")
	})
	t.Run("what can't work on the old node is denied, with its version", func(t *testing.T) {
		assert.ErrorContains(t, s.Client.Create(t.Context(), s.pod("image", "image", "")),
			"it may run on a node whose kubelet is v1.34.4, and image volumes need 1.36; change it to auto or init, or select other nodes")
		assert.ErrorContains(t, s.Client.Create(t.Context(), s.pod("file", "envfile", local.OldNode)),
			"it may run on a node whose kubelet is v1.34.4, and env files need 1.35; change it to auto or init, or select other nodes")
	})
	s.install(t, map[string]any{"delivery": "auto", "watchNodes": false})
	t.Run("without the nodes' versions, pods get init containers", func(t *testing.T) {
		s.awaitDecision(t, "init")
		s.runs(t, s.pod("unknown", "auto", "node1"), "init", "node1")
	})
	t.Run("an env file that the kubelet ignores never starts a container", func(t *testing.T) {
		p := s.pod("ignored", "envfile", local.OldNode)
		require.NoError(t, s.Client.Create(t.Context(), p))
		ended := s.ended(t, p.Name)
		assert.Equal(t, corev1.PodFailed, ended.Status.Phase)
		statuses := ended.Status.InitContainerStatuses
		require.Len(t, statuses, 2)
		assert.EqualValues(t, 0, statuses[0].State.Terminated.ExitCode)
		assert.EqualValues(t, 64, statuses[1].State.Terminated.ExitCode)
		assert.Contains(t, statuses[1].State.Terminated.Message, "the kubelet of this node ignores env files")
		assert.NotNil(t, ended.Status.ContainerStatuses[0].State.Waiting, "the program never started")
	})
	t.Run("the kubelet says why it can't mount an image", func(t *testing.T) {
		p := s.pod("no-image", "image", local.OldNode)
		require.NoError(t, s.Client.Create(t.Context(), p))
		require.NoError(t, stage.Await(t.Context(), patience, "an event", func(ctx context.Context) error {
			var events corev1.EventList
			if err := s.Client.List(ctx, &events, client.InNamespace(namespace)); err != nil {
				return err
			}
			said := ""
			for _, e := range events.Items {
				if e.InvolvedObject.Name == p.Name && e.Type == corev1.EventTypeWarning {
					s.Say("the event says: %s: %s", e.Reason, e.Message)
					return nil
				}
				said += e.Message + "; "
			}
			return fmt.Errorf("no warning of %s", said)
		}))
	})
}

// install installs the product with values of the env-injector.
func (s suite) install(t *testing.T, injector map[string]any) {
	t.Helper()
	require.NoError(t, s.Install(t.Context(), stage.Release{Name: "akv2k8s", Namespace: "akv2k8s",
		Values: map[string]any{"env_injector": injector, "global": map[string]any{"metrics": map[string]any{"enabled": true}}}}))
	require.NoError(t, s.Settled(t.Context(), "akv2k8s"))
}

// pod is a pod whose program succeeds only with the value. node is empty if the scheduler chooses.
func (s suite) pod(name, delivery, node string) *corev1.Pod {
	yes, no, user := true, false, int64(1000)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{wire.AnnotationDelivery: delivery}},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &user, SeccompProfile: &corev1.SeccompProfile{Type: "RuntimeDefault"}},
			Containers: []corev1.Container{{Name: "app", Image: s.Image("testbox"), ImagePullPolicy: corev1.PullIfNotPresent,
				Env:             []corev1.EnvVar{{Name: "DB", Value: "db@azurekeyvault"}},
				Command:         []string{"sh", "-c", fmt.Sprintf("case $DB in *@*) exit 1;; *) test ${#DB} -eq %d;; esac", len(value))},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}}}}
	if node != "" {
		p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
	}
	return p
}

// deliveryOf is how the values get into a pod.
func deliveryOf(p *corev1.Pod) string {
	for _, v := range p.Spec.Volumes {
		switch {
		case v.Name == wire.VolumeEnvFiles:
			return "envfile"
		case v.Name == wire.VolumeInjector && v.Image != nil:
			return "image"
		case v.Name == wire.VolumeInjector:
			return "init"
		}
	}
	return ""
}

// runs creates a pod, and checks its delivery, its node, and that its program gets the value. An empty node is any.
func (s suite) runs(t *testing.T, p *corev1.Pod, delivery, node string) {
	t.Helper()
	require.NoError(t, s.Client.Create(t.Context(), p))
	assert.Equal(t, delivery, deliveryOf(p), p.Name)
	ended := s.ended(t, p.Name)
	assert.Equal(t, corev1.PodSucceeded, ended.Status.Phase, "%s: %+v", p.Name, ended.Status)
	if node != "" {
		assert.Equal(t, node, ended.Spec.NodeName)
	}
}

// ended waits for the end of a pod.
func (s suite) ended(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{}
	require.NoError(t, stage.Await(t.Context(), patience, "the end of pod "+name, func(ctx context.Context) error {
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, p); err != nil {
			return err
		}
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			return fmt.Errorf("it is %s: %+v %+v", p.Status.Phase, p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
		}
		return nil
	}))
	return p
}

// awaitDecision waits until every replica knows the nodes, so that new pods get a delivery.
func (s suite) awaitDecision(t *testing.T, delivery string) {
	t.Helper()
	inARow := 0
	require.NoError(t, stage.Await(t.Context(), patience, "the webhook to know the node", func(ctx context.Context) error {
		p := s.pod(fmt.Sprintf("asked-%d", time.Now().UnixNano()), "auto", "")
		if err := s.Client.Create(ctx, p, client.DryRunAll); err != nil {
			return err
		}
		if got := deliveryOf(p); !strings.EqualFold(got, delivery) {
			inARow = 0
			return fmt.Errorf("pods get %s", got)
		}
		if inARow++; inARow < 10 {
			return fmt.Errorf("%d of 10 replies", inARow)
		}
		return nil
	}))
}
