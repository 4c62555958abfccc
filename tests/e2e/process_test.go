//go:build cluster

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// look prints what a program can see of its process, by PID 1: it is that, or a shell was in between. The environment
// comes first, and its order is the kubelet's. The list of open files is made in a shell of its own, since this one
// would have another file open for that.
const look = `tr '\0' '|' </proc/1/environ; echo "="; tr '\0' '|' </proc/1/cmdline; echo; for link in exe cwd; do busybox readlink /proc/1/$link; done
(ls -l /proc/1/fd >/scratch/open); sed 's/.* \([0-9]* -> [a-z/]*\).*/\1/; /total/d' /scratch/open; umask; id
grep -E '^(SigBlk|SigIgn|Uid|Gid|Groups|NoNewPrivs|Cap[A-Za-z]*|Seccomp):' /proc/1/status; cat /proc/1/limits`

// sameProcess runs one program in two pods, of which one is injected, as another user and group than the image's.
func sameProcess(t *testing.T) {
	tm := newTeam(t)
	tm.secret("word", "no secret at all")
	tm.resource("word", "word", "")
	seen, injected := map[string]string{}, allDeliveries(t)
	for _, name := range append(injected, "plain") {
		value := "word@azurekeyvault"
		if name == "plain" {
			value = "no secret at all"
		}
		p := tm.pod(name, nil, "sh", "-c", look)
		if name != "plain" {
			by(name, p)
		}
		user, group := int64(1234), int64(2345)
		p.Spec.SecurityContext.RunAsUser, p.Spec.SecurityContext.RunAsGroup, p.Spec.SecurityContext.FSGroup = &user, &group, &group
		p.Spec.SecurityContext.SupplementalGroups = []int64{3456}
		p.Spec.Hostname = "app"
		p.Spec.Containers[0].WorkingDir = "/scratch"
		p.Spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "scratch", MountPath: "/scratch"}}
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "FIRST", Value: "a=b c"}, {Name: "WORD", Value: value}, {Name: "EMPTY"}, {Name: "AZURE_CLIENT_ID", Value: "kept"},
			{Name: "LINES", Value: "two\nlines"}, {Name: "ENV_INJECTOR_RETRIES", Value: "2"}}
		p = tm.create(p)
		assert.Len(t, p.Spec.InitContainers, map[string]int{"init": 1, "envfile": 2}[name], name)
		assert.Equal(t, name == "image", isByImage(t, p))
		code, log := tm.ended(name)
		require.Zero(t, code, log)
		environment, rest, found := strings.Cut(log, "|=\n")
		require.True(t, found, log)
		variables := strings.Split(environment, "|")
		slices.Sort(variables)
		seen[name] = strings.Join(variables, "|") + "\n" + rest
	}
	assert.Contains(t, seen["plain"], "uid=1234 gid=2345 groups=2345,3456")
	assert.Contains(t, seen["plain"], "|WORD=no secret at all")
	assert.Contains(t, seen["plain"], "|EMPTY=|")
	assert.Contains(t, seen["plain"], "\n0 -> /dev/null\n1 -> pipe\n2 -> pipe\n")
	for _, name := range injected {
		assert.Equal(t, seen["plain"], seen[name], name)
	}
}

// sizes are what a terminal becomes, one after the other.
type sizes chan remotecommand.TerminalSize

// Next implements remotecommand.TerminalSizeQueue.
func (w sizes) Next() *remotecommand.TerminalSize {
	if size, ok := <-w; ok {
		return &size
	}
	return nil
}

// terminal types into a container that has one, changes its size, and interrupts the program by a key.
func terminal(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	for _, delivery := range allDeliveries(t) {
		terminalOf(tm, delivery)
	}
}

func terminalOf(tm team, delivery string) {
	t, name := tm.T, "shell-"+delivery
	p := tm.pod(name, map[string]string{"DB": "db@azurekeyvault"}, "sh", "-c",
		`trap 'echo got INT; exit 5' INT; test -t 0 && test -t 1 && test -t 2 && echo "pid $$$$ has $(busybox tty)"; read line; echo "read $line"; while true; do busybox stty size; sleep 0.2; done`)
	p.Spec.Containers[0].TTY, p.Spec.Containers[0].Stdin = true, true
	tm.create(by(delivery, p))
	tm.awaitLog(name, "pid 1 has /dev/")
	request := s.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(tm.namespace).Name(name).SubResource("attach").
		VersionedParams(&corev1.PodAttachOptions{Container: "app", Stdin: true, Stdout: true, TTY: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(s.REST, "GET", request.URL().String())
	require.NoError(t, err)
	keyboard, typed := io.Pipe()
	resized, attached := make(sizes, 1), make(chan error, 1)
	go func() {
		attached <- executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: keyboard, Stdout: io.Discard, Tty: true, TerminalSizeQueue: resized})
	}()
	resized <- remotecommand.TerminalSize{Width: 99, Height: 33}
	_, err = io.WriteString(typed, "hello\n")
	require.NoError(t, err)
	tm.awaitLog(name, "read hello")
	tm.awaitLog(name, "33 99")
	_, err = io.WriteString(typed, "\x03")
	require.NoError(t, err)
	code, log := tm.ended(name)
	require.NoError(t, errors.Join(typed.Close(), <-attached))
	close(resized)
	assert.EqualValues(t, 5, code, log)
	assert.Contains(t, log, "got INT")
}

// userNamespace has root in the pod be nobody on the node, where the container runtime can do that.
func userNamespace(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	no := false
	p := tm.pod("mapped", map[string]string{"DB": "db@azurekeyvault"}, "sh", "-c", `echo "got ${#DB} characters"; cat /proc/self/uid_map`)
	p.Spec.HostUsers = &no
	tm.create(p)
	if p.Spec.HostUsers == nil {
		t.Skip("not tried: this API server takes spec.hostUsers away, which needs Kubernetes 1.33 or newer")
	}
	unsupported := ""
	require.NoError(t, stage.Await(t.Context(), patience, "the pod, or an event that says why not", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Terminated != nil {
			return nil
		}
		var events eventsv1.EventList
		if err := s.Client.List(ctx, &events, client.InNamespace(tm.namespace)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "FailedCreatePodSandBox" && strings.Contains(e.Note, "user namespace") {
				unsupported = e.Note
				return nil
			}
		}
		return fmt.Errorf("it is %s, and there are %d events", p.Status.Phase, len(events.Items))
	}))
	if unsupported != "" {
		t.Skipf("not tried: the container runtime gives no pod a user namespace, which needs runc 1.2 or newer: %s", unsupported)
	}
	code, log := tm.ended("mapped")
	assert.Zero(t, code, log)
	assert.Contains(t, log, fmt.Sprintf("got %d characters\n", len(canary+"-db")))
	assert.NotContains(t, log, "4294967295", "the users are not the node's")
}
