//go:build cluster

package upgrade

import (
	"context"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// users is the namespace of what users of akv2k8s 1.8 have.
const users = "users"

// v1CA is the Secret of the CA that the replicas of akv2k8s 1.8 serve with.
const v1CA = "akv2k8s-envinjector-serving-predecessor"

// usersValues are the values of a release of chart 2.8.
func usersValues(t *testing.T) map[string]any {
	t.Helper()
	var values map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "values.yaml")), &values))
	return values
}

// installV1 makes a release of chart 2.8, resources and their outputs, and a pod that was injected.
func installV1(t *testing.T) {
	t.Helper()
	useV1Definition(t)
	_, err := s.Helm(t.Context(), "install", home, "testdata/akv2k8s", "--namespace", home, "--create-namespace", "--values", "testdata/values.yaml", "--wait", "--timeout", "2m")
	require.NoError(t, err)
	team(t, users)
	r := resource(t, users, "app", "")
	yes, no := true, false
	require.NoError(t, s.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: users, Name: "app", OwnerReferences: []metav1.OwnerReference{{
		APIVersion: "spv.no/v2beta1", Kind: "AzureKeyVaultSecret", Name: r.Name, UID: r.UID, Controller: &no, BlockOwnerDeletion: &yes}}},
		Data: map[string][]byte{"password": []byte(value)}}, client.FieldOwner("azure-keyvault-controller")))
	require.NoError(t, s.Client.Get(t.Context(), client.ObjectKeyFromObject(r), r))
	r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: "app", DataKey: "password"}}
	require.NoError(t, s.Client.Update(t.Context(), r))
	require.NoError(t, s.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: users, Name: "akv2k8s-old"},
		StringData: map[string]string{"ca.crt": "x", "tls.crt": "x", "tls.key": "x"}}))
	old := strings.NewReplacer("IMAGE", s.Image("testbox"), "HOME", home, "USERS", users).Replace(oldPod)
	// The replicas of akv2k8s 1.8 are ready, but a moment passes until the Service leads to them.
	require.NoError(t, stage.Await(t.Context(), 30*time.Second, "the old pod to be taken", func(ctx context.Context) error { return s.Apply(ctx, users, old) }))
	awaitRunning(t, "old", 0)
}

// oldPod is as the webhook of akv2k8s 1.8 left it. Its wrapper, on a second start, asks where that of 1.8 did.
const oldPod = `apiVersion: v1
kind: Pod
metadata:
  name: old
  labels: {akv2k8s.io/inject: "false"}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: copy-azurekeyvault-env
    image: IMAGE
    command: [sh, -c, "cat /bin/busybox > /azure-keyvault/azure-keyvault-env"]
    volumeMounts: [{name: azure-keyvault-env, mountPath: /azure-keyvault/}]
  containers:
  - name: app
    image: IMAGE
    command: [sh, -c]
    args:
    - |
      if [ -e /azure-keyvault/started ]; then
        wget -S -O - "http://akv2k8s-envinjector.HOME.svc:80/auth/USERS/old?secret=akv2k8s-old" 2>&1; sleep 2; exit 1
      fi
      touch /azure-keyvault/started
      until [ -e /azure-keyvault/end ]; do sleep 1; done
    env:
    - {name: PASSWORD, value: app@azurekeyvault}
    - {name: ENV_INJECTOR_USE_AUTH_SERVICE, value: "true"}
    - {name: ENV_INJECTOR_AUTH_SERVICE_SECRET, value: akv2k8s-old}
    volumeMounts:
    - {name: azure-keyvault-env, mountPath: /azure-keyvault/}
    - {name: akv2k8s-client-cert, mountPath: /var/client-cert/}
  volumes:
  - {name: azure-keyvault-env, emptyDir: {medium: Memory}}
  - {name: akv2k8s-client-cert, secret: {secretName: akv2k8s-old}}
`

// awaitRunning waits until the container of a pod runs after so many restarts.
func awaitRunning(t *testing.T, name string, restarts int32) {
	t.Helper()
	require.NoError(t, stage.Await(t.Context(), patience, "pod "+name, func(ctx context.Context) error {
		var p corev1.Pod
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: users, Name: name}, &p); err != nil {
			return err
		}
		if len(p.Status.ContainerStatuses) != 1 || p.Status.ContainerStatuses[0].State.Running == nil || p.Status.ContainerStatuses[0].RestartCount != restarts {
			return fmt.Errorf("its status is %+v %+v", p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
		}
		return nil
	}))
}

// injected is a pod with a reference.
func injected(name string) *corev1.Pod {
	grace := int64(1)
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: users, Name: name}, Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &grace,
		Containers: []corev1.Container{{Name: "app", Image: s.Image("testbox"), Command: []string{"sh", "-c", "echo got $PASSWORD; sleep 3600"},
			Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "app@azurekeyvault"}}}}}}
}

