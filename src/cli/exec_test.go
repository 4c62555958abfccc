package cli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/akv2k8s/akv2k8s/src/cli"
)

// somePods are pods as the webhook leaves them: app has an injected container, envfile has one whose variables the
// kubelet sets, and plain has none.
const somePods = `apiVersion: v1
kind: Pod
metadata: {name: app, namespace: team}
spec:
  serviceAccountName: shop
  initContainers: [{name: copy-azurekeyvault-env, image: i}]
  containers:
  - {name: proxy, image: i}
  - {name: app, image: i, command: [/azure-keyvault/azure-keyvault-env], args: [/app], env: [{name: DB, value: db@azurekeyvault}, {name: PLAIN, value: plain-canary}]}
  - {name: ended, image: i, command: [/azure-keyvault/azure-keyvault-env], args: [/job]}
  - {name: waits, image: i, command: [/azure-keyvault/azure-keyvault-env], args: [/job]}
status:
  phase: Running
  containerStatuses:
  - {name: proxy, state: {running: {startedAt: "2026-01-02T03:04:05Z"}}}
  - {name: app, state: {running: {startedAt: "2026-01-02T03:04:05Z"}}}
  - {name: ended, state: {terminated: {exitCode: 66}}}
  - {name: waits, state: {waiting: {reason: CrashLoopBackOff}}}
---
apiVersion: v1
kind: Pod
metadata: {name: envfile, namespace: team}
spec:
  containers: [{name: app, image: i, env: [{name: DB, valueFrom: {fileKeyRef: {volumeName: akv2k8s-env-files, path: app.env, key: DB}}}]}]
status: {containerStatuses: [{name: app, state: {running: {startedAt: "2026-01-02T03:04:05Z"}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: plain, namespace: team}
spec: {containers: [{name: app, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pending, namespace: team}
spec: {containers: [{name: app, image: i, command: [/azure-keyvault/azure-keyvault-env], args: [/app]}]}
status: {phase: Pending}`

// containerRun is a command that the server has been asked to run.
type containerRun struct {
	container string
	command   []string
	hasTTY    bool
}

// runs makes the server answer requests to run commands, by WebSocket or only by SPDY: the command prints its standard
// input, and ends with an exit code.
func (s *apiServer) runs(t *testing.T, exitCode int, onlySPDY bool) *containerRun {
	t.Helper()
	asked := &containerRun{}
	s.exec = func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		*asked = containerRun{query.Get("container"), query["command"], query.Get("tty") == "true"}
		switch isWebSocket := websocket.IsWebSocketUpgrade(r); {
		case isWebSocket && onlySPDY:
			http.Error(w, "a proxy that knows no WebSockets", http.StatusBadRequest)
		case isWebSocket:
			serveWebSocket(t, w, r, exitStatus(exitCode))
		default:
			serveSPDY(t, w, r, exitStatus(exitCode))
		}
	}
	return asked
}

// exitStatus is the status with which the API server ends a command.
func exitStatus(code int) []byte {
	status := metav1.Status{Status: metav1.StatusSuccess}
	if code != 0 {
		status = metav1.Status{Status: metav1.StatusFailure, Reason: remotecommand.NonZeroExitCodeReason,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: remotecommand.ExitCodeCauseType,
				Message: string(json.RawMessage(jsonNumber(code)))}}}}
	}
	content, _ := json.Marshal(status)
	return content
}

func jsonNumber(n int) []byte { content, _ := json.Marshal(n); return content }

func serveWebSocket(t *testing.T, w http.ResponseWriter, r *http.Request, status []byte) {
	upgrader := websocket.Upgrader{Subprotocols: []string{remotecommand.StreamProtocolV5Name}}
	connection, err := upgrader.Upgrade(w, r, nil)
	if !assert.NoError(t, err) {
		return
	}
	defer func() { _ = connection.Close() }()
	send := func(channel byte, content []byte) {
		assert.NoError(t, connection.WriteMessage(websocket.BinaryMessage, append([]byte{channel}, content...)))
	}
	if r.URL.Query().Get("stdin") == "true" {
		for {
			_, message, err := connection.ReadMessage()
			if !assert.NoError(t, err) || message[0] == remotecommand.StreamClose {
				break
			}
			if message[0] == remotecommand.StreamStdIn {
				send(remotecommand.StreamStdOut, message[1:])
			}
			if bytes.Contains(message, []byte("exit")) { // a terminal has no end
				break
			}
		}
	}
	if r.URL.Query().Get("stderr") == "true" {
		send(remotecommand.StreamStdErr, []byte("to standard error"))
	}
	send(remotecommand.StreamErr, status)
	_ = connection.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
}

