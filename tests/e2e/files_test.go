//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/wire"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// ownCredentials are variables with which a pod reads vaults itself.
func ownCredentials() map[string]string {
	return map[string]string{"ENV_INJECTOR_DISABLE_AUTH_SERVICE": "true", "AZURE_TENANT_ID": local.TenantID,
		"AZURE_CLIENT_ID": stage.AppClientID, "AZURE_CLIENT_SECRET": stage.AppSecret}
}

// withFiles gives a pod files and other annotations, as names and values.
func withFiles(p *corev1.Pod, files string, more ...string) *corev1.Pod {
	p.Annotations = map[string]string{wire.AnnotationFiles: files}
	for i := 0; i+1 < len(more); i += 2 {
		p.Annotations[more[i]] = more[i+1]
	}
	return p
}

// entries makes a resource of a secret with several values.
func (tm team) entries(name, value string) {
	tm.Helper()
	tm.secret(name, value)
	r := &v2beta1.AzureKeyVaultSecret{}
	r.Namespace, r.Name = tm.namespace, name
	r.Spec.Vault.Name, r.Spec.Vault.Object.Name = tm.vault, name
	r.Spec.Vault.Object.Type, r.Spec.Vault.Object.ContentType = "multi-key-value-secret", "application/x-json"
	require.NoError(tm, s.Client.Create(tm.Context(), r))
}

// awaitOutput waits until a command in a running container prints this.
func (tm team) awaitOutput(pod, want string, within time.Duration, command ...string) {
	tm.Helper()
	require.NoError(tm, stage.Await(tm.Context(), within, "pod "+pod, func(context.Context) error {
		got, err := tm.exec(pod, command...)
		if got = strings.TrimSpace(got); got != want {
			return fmt.Errorf("it prints %q: %w", strings.ReplaceAll(got, canary, "CANARY"), err)
		}
		return nil
	}))
}

// podFiles has files in running pods, which follow the vault.
func podFiles(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	tm.entries("settings", `{"user": "`+canary+`-ada", "level": "`+canary+`-7"}`)
	files := `
/etc/app/db: db@azurekeyvault
/etc/app/settings/: settings@azurekeyvault
/etc/app/settings.json: {from: settings@azurekeyvault, format: json}
/srv/private: {from: db@azurekeyvault, mode: "0400"}`
	const inFilesAlone = canary + "-in-files-alone" // in no Secret, so that it can be searched for on the disk
	const answer = `read line; echo "$line" >> /tmp/calls; printf "HTTP/1.1 204 No Content\r\n\r\n"`
	ways := append(deliveries(t), "direct") // the last reads the vault itself
	for _, way := range ways {
		env, delivery := map[string]string{"DB": "db@azurekeyvault"}, way
		if way == "direct" {
			delivery = "init"
			maps.Copy(env, ownCredentials())
		}
		p := by(delivery, withFiles(tm.pod("files-"+way, env, "sh", "-c",
			hasValue+` && test "$(cat /etc/app/db)" = "$DB" && test "$(cat /srv/private)" = "$DB" && echo present && exec nc -ll -p 8080 -e sh -c '`+answer+`'`),
			files, wire.AnnotationRefreshInterval, "1m", wire.AnnotationOnChange, "http://localhost:8080/changed"))
		p.Annotations[wire.AnnotationDelivery] = delivery
		p.Spec.RestartPolicy = corev1.RestartPolicyAlways
		group := int64(4000)
		p.Spec.SecurityContext.FSGroup = &group
		p.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		readOnly := true
		p.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem = &readOnly
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}}
		got := tm.create(p)
		last := got.Spec.InitContainers[len(got.Spec.InitContainers)-1]
		assert.Equal(t, wire.FilesContainer, last.Name)
		assert.Len(t, got.Spec.InitContainers, map[string]int{"image": 1, "init": 2}[delivery])
	}
	for _, way := range ways {
		name := "files-" + way
		tm.awaitLog(name, "present")
		tm.awaitOutput(name, "level\nuser", patience, "ls", "/etc/app/settings")
		tm.awaitOutput(name, canary+"-ada", patience, "cat", "/etc/app/settings/user")
		tm.awaitOutput(name, "-r-------- 4000", patience, "sh", "-c", "stat -L -c '%A %g' /srv/private")
		_, err := tm.exec(name, "touch", "/etc/app/new")
		assert.ErrorContains(t, err, "Read-only file system", "the program can't change its files")
		got, err := tm.exec(name, "sh", "-c", "cat /proc/mounts | grep akv2k8s-files || echo none")
		require.NoError(t, err)
		assert.Equal(t, "none", strings.TrimSpace(got), "the volume itself is not in the container")
	}
	tm.secret("db", inFilesAlone)
	tm.secret("settings", `{"level": "`+canary+`-8", "mode": "`+canary+`-x"}`)
	started := time.Now()
	for _, way := range ways {
		name := "files-" + way
		tm.awaitOutput(name, inFilesAlone, 4*patience, "cat", "/etc/app/db")
		tm.awaitOutput(name, "level\nmode", 2*patience, "ls", "/etc/app/settings")
		tm.awaitOutput(name, inFilesAlone, 2*patience, "cat", "/srv/private")
		tm.awaitOutput(name, "POST /changed HTTP/1.1", patience, "sh", "-c", "head -n 1 /tmp/calls | tr -d '\\r'")
	}
	t.Logf("the files changed within %s", time.Since(started).Round(time.Second))
	notOnDisk(t, inFilesAlone)
}

