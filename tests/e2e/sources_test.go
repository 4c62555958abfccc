//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/emulator/acr"
	"github.com/akv2k8s/akv2k8s/tests/cluster/image"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

func (tm team) source(name string, data map[string]string) *corev1.ConfigMap {
	tm.Helper()
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: name}, Data: data}
	require.NoError(tm, s.Client.Create(tm.Context(), c))
	return c
}

func fromMap(name string) corev1.EnvFromSource {
	return corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}
}

// lengths prints how many characters the variables have, and never what.
func lengths(names ...string) []string {
	script := "echo"
	for _, name := range names {
		script += fmt.Sprintf(" %s=${#%[1]s}", name)
	}
	return []string{"sh", "-c", script}
}

func referencesFromSources(t *testing.T) {
	tm := newTeam(t)
	for _, name := range []string{"db", "of-secret", "of-pod", "later"} {
		tm.secret(name, canary+"-"+name)
		tm.resource(name, name, "")
	}
	settings := tm.source("settings", map[string]string{"DB": "db@azurekeyvault", "PLAIN": "four"})
	require.NoError(t, s.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: "credentials"},
		StringData: map[string]string{"key": "of-secret@azurekeyvault"}}))
	p := tm.pod("app", nil, lengths("DB", "PLAIN", "OF_SECRET", "OF_POD", "ENV_INJECTOR_REFERENCES")...)
	p.Annotations = map[string]string{"db": "of-pod@azurekeyvault"}
	p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{fromMap("settings")}
	p.Spec.Containers[0].Env = []corev1.EnvVar{
		{Name: "OF_SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "credentials"}, Key: "key"}}},
		{Name: "OF_POD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['db']"}}}}
	tm.create(p)
	code, log := tm.ended("app")
	assert.Zero(t, code)
	assert.Equal(t, fmt.Sprintf("DB=%d PLAIN=4 OF_SECRET=%d OF_POD=%d ENV_INJECTOR_REFERENCES=0\n", len(canary+"-db"), len(canary+"-of-secret"), len(canary+"-of-pod")), log)

	// A reference that gets into a source after the pod was created is not the pod's.
	late := tm.pod("late", map[string]string{"ENV_INJECTOR_RETRIES": "0"}, lengths("DB", "LATER")...)
	late.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{fromMap("settings")}
	late.Spec.InitContainers = []corev1.Container{*late.Spec.Containers[0].DeepCopy()}
	late.Spec.InitContainers[0].Name, late.Spec.InitContainers[0].EnvFrom = "waits", nil
	late.Spec.InitContainers[0].Command = []string{"sleep", "5"}
	tm.create(late)
	settings.Data["LATER"] = "later@azurekeyvault"
	require.NoError(t, s.Client.Update(t.Context(), settings))
	code, log = tm.ended("late")
	assert.EqualValues(t, 77, code)
	assert.Contains(t, log, "variable LATER")
	assert.Contains(t, log, "recreate the pod")

	// A source that is missing when the pod is created may bring any reference of the namespace.
	open := tm.pod("open", nil, lengths("LATER")...)
	open.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{fromMap("missing")}
	tm.create(open)
	tm.source("missing", map[string]string{"LATER": "later@azurekeyvault"})
	code, log = tm.ended("open")
	assert.Zero(t, code)
	assert.Equal(t, fmt.Sprintf("LATER=%d\n", len(canary+"-later")), log)

	// A pod whose sources hold no reference stays as it is.
	tm.source("plain", map[string]string{"PLAIN": "four"})
	plain := tm.pod("plain", nil, "true")
	plain.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{fromMap("plain")}
	require.NoError(t, s.Client.Create(t.Context(), plain, client.DryRunAll))
	assert.Empty(t, plain.Spec.InitContainers)
}