func serveSPDY(t *testing.T, w http.ResponseWriter, r *http.Request, status []byte) {
	_, err := httpstream.Handshake(r, w, []string{remotecommand.StreamProtocolV4Name})
	if !assert.NoError(t, err) {
		return
	}
	streams := make(chan httpstream.Stream, 8)
	connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		streams <- stream
		return nil
	})
	if !assert.NotNil(t, connection) {
		return
	}
	defer func() { _ = connection.Close() }()
	byType := map[string]httpstream.Stream{}
	for _, wanted := range []string{"stdin", "stdout", "stderr"} {
		if r.URL.Query().Get(wanted) == "true" {
			stream := <-streams
			byType[stream.Headers().Get(corev1.StreamType)] = stream
		}
	}
	stream := <-streams
	byType[stream.Headers().Get(corev1.StreamType)] = stream
	if in := byType[corev1.StreamTypeStdin]; in != nil {
		_, err = io.Copy(byType[corev1.StreamTypeStdout], in)
		assert.NoError(t, err)
	}
	_, _ = byType[corev1.StreamTypeStderr].Write([]byte("to standard error"))
	_, _ = byType[corev1.StreamTypeError].Write(status)
	for _, stream := range byType {
		_ = stream.Close()
	}
	time.Sleep(50 * time.Millisecond) // the client reads before the connection ends
}

func TestExecRunsTheInjector(t *testing.T) {
	for _, onlySPDY := range []bool{false, true} {
		s := newAPIServer(t, objectsOf(t, somePods)...)
		asked := s.runs(t, 0, onlySPDY)
		code, _, stderr := run(t, "from here", s.with("exec", "-i", "app")...)
		assert.Equal(t, cli.ExitUsage, code, stderr)

		code, stdout, stderr := run(t, "from here", append(s.with("exec", "-i", "pod/app"), "--", "cat", "-n")...)
		require.Equal(t, cli.ExitOK, code, stderr)
		assert.Equal(t, "from here", stdout)
		assert.Contains(t, stderr, "to standard error")
		assert.Contains(t, stderr, `Using container "app" of the injected ones: app, ended, waits`)
		assert.Equal(t, containerRun{"app", []string{"/azure-keyvault/azure-keyvault-env", "cat", "-n"}, false}, *asked)
	}
}

func TestExecPassesTheExitCodeOn(t *testing.T) {
	for _, onlySPDY := range []bool{false, true} {
		s := newAPIServer(t, objectsOf(t, somePods)...)
		s.runs(t, 66, onlySPDY)
		code, _, stderr := run(t, "", append(s.with("exec", "app", "-c", "app", "-t"), "--", "false")...)
		assert.Equal(t, 66, code)
		assert.NotContains(t, stderr, "error: ")
		assert.Contains(t, stderr, "The command gets no terminal")
	}
}

func TestExecNeedsNoInjectorIfTheKubeletSetsTheValues(t *testing.T) {
	s := newAPIServer(t, objectsOf(t, somePods)...)
	asked := s.runs(t, 0, false)
	code, _, stderr := run(t, "", append(s.with("exec", "envfile"), "--", "printenv")...)
	require.Equal(t, cli.ExitOK, code, stderr)
	assert.Equal(t, containerRun{"app", []string{"printenv"}, false}, *asked)
}

func TestExecSaysWhyItCannotRun(t *testing.T) {
	s := newAPIServer(t, objectsOf(t, somePods)...)
	s.exec = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"pods \"app\" is forbidden","code":403}`))
	}
	for want, args := range map[string][]string{
		`no container of pod "plain" is injected; see why with 'kubectl akv2k8s explain pod/plain -n team'`: {"plain"},
		`container "proxy" of pod "app" is not injected; these are: app, ended, waits; name another`:        {"app", "-c", "proxy"},
		`pod "app" has no container "none"; these are injected: app, ended, waits`:                          {"app", "-c", "none"},
		`container "ended" has ended with exit code 66; see why with 'kubectl -n team describe pod app'`:    {"app", "-c", "ended"},
		`container "waits" does not run: CrashLoopBackOff`:                                                  {"app", "-c", "waits"},
		`container "app" does not run: the pod is Pending`:                                                  {"pending"},
		`there is no pod "none" in namespace "team"`:                                                        {"none"},
		"ask for a Role with the verb create":                                                               {"app", "-c", "app"},
	} {
		code, _, stderr := run(t, "", append(s.with(slices.Concat([]string{"exec"}, args)...), "--", "true")...)
		assert.Equal(t, cli.ExitFailure, code)
		assert.Contains(t, stderr, want)
	}
	code, _, stderr := run(t, "", append(s.with("exec", "svc/x"), "--", "true")...)
	assert.Equal(t, cli.ExitUsage, code)
	assert.Contains(t, stderr, `"svc/x" is not the name of a pod`)
	_, stdout, _ := run(t, "", "__complete", "exec", "--kubeconfig", s.kubeconfig, "app", "-c", "")
	assert.Equal(t, "app\nended\nwaits\n:4\n", stdout)
	_, stdout, _ = run(t, "", "__complete", "exec", "--kubeconfig", s.kubeconfig, "p")
	assert.Equal(t, "pending\nplain\n:4\n", stdout)
}