// filesOnce has files in pods whose containers end, and in pods that need something first.
func filesOnce(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	check := fmt.Sprintf("test $(cat /etc/app/db | tr -d '\\n' | wc -c) -eq %d && echo right", len(canary+"-db"))
	check = strings.ReplaceAll(check, "wc -c", "sed 's/./x/g' | { read l; echo ${#l}; }")
	// A pod without variables needs neither a known command nor an injector.
	for name, more := range map[string][]string{"job": nil, "once": {wire.AnnotationRefreshInterval, "0"}} {
		p := tm.create(withFiles(tm.pod(name, nil, "sh", "-c", check), "/etc/app/db: db@azurekeyvault", more...))
		assert.Equal(t, []string{"sh", "-c", check}, p.Spec.Containers[0].Command)
		assert.Equal(t, wire.FilesInitContainer, p.Spec.InitContainers[0].Name)
		assert.Len(t, p.Spec.InitContainers, map[string]int{"job": 2, "once": 1}[name])
	}
	// In the node's network, and as root.
	onHost := team{t, "host-" + tm.namespace, tm.vault}
	require.NoError(t, s.Namespace(t.Context(), onHost.namespace, map[string]string{"azure-key-vault-env-injection": "enabled"}))
	onHost.resource("db", "db", "")
	root, no := int64(0), false
	for _, name := range []string{"network", "root"} {
		p := withFiles(onHost.pod(name, nil, "sh", "-c", check), "/etc/app/db: db@azurekeyvault")
		if p.Spec.HostNetwork = name == "network"; !p.Spec.HostNetwork {
			p.Spec.SecurityContext.RunAsUser, p.Spec.SecurityContext.RunAsNonRoot = &root, &no
		}
		onHost.create(p)
		code, log := onHost.ended(name)
		assert.Zero(t, code, log)
	}
	for _, name := range []string{"job", "once"} {
		code, log := tm.ended(name)
		assert.Zero(t, code, log)
		assert.Contains(t, log, "right")
	}
	// A resource that does not exist yet is waited for.
	late := withFiles(tm.pod("late", nil, "sh", "-c", "test -s /etc/app/late && echo started && exec sleep 600"), "/etc/app/late: late@azurekeyvault")
	late.Spec.RestartPolicy = corev1.RestartPolicyAlways
	tm.create(late)
	require.NoError(t, stage.Await(t.Context(), patience, "pod late to wait", func(ctx context.Context) error {
		content, err := s.Kube.CoreV1().Pods(tm.namespace).GetLogs("late", &corev1.PodLogOptions{Container: wire.FilesContainer}).DoRaw(ctx)
		if !strings.Contains(string(content), `no AzureKeyVaultSecret \"late\"`) {
			return fmt.Errorf("its log is %q: %w", content, err)
		}
		return nil
	}))
	var p corev1.Pod
	require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Namespace: tm.namespace, Name: "late"}, &p))
	assert.Nil(t, p.Status.ContainerStatuses[0].State.Running, "the program has not started")
	tm.resource("late", "db", "")
	tm.awaitLog("late", "started")
	// In a pod that is never restarted, an error of the user ends the pod.
	tm.create(withFiles(tm.pod("broken", nil, "echo", "started"), "/etc/app/db: db@azurekeyvault?what"))
	code, log := tm.ended("broken")
	assert.EqualValues(t, 64, code)
	assert.Contains(t, log, "is not known for an object of type secret")
	assert.NotContains(t, log, "started")
	for files, says := range map[string]string{"/etc/passwd: db@azurekeyvault": "needs a mount of the whole directory /etc", "/a/b: " + canary: "is not a reference"} {
		err := s.Client.Create(t.Context(), withFiles(tm.pod("refused", nil, "true"), files), &client.CreateOptions{})
		require.ErrorContains(t, err, says)
		assert.NotContains(t, err.Error(), canary)
	}
	assert.Contains(t, metricsOf(t, "akv2k8s-webhook"), "akv2k8s_auth_files_requests_total")
}