// awaitPassword makes a pod that is injected by us, and waits for what it prints. As a ReplicaSet does, it tries again
// when the last replica of akv2k8s 1.8 is on its way out: that one does not drain.
func awaitPassword(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, stage.Await(t.Context(), patience, "the creation of a pod", func(ctx context.Context) error {
		return client.IgnoreAlreadyExists(s.Client.Create(ctx, injected(name)))
	}))
	require.NoError(t, stage.Await(t.Context(), patience, "the value in a new pod", func(ctx context.Context) error {
		content, err := s.Kube.CoreV1().Pods(users).GetLogs(name, &corev1.PodLogOptions{Container: "app"}).DoRaw(ctx)
		// logs of the injector may be before it
		if err == nil && !strings.HasSuffix(string(content), "got "+value+"\n") {
			err = fmt.Errorf("it printed %q", content)
		}
		return err
	}))
}

// bundle is the CA that the API server believes.
func bundle(t *testing.T) string {
	t.Helper()
	var hook admissionv1.MutatingWebhookConfiguration
	require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Name: "akv2k8s-envinjector"}, &hook))
	return string(hook.Webhooks[0].ClientConfig.CABundle)
}

// secretOf reads one of the release's Secrets.
func secretOf(t *testing.T, name string) corev1.Secret {
	t.Helper()
	var secret corev1.Secret
	require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Namespace: home, Name: name}, &secret))
	return secret
}

// fromV1 upgrades with the values unchanged, while everything is looked at all the time.
func fromV1(t *testing.T) {
	installV1(t)
	oldCA := string(secretOf(t, "akv2k8s-envinjector-ca").Data["tls.crt"])
	require.Equal(t, oldCA, bundle(t))
	stop := watch(t)
	install(t, usersValues(t))
	assert.Contains(t, bundle(t), oldCA, "replicas of akv2k8s 1.8 may be asked yet")
	assert.Equal(t, oldCA, string(secretOf(t, v1CA).Data["ca.crt"]))
	awaitPassword(t, "new")
	synced(t, users, "app")
	stop()
	for _, name := range []string{"akv2k8s-envinjector-ca", "akv2k8s-envinjector-tls"} {
		assert.Equal(t, "keep", secretOf(t, name).Annotations["helm.sh/resource-policy"])
	}
	awaitRunning(t, "old", 0)
	current(t)
	clean(t)
}

func oldPodRestarts(t *testing.T) {
	out, err := kubectl(t, "", "exec", "--namespace", users, "old", "--container", "app", "--", "touch", "/azure-keyvault/end")
	require.NoError(t, err, out)
	require.NoError(t, stage.Await(t.Context(), patience, "the answer to the old pod", func(ctx context.Context) error {
		logs, err := s.Logs(ctx, users)
		if err != nil {
			return err
		}
		if all := logs["old/app/false"] + logs["old/app/true"]; !strings.Contains(all, "410 Gone") {
			return fmt.Errorf("it says %q", all)
		}
		return nil
	}))
	require.NoError(t, stage.Await(t.Context(), patience, "the event", func(ctx context.Context) error {
		var events eventsv1.EventList
		if err := s.Client.List(ctx, &events, client.InNamespace(users)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "RecreatePod" && e.Regarding.Name == "old" {
				return nil
			}
		}
		return fmt.Errorf("there is none among %d", len(events.Items))
	}))
}

// extraRootGoes waits until the CA of akv2k8s 1.8 is believed no more.
func extraRootGoes(t *testing.T) {
	require.NoError(t, stage.Await(t.Context(), 3*time.Minute, "the end of the CA of akv2k8s 1.8", func(context.Context) error {
		if err := s.Client.Get(t.Context(), types.NamespacedName{Namespace: home, Name: v1CA}, &corev1.Secret{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("its Secret is there: %w", err)
		}
		block, rest := pem.Decode([]byte(bundle(t)))
		if next, _ := pem.Decode(rest); block == nil || next != nil {
			return fmt.Errorf("the API server does not believe one CA")
		}
		return nil
	}))
}

// rollback goes back to akv2k8s 1.8, whose webhook has to be believed again.
func rollback(t *testing.T) {
	_, err := s.Helm(t.Context(), "rollback", home, "1", "--namespace", home, "--wait", "--timeout", "2m")
	require.NoError(t, err)
	require.NoError(t, s.Settled(t.Context(), home))
	assert.Equal(t, string(secretOf(t, "akv2k8s-envinjector-ca").Data["tls.crt"]), bundle(t), "nobody of the newer version wrote over it")
	again := injected("again")
	require.NoError(t, s.Client.Create(t.Context(), again))
	assert.Equal(t, "marked", again.Labels["v1"], "pods that are made now are marked by akv2k8s 1.8")
	awaitRunning(t, "new", 0)
	synced(t, users, "app")
	install(t, usersValues(t))
	awaitPassword(t, "newest")
}