// expansionWithValues compares a pod whose values come from the vault with one that has them written out, on the same
// kubelet.
func expansionWithValues(t *testing.T) {
	tm := newTeam(t)
	tm.secret("odd", "o$(HOST)$$d")
	tm.resource("odd", "odd", "")
	describe := func(name, value string) string {
		p := tm.pod(name, nil, "sh", "-c", `for a in "$@"; do echo "[$a]"; done; echo "$URL|$COPY|$EARLY|$SERVICE"`, "name")
		p.Spec.Containers[0].Args = []string{"$(ODD)", "--url=$(URL)", "$$(ODD) $(NONE) $$5 $(", "$(HOST)", "$(KUBERNETES_SERVICE_PORT) $(ODD)"}
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "EARLY", Value: "$(ODD)$(HOST)"}, {Name: "ODD", Value: value}, {Name: "HOST", Value: "h$$x"},
			{Name: "URL", Value: "u:$(ODD)@$(HOST)/$$y/$(LATE)$(NONE)"}, {Name: "COPY", Value: "$(URL)"}, {Name: "SERVICE", Value: "$(KUBERNETES_SERVICE_PORT)$(ODD)"},
			{Name: "LATE", Value: "late"}}
		tm.create(p)
		code, log := tm.ended(name)
		assert.Zero(t, code)
		return log
	}
	// The kubelet turns $$ into $, so the plain one needs twice as many to hold the same.
	assert.Equal(t, describe("plain", "o$$(HOST)$$$$d"), describe("injected", "odd@azurekeyvault"))
}

func commandsOfImages(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	require.NoError(t, s.Azure.Registry(t.Context(), "akv2k8stest", stage.KubeletObjectID))
	require.NoError(t, s.Azure.Registry(t.Context(), "akv2k8sothers"))
	require.NoError(t, s.Azure.Image(t.Context(), "testbox", "1", acr.Image{Entrypoint: []string{"sh", "-c", `echo "$0 $1 db=${#DB} $(echo shell)"`}, Cmd: []string{"of-image", "$(DB)"}}))
	for name, c := range map[string]struct {
		args []string
		want string
	}{"image": {nil, "of-image $(DB)"}, "args": {[]string{"of-pod", "$(PLAIN)"}, "of-pod plain"}} {
		p := tm.pod(name, map[string]string{"DB": "db@azurekeyvault", "PLAIN": "plain"})
		p.Spec.Containers[0].Image, p.Spec.Containers[0].Args = image.PrivateImage, c.args
		tm.create(p)
		code, log := tm.ended(name)
		assert.Zero(t, code)
		assert.Equal(t, fmt.Sprintf("%s db=%d shell\n", c.want, len(canary+"-db")), log)
	}
	refused := tm.pod("refused", map[string]string{"DB": "db@azurekeyvault"})
	refused.Spec.Containers[0].Image = "akv2k8sothers.azurecr.io/testbox:1"
	err := s.Client.Create(t.Context(), refused, client.DryRunAll)
	for _, part := range []string{`container "app"`, "akv2k8sothers.azurecr.io", "401 UNAUTHORIZED", "the identity of the env-injector", "AcrPull", "akv2k8s.io/commands"} {
		assert.ErrorContains(t, err, part)
	}
	refused.Annotations = map[string]string{"akv2k8s.io/commands": `{"app":["/app"]}`}
	require.NoError(t, s.Client.Create(t.Context(), refused, client.DryRunAll))
	assert.Equal(t, []string{"/app"}, refused.Spec.Containers[0].Args)
}

func ephemeralContainers(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	debug := func(p *corev1.Pod, command ...string) error {
		container := tm.pod("", map[string]string{"DEBUG": "db@azurekeyvault"}, command...).Spec.Containers[0]
		container.Name = "debugger"
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon(container)})
		_, err := s.Kube.CoreV1().Pods(p.Namespace).UpdateEphemeralContainers(t.Context(), p.Name, p, metav1.UpdateOptions{})
		return err
	}
	running := func(name string, env map[string]string) *corev1.Pod {
		p := tm.create(tm.pod(name, env, "sleep", "300"))
		require.NoError(t, stage.Await(t.Context(), patience, "pod "+name, func(ctx context.Context) error {
			if err := s.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
				return err
			}
			if p.Status.Phase != corev1.PodRunning {
				return fmt.Errorf("it is %s", p.Status.Phase)
			}
			return nil
		}))
		return p
	}
	injected, plain := running("injected", map[string]string{"DB": "db@azurekeyvault"}), running("plain", nil)
	assert.ErrorContains(t, debug(plain, lengths("DEBUG")...), "kubectl debug --copy-to")
	require.NoError(t, debug(injected, lengths("DEBUG")...))
	require.NoError(t, stage.Await(t.Context(), patience, "the debugger", func(ctx context.Context) error {
		content, err := s.Kube.CoreV1().Pods(tm.namespace).GetLogs("injected", &corev1.PodLogOptions{Container: "debugger"}).DoRaw(ctx)
		if err == nil && string(content) != fmt.Sprintf("DEBUG=%d\n", len(canary+"-db")) {
			err = fmt.Errorf("it says %q", content)
		}
		return err
	}))
}
