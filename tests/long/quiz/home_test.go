//go:build cluster

package quiz

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// home is a namespace with injection, and a vault of its own, in which one fault or several are planted.
type home struct {
	*quiz
	name string
}

func (h home) vault() string { return "kv-" + h.name }

// create creates namespace and vault, with more secrets in the vault. It has the strictest Pod Security Standard.
func (h home) create(ctx context.Context, secrets map[string]string) error {
	if err := h.stage.Namespace(ctx, h.name, map[string]string{"azure-key-vault-env-injection": "enabled",
		"pod-security.kubernetes.io/enforce": "restricted"}); err != nil {
		return err
	}
	all := map[string]string{"db": canary + "-db"}
	for name, value := range secrets {
		all[name] = value
	}
	if err := h.stage.Azure.Vault(ctx, h.vault(), all); err != nil {
		return err
	}
	// The API server rejects pods as long as the ServiceAccount is not there.
	return stage.Await(ctx, patience, "ServiceAccount default", func(ctx context.Context) error {
		return h.stage.Client.Get(ctx, types.NamespacedName{Namespace: h.name, Name: "default"}, &corev1.ServiceAccount{})
	})
}

// remove deletes the namespace and waits until it is gone, because the doctor checks all of the cluster.
func (h home) remove(ctx context.Context) error {
	if err := h.stage.Azure.Heal(ctx, h.vault()); err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.name}}
	return stage.Await(ctx, patience, "the end of namespace "+h.name, func(ctx context.Context) error {
		if err := h.stage.Client.Delete(ctx, namespace); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it still exists: %w", err)
		}
		return nil
	})
}

// resource creates an AzureKeyVaultSecret. The spec is YAML; by default it is for secret db, with an output.
func (h home) resource(ctx context.Context, name, spec string) error {
	if spec == "" {
		spec = "{vault: {name: VAULT, object: {name: db, type: secret}}, output: {secret: {name: db, dataKey: v}}}"
	}
	return h.stage.Apply(ctx, h.name, fmt.Sprintf("{apiVersion: spv.no/v2beta1, kind: AzureKeyVaultSecret, metadata: "+
		"{name: %s}, spec: %s}", name, strings.ReplaceAll(spec, "VAULT", h.vault())))
}

// awaitReason waits until the condition Ready of a resource has a reason.
func (h home) awaitReason(ctx context.Context, name, reason string) error {
	return stage.Await(ctx, patience, fmt.Sprintf("akvs %s/%s to be %s", h.name, name, reason),
		func(ctx context.Context) error {
			var r v2beta1.AzureKeyVaultSecret
			if err := h.stage.Client.Get(ctx, types.NamespacedName{Namespace: h.name, Name: name}, &r); err != nil {
				return err
			}
			c := meta.FindStatusCondition(r.Status.Conditions, v2beta1.ConditionReady)
			if c == nil || c.Reason != reason {
				return fmt.Errorf("it is %+v", c)
			}
			return nil
		})
}

// pod is a pod with variables NAME=VALUE that meets the restricted standard, and does not restart.
func (h home) pod(name string, variables ...string) *corev1.Pod {
	yes, no, user, grace := true, false, int64(1000), int64(1)
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: h.name, Name: name}, Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no,
			TerminationGracePeriodSeconds: &grace,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &user,
				SeccompProfile: &corev1.SeccompProfile{Type: "RuntimeDefault"}},
			Containers: []corev1.Container{{Name: "app", Image: h.stage.Image("testbox"), Command: []string{"true"},
				ImagePullPolicy: corev1.PullIfNotPresent,
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}},
		}}
	for _, variable := range variables {
		key, value, _ := strings.Cut(variable, "=")
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: key, Value: value})
	}
	return p
}

func (h home) start(ctx context.Context, pod *corev1.Pod) error {
	return h.stage.Client.Create(ctx, pod)
}

// awaitEnd waits until the containers of a pod have ended.
func (h home) awaitEnd(ctx context.Context, name string) error {
	return stage.Await(ctx, patience, "the end of pod "+h.name+"/"+name, func(ctx context.Context) error {
		var p corev1.Pod
		if err := h.stage.Client.Get(ctx, types.NamespacedName{Namespace: h.name, Name: name}, &p); err != nil {
			return err
		}
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			return fmt.Errorf("it is %s: %+v", p.Status.Phase, p.Status.ContainerStatuses)
		}
		return nil
	})
}

// manifest writes objects to a file of their own, and returns its path.
func (q *quiz) manifest(name string, objects ...client.Object) (string, error) {
	var text strings.Builder
	for _, object := range objects {
		content, err := json.Marshal(object)
		if err != nil {
			return "", err
		}
		text.WriteString("---\n" + string(content) + "\n")
	}
	path := filepath.Join(q.folder, strings.NewReplacer(" ", "-", "/", "-", `"`, "").Replace(name)+".yaml")
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
}

func jsonOf(value any) ([]byte, error) { return json.Marshal(value) }
