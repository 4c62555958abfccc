//go:build cluster

package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// patience is for what should take moments on a noisy machine.
const patience = time.Minute

// canary begins every secret value of these tests, so that a leak can be searched for.
const canary = "canary-7f3a91"

// nonce keeps runs on one cluster apart.
var nonce = rand.Text()

// team is a namespace, with injection enabled, and a vault of its own.
type team struct {
	*testing.T
	namespace, vault string
}

func newTeam(t *testing.T) team {
	t.Helper()
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(t.Name() + nonce))
	id := fmt.Sprintf("%08x", sum.Sum32())
	tm := team{t, "team-" + id, "kv-" + id}
	require.NoError(t, s.Namespace(t.Context(), tm.namespace, map[string]string{
		"azure-key-vault-env-injection": "enabled", "pod-security.kubernetes.io/enforce": "restricted",
	}))
	tm.secret("db", canary+"-db")
	return tm
}

// secret puts a secret into the team's vault.
func (tm team) secret(name, value string) {
	tm.Helper()
	require.NoError(tm, s.Azure.Vault(tm.Context(), tm.vault, map[string]string{name: value}))
}

// resource makes an AzureKeyVaultSecret of the vault's object; output names the Secret to make, empty for none.
func (tm team) resource(name, object, output string) *v2beta1.AzureKeyVaultSecret {
	tm.Helper()
	r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: name}}
	r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = tm.vault, object, "secret"
	if output != "" {
		r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: output, DataKey: "password"}}
	}
	require.NoError(tm, s.Client.Create(tm.Context(), r))
	return r
}

// value is what the Secret holds, or why it can't be had.
func (tm team) value(ctx context.Context, name string) string {
	var secret corev1.Secret
	if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: name}, &secret); err != nil {
		return err.Error()
	}
	return string(secret.Data["password"])
}

// awaitValue waits until the Secret holds the value, and says how long that took.
func (tm team) awaitValue(name, value string, within time.Duration) time.Duration {
	tm.Helper()
	started := time.Now()
	err := stage.Await(tm.Context(), within, "Secret "+name, func(ctx context.Context) error {
		if tm.value(ctx, name) != value {
			return fmt.Errorf("it is not as wanted; the resources say: %s", tm.reasons(ctx))
		}
		return nil
	})
	require.NoError(tm, err)
	return time.Since(started)
}

// ready is the resource's Ready condition.
func (tm team) ready(ctx context.Context, name string) metav1.Condition {
	var r v2beta1.AzureKeyVaultSecret
	if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: name}, &r); err != nil {
		return metav1.Condition{Reason: "Unread", Message: err.Error()}
	}
	if c := meta.FindStatusCondition(r.Status.Conditions, "Ready"); c != nil {
		return *c
	}
	return metav1.Condition{Reason: "None"}
}

// conditions are the resource's, by type.
func (tm team) conditions(name string) map[string]string {
	tm.Helper()
	var r v2beta1.AzureKeyVaultSecret
	require.NoError(tm, s.Client.Get(tm.Context(), types.NamespacedName{Namespace: tm.namespace, Name: name}, &r))
	all := map[string]string{}
	for _, c := range r.Status.Conditions {
		all[c.Type] = string(c.Status)
	}
	return all
}

func (tm team) reasons(ctx context.Context) string {
	var list v2beta1.AzureKeyVaultSecretList
	if err := s.Client.List(ctx, &list, client.InNamespace(tm.namespace)); err != nil {
		return err.Error()
	}
	var texts []string
	for _, r := range list.Items {
		c := tm.ready(ctx, r.Name)
		texts = append(texts, r.Name+": "+c.Reason+" "+c.Message)
	}
	return strings.Join(texts, "; ")
}

// awaitReason waits for the reason of the resource's condition and returns its message.
func (tm team) awaitReason(name, reason string) string {
	tm.Helper()
	var c metav1.Condition
	err := stage.Await(tm.Context(), patience, "reason "+reason, func(ctx context.Context) error {
		if c = tm.ready(ctx, name); c.Reason != reason {
			return fmt.Errorf("it is %s: %s", c.Reason, c.Message)
		}
		return nil
	})
	require.NoError(tm, err)
	return c.Message
}

// pod describes a pod of one container that passes the restricted standard.
func (tm team) pod(name string, env map[string]string, command ...string) *corev1.Pod {
	yes, no, user, grace := true, false, int64(1000), int64(1)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: name}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no, TerminationGracePeriodSeconds: &grace,
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &user, SeccompProfile: &corev1.SeccompProfile{Type: "RuntimeDefault"}},
		Containers: []corev1.Container{{Name: "app", Image: s.Image("testbox"), ImagePullPolicy: corev1.PullIfNotPresent, Command: command,
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}},
	}}
	for key, value := range env {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: key, Value: value})
	}
	return p
}

// create creates the pod, and gives it as the API server has it now.
func (tm team) create(p *corev1.Pod) *corev1.Pod {
	tm.Helper()
	require.NoError(tm, s.Client.Create(tm.Context(), p))
	return p
}

// ended waits until the pod's container ended, and gives its exit code and log; if an init container failed, those of
// that one.
func (tm team) ended(name string) (int32, string) {
	tm.Helper()
	var code int32
	var container string
	err := stage.Await(tm.Context(), patience, "the end of pod "+name, func(ctx context.Context) error {
		var p corev1.Pod
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: name}, &p); err != nil {
			return err
		}
		var ended bool
		if container, code, ended = stage.Ended(&p); ended {
			return nil
		}
		return fmt.Errorf("its status is %s, %+v, %+v", p.Status.Phase, p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
	})
	require.NoError(tm, err)
	return code, tm.logOf(name, container)
}

func (tm team) logOf(name, container string) string {
	tm.Helper()
	content, err := s.Kube.CoreV1().Pods(tm.namespace).GetLogs(name, &corev1.PodLogOptions{Container: container}).DoRaw(tm.Context())
	require.NoError(tm, err)
	return string(content)
}

// initContainer is the one that injection adds.
const initContainer = "copy-azurekeyvault-env"

// awaitLog waits until the log of the pod's container, or of its init container, contains the text.
func (tm team) awaitLog(name, text string) {
	tm.Helper()
	require.NoError(tm, stage.Await(tm.Context(), patience, "a line of pod "+name, func(ctx context.Context) error {
		said := ""
		for _, container := range []string{"app", initContainer} {
			content, err := s.Kube.CoreV1().Pods(tm.namespace).GetLogs(name, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
			if strings.Contains(string(content), text) {
				return nil
			}
			said += fmt.Sprintf("; of %s: %q %v", container, content, err)
		}
		return fmt.Errorf("it is not there%s", said)
	}))
}
