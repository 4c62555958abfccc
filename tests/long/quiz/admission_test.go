//go:build cluster

package quiz

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// refusedPod is a pod that the webhook denies.
type refusedPod struct {
	change func(*corev1.Pod)
	// says is a part of the webhook's message, which explain must repeat.
	says string
}

func annotated(name, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{name: value} }
}

func env(name, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: name, Value: value})
	}
}

func files(text string) refusedPod { return refusedPod{change: annotated("akv2k8s.io/files", text)} }

func (r refusedPod) saying(text string) refusedPod { r.says = text; return r }

// goldens are the refusals of the webhook's unit tests: the pods, and the messages.
func goldens(t *testing.T, q *quiz) map[string]refusedPod {
	t.Helper()
	inputs, err := filepath.Glob(filepath.Join(q.stage.Root, "src", "webhook", "inject", "testdata", "refused-*.in.yaml"))
	require.NoError(t, err)
	require.Greater(t, len(inputs), 15)
	all := map[string]refusedPod{}
	for _, input := range inputs {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(input), "refused-"), ".in.yaml")
		if name == "env-file-forbidden-source" {
			q.stage.Say("not planted: %s, because the webhook of the chart may read every ConfigMap", name)
			continue
		}
		content, err := os.ReadFile(input)
		require.NoError(t, err)
		message, err := os.ReadFile(strings.Replace(input, ".in.", ".out.", 1))
		require.NoError(t, err)
		says := strings.TrimSpace(strings.TrimPrefix(string(message), "refused: "))
		all[strings.ReplaceAll(name, "-", " ")] = refusedPod{says: says, change: func(p *corev1.Pod) {
			namespace := p.Namespace
			*p = corev1.Pod{TypeMeta: p.TypeMeta}
			if err := yaml.UnmarshalStrict(content, p); err != nil {
				p.Name = err.Error() // the API server rejects it
			}
			p.Namespace = namespace
		}}
	}
	return all
}

// admissionFaults are pods that the webhook denies, but for those with files.
func admissionFaults(t *testing.T, q *quiz) []fault {
	all := goldens(t, q)
	maps.Copy(all, map[string]refusedPod{
		"a setting that is not valid":                  {env("ENV_INJECTOR_TIMEOUT", "soon"), "the value of ENV_INJECTOR_TIMEOUT is not valid"},
		"a setting in lower case":                      {env("env_injector_retries", "3"), "write ENV_INJECTOR_RETRIES"},
		"a method that does not exist":                 {env("ENV_INJECTOR_AUTH_TYPE", "kerberos"), "the value of ENV_INJECTOR_AUTH_TYPE is not valid"},
		"a delivery that does not exist":               {annotated("akv2k8s.io/delivery", "post"), "is not a delivery"},
		"an annotation that is not always":             {annotated("akv2k8s.io/inject", "never"), `is not "always"`},
		"a label that is neither":                      {func(p *corev1.Pod) { p.Labels = map[string]string{"akv2k8s.io/inject": "nope"} }, `neither "true" nor "false"`},
		"a mount of another in our path":               {func(p *corev1.Pod) { mounts(p, "/azure-keyvault/x") }, "is reserved for the env-injector"},
		"a setting from a ConfigMap":                   {func(p *corev1.Pod) { p.Spec.Containers[0].EnvFrom = fromConfigMap("settings") }, "where the env-injector does not read it"},
		"a reserved variable in a ConfigMap":           {func(p *corev1.Pod) { p.Spec.Containers[0].EnvFrom = fromConfigMap("reserved") }, "is reserved; remove the key"},
		"a command of a container that does not exist": {annotated("akv2k8s.io/commands", `{"nope": ["/app"]}`), "which the pod does not have"},
	})
	return refusedFaults(t, q, home{q, "admission"}, all)
}

// fileFaults are pods whose annotations about files the webhook denies.
func fileFaults(t *testing.T, q *quiz) []fault {
	return refusedFaults(t, q, home{q, "files"}, map[string]refusedPod{
		"no mapping":                      files("db").saying("is not a mapping"),
		"a relative path":                 files("etc/app/db: db@azurekeyvault").saying("is not absolute"),
		"a path outside":                  files("/etc/app/../db: db@azurekeyvault").saying("begins with two dots"),
		"no reference":                    files("/etc/app/db: db").saying("is not a reference"),
		"an unknown option":               files("/etc/app/db: {from: db@azurekeyvault, owner: me}").saying(`the option "owner" is not known`),
		"an unknown format":               files("/etc/app/db: {from: db@azurekeyvault, format: xml}").saying("the format is not known"),
		"a PFX without a password":        files("/etc/app/db: {from: db@azurekeyvault, format: pfx}").saying("needs a password"),
		"a password of a text":            files("/etc/app/db: {from: db@azurekeyvault, password: db@azurekeyvault}").saying("has no password"),
		"a mode in decimal":               files("/etc/app/db: {from: db@azurekeyvault, mode: 256}").saying("the mode is not one of"),
		"one key for a folder":            files("/etc/app/db/: db@azurekeyvault?a").saying("is a folder with all data keys"),
		"a path that is there twice":      files("/etc/app/db: db@azurekeyvault\n/etc/app/db: db@azurekeyvault?a").saying("is there twice"),
		"a file that is a folder":         files("/etc/app/db: db@azurekeyvault\n/etc/app/db/: db@azurekeyvault").saying("is both a file and a folder"),
		"a file below a file":             files("/etc/app/db: db@azurekeyvault\n/etc/app/db/x: db@azurekeyvault").saying("as a directory, and that is a file"),
		"a file in a folder of keys":      files("/etc/app/: db@azurekeyvault\n/etc/app/x: db@azurekeyvault").saying("whose files are the data keys"),
		"a directory of the image":        files("/etc/passwd: db@azurekeyvault").saying("would hide the files that the image has there"),
		"our directory":                   files("/azure-keyvault/db: db@azurekeyvault").saying("which is reserved"),
		"a directory of the kernel":       files("/proc/db: db@azurekeyvault").saying("which is reserved"),
		"a container that does not exist": {annotated("akv2k8s.io/files.nope", "/etc/app/db: db@azurekeyvault"), "the pod has no such container"},
		"too many files":                  files(manyFiles(201)).saying("more than 200 files"),
		"a mount in its place":            {withFile(func(p *corev1.Pod) { mounts(p, "/etc/app") }), "is already the mount of volume"},
		"a mount that it hides":           {withFile(func(p *corev1.Pod) { mounts(p, "/etc/app/conf.d") }), "hides the mount"},
		"a volume of our name": {withFile(func(p *corev1.Pod) {
			mounts(p, "/data")
			p.Spec.Volumes[0].Name, p.Spec.Containers[0].VolumeMounts[0].Name = "akv2k8s-files", "akv2k8s-files"
		}), "is reserved for the env-injector"},
		"a refresh interval that is none":  {withFile(func(p *corev1.Pod) { p.Annotations["akv2k8s.io/refresh-interval"] = "often" }), "is not a duration"},
		"a refresh interval that is short": {withFile(func(p *corev1.Pod) { p.Annotations["akv2k8s.io/refresh-interval"] = "1s" }), "is not between"},
		"a call of another host":           {withFile(func(p *corev1.Pod) { p.Annotations["akv2k8s.io/on-change"] = "http://elsewhere:80/" }), "is on another host than localhost"},
		"a call without a change": {withFile(func(p *corev1.Pod) {
			p.Annotations["akv2k8s.io/on-change"], p.Annotations["akv2k8s.io/refresh-interval"] = "http://localhost:80/", "0"
		}), "needs files that are read again"},
		"Windows": {withFile(func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "windows"} }), "the pod is for Windows"},
		"two ways to read": {withFile(func(p *corev1.Pod) {
			second := *p.Spec.Containers[0].DeepCopy()
			second.Name, second.Env = "second", []corev1.EnvVar{{Name: "ENV_INJECTOR_DISABLE_AUTH_SERVICE", Value: "true"}}
			p.Spec.Containers = append(p.Spec.Containers, second)
		}), "only one of them uses the auth service"},
	})
}

// withFile adds a valid annotation before a change.
func withFile(change func(*corev1.Pod)) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		annotated("akv2k8s.io/files", "/etc/app/db: db@azurekeyvault")(p)
		change(p)
	}
}

// mounts mounts an empty volume of the pod.
func mounts(p *corev1.Pod, path string) {
	p.Spec.Volumes = []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: path}}
}

func fromConfigMap(name string) []corev1.EnvFromSource {
	return []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}
}

func manyFiles(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "/etc/app/f%d: db@azurekeyvault\n", i)
	}
	return text.String()
}

// refusedFaults has the webhook deny each pod, and explain say why before the pod is created.
func refusedFaults(t *testing.T, q *quiz, h home, all map[string]refusedPod) []fault {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, h.create(ctx, nil))
	t.Cleanup(func() { require.NoError(t, h.remove(context.WithoutCancel(ctx))) })
	for _, name := range []string{"db", "a", "other"} { // the goldens refer to them
		require.NoError(t, h.resource(ctx, name, "{vault: {name: VAULT, object: {name: db, type: secret}}, output: {secret: {name: "+name+", dataKey: v}}}"))
		require.NoError(t, h.awaitReason(ctx, name, "Synced"))
	}
	for name, data := range map[string]map[string]string{"broken": {"bad": "hunter2!@azurekeyvault"}, "settings": {"ENV_INJECTOR_DISABLE_AUTH_SERVICE": "true"},
		"reserved": {"ENV_INJECTOR_CA": "x"}} {
		require.NoError(t, h.stage.Client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: h.name, Name: name}, Data: data}))
	}
	var faults []fault
	for n, name := range slices.Sorted(maps.Keys(all)) {
		r := all[name]
		pod := h.pod(fmt.Sprintf("refused-%d", n), "DB=db@azurekeyvault")
		r.change(pod)
		path, err := q.manifest(h.name+" "+name, pod)
		require.NoError(t, err)
		faults = append(faults, fault{name: name, says: []string{"the env-injector denies it", r.says},
			plant:    func(ctx context.Context) error { return h.denied(ctx, pod.DeepCopy(), r.says) },
			commands: [][]string{{"explain", "-n", h.name, "-f", path}}})
	}
	return faults
}

// denied checks that the webhook denies the pod with a message.
func (h home) denied(ctx context.Context, pod *corev1.Pod, says string) error {
	err := h.stage.Client.Create(ctx, pod, client.DryRunAll)
	switch {
	case err == nil:
		return errors.New("the pod was accepted")
	case !strings.Contains(err.Error(), "akv2k8s: ") || !strings.Contains(err.Error(), says):
		return fmt.Errorf("the message does not say %q: %w", says, err)
	}
	return nil
}
