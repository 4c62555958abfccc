//go:build cluster

package authprocesses

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/broker/client"
	"github.com/akv2k8s/akv2k8s/src/wire"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// budget is what a cell may take, process and all.
const budget = 4 * time.Second

// patience is for a machine that does something else as well.
const patience = 30 * time.Second

// namespace makes one with a resource of the vault's object; with an output it becomes Secret db.
func (b *bench) namespace(t *testing.T, name string, output bool) {
	t.Helper()
	require.NoError(t, b.stage.Namespace(t.Context(), name, map[string]string{"azure-key-vault-env-injection": "enabled"}))
	r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "db"}}
	r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = vault, "db", "secret"
	if output {
		r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: "db", DataKey: "v"}}
	}
	require.NoError(t, b.stage.Client.Create(t.Context(), r))
}

// within says how long it took since then, and fails if that is three times the budget: the machine is noisy.
func within(t *testing.T, started time.Time) {
	t.Helper()
	took := time.Since(started)
	t.Logf("took %.1fs of %s", took.Seconds(), budget)
	assert.Less(t, took, 3*budget)
}

// log is what a process prints, for a test that looks while it runs.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// component starts the controller or the env-injector as it is installed, but on this machine. It is told to end when
// the test does, and its log must hold nothing secret.
func (b *bench) component(t *testing.T, program, namespace string, env map[string]string, args ...string) {
	t.Helper()
	out := &log{}
	cmd := exec.Command(filepath.Join(b.programs, program), append([]string{"--kubeconfig=" + b.stage.Cluster.Kubeconfig(), "--watch-all-namespaces=false",
		"--log-level=trace", "--extra-ca-file=" + b.path("ca.crt")}, args...)...)
	variables := map[string]string{"RUNTIME_NAMESPACE": namespace}
	maps.Copy(variables, env)
	cmd.Env, cmd.Stdout, cmd.Stderr = b.environment(variables), out, out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		b.quiet(t, out.String())
		if t.Failed() {
			t.Logf("%s said:\n%s", program, out.String())
		}
	})
}

// quiet looks for everything secret that a process was given.
func (b *bench) quiet(t *testing.T, text string) {
	t.Helper()
	token, err := os.ReadFile(b.path("token"))
	require.NoError(t, err)
	for _, secret := range []string{value, b.azure.AppSecret, password, userPassword, string(token), "eyJ"} {
		assert.NotContains(t, text, secret, "at any verbosity")
	}
}

// auth is what the method and the cloud come to as variables and flags of a component.
func (b *bench) auth(t *testing.T, namespace string, m method, c place) (env map[string]string, flags []string) {
	t.Helper()
	env = map[string]string{"AUTH_TYPE": m.mode}
	maps.Copy(env, m.env)
	if m.file == "" {
		maps.Copy(env, c.env)
		return env, nil
	}
	// The file names the cloud; what the cloud is made of is told by a variable.
	env["AZURE_ENVIRONMENT_FILEPATH"] = c.env["AZURE_ENVIRONMENT_FILEPATH"]
	return env, []string{"--cloud-config=" + b.azureJSON(t, namespace, m, c)}
}

func (b *bench) azureJSON(t *testing.T, namespace string, m method, c place) string {
	t.Helper()
	fields := map[string]any{}
	require.NoError(t, json.Unmarshal([]byte(m.file), &fields))
	fields["cloud"] = c.inAzureJSON
	content, err := json.Marshal(fields)
	require.NoError(t, err)
	return b.write(t, namespace+".json", string(content))
}

func (b *bench) controller(t *testing.T, namespace string, m method, c place) {
	b.namespace(t, namespace, true)
	require.NoError(t, b.stage.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: namespace + "-status-key"}}))
	started := time.Now()
	env, flags := b.auth(t, namespace, m, c)
	env["HTTP_PORT"] = freePort(t)
	b.component(t, "controller", namespace, env, append(flags, "--fullname="+namespace)...)
	require.NoError(t, stage.Await(t.Context(), patience, "the Secret", func(ctx context.Context) error {
		var secret corev1.Secret
		if err := b.stage.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "db"}, &secret); err != nil {
			return fmt.Errorf("%w; %s", err, b.condition(ctx, namespace))
		}
		assert.Equal(t, value, string(secret.Data["v"]))
		return nil
	}))
	within(t, started)
}

func (b *bench) condition(ctx context.Context, namespace string) string {
	var r v2beta1.AzureKeyVaultSecret
	if err := b.stage.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "db"}, &r); err != nil {
		return err.Error()
	}
	if c := meta.FindStatusCondition(r.Status.Conditions, "Ready"); c != nil {
		return c.Reason + ": " + c.Message
	}
	return "no condition"
}

// lastPort is the last one that was given away. The system takes the ports of outgoing connections from 32768 on; one
// of these could be taken between the look and the program's start.
var lastPort atomic.Int32

func freePort(t *testing.T) string {
	t.Helper()
	for range 10_000 {
		port := strconv.Itoa(20_000 + int(lastPort.Add(1)))
		if listener, err := net.Listen("tcp", ":"+port); err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("no port from 20,000 to 30,000 is free")
	return ""
}

// envInjector asks the auth service as a pod would, with the pod's token.
func (b *bench) envInjector(t *testing.T, namespace string, m method, c place) {
	b.namespace(t, namespace, false)
	require.NoError(t, b.stage.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: namespace + "-serving"}}))
	sideEffects, url := admissionv1.SideEffectClassNone, "https://127.0.0.1:1/pods"
	require.NoError(t, b.stage.Client.Create(t.Context(), &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Webhooks: []admissionv1.MutatingWebhook{{Name: "pods.env-injector.admission.spv.no", AdmissionReviewVersions: []string{"v1"}, SideEffects: &sideEffects,
			ClientConfig:      admissionv1.WebhookClientConfig{URL: &url},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"no": "namespace"}}}}}))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app"}, Spec: corev1.PodSpec{SchedulerName: "nobody",
		Containers: []corev1.Container{{Name: "app", Image: "app", Env: []corev1.EnvVar{{Name: "DB", Value: "db@azurekeyvault"}}}}}}
	require.NoError(t, stage.Await(t.Context(), patience, "the namespace's ServiceAccount", func(ctx context.Context) error { return b.stage.Client.Create(ctx, pod) }))
	started := time.Now()
	env, flags := b.auth(t, namespace, m, c)
	port, health := freePort(t), freePort(t)
	b.component(t, "envinjector", namespace, env, append(flags, "--service="+namespace, "--auth-port="+port, "--http-port="+health, "--tls-port="+freePort(t), "--env-image=env:1")...)
	var ca []byte
	require.NoError(t, stage.Await(t.Context(), patience, "the env-injector", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+health+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %d", response.StatusCode)
		}
		var secret corev1.Secret
		err = b.stage.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: namespace + "-serving"}, &secret)
		ca = secret.Data["ca.crt"]
		return err
	}))
	seconds := int64(600)
	response, err := b.stage.Kube.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{wire.TokenAudience}, ExpirationSeconds: &seconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	asker, err := client.New(client.Config{CA: string(ca), Broker: namespace + "." + namespace + ".svc:" + port, ServiceAddress: "127.0.0.1:" + port,
		ReadToken: func() (string, error) { return response.Status.Token, nil }})
	require.NoError(t, err)
	values, err := asker.Resolve(t.Context(), map[string]string{"DB": "db@azurekeyvault"})
	require.NoError(t, err)
	assert.Equal(t, value, string(values["DB"]))
	within(t, started)
}

// pod runs the injector as the webhook makes a pod that reads for itself run it.
func (b *bench) pod(t *testing.T, namespace string, m method, c place) {
	b.namespace(t, namespace, false)
	started := time.Now()
	env := map[string]string{wire.EnvCloud: c.setting}
	maps.Copy(env, m.env)
	if m.mode != "environment" {
		env[wire.EnvAuthType] = m.mode
	}
	file := ""
	if m.file != "" {
		file = b.azureJSON(t, namespace, m, c)
	}
	code, out := b.inject(t, namespace, env, file)
	assert.Zero(t, code, out)
	assert.True(t, strings.HasPrefix(out, value+"\n"), out)
	within(t, started)
}

// inject runs the program as in a pod of the namespace, whose own command prints the value; out is what it printed, and
// then its log. The files that the kubelet would mount lie in a mount namespace of the process's own; file becomes
// azure.json there.
func (b *bench) inject(t *testing.T, namespace string, env map[string]string, file string) (code int, out string) {
	t.Helper()
	seconds := int64(600)
	var token *authenticationv1.TokenRequest
	require.NoError(t, stage.Await(t.Context(), patience, "the namespace's ServiceAccount", func(ctx context.Context) (err error) {
		token, err = b.stage.Kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "default",
			&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
		return err
	}))
	mounts := t.TempDir()
	for name, content := range map[string]string{"token": token.Status.Token, "namespace": namespace, "ca.crt": string(b.stage.REST.CAData)} {
		require.NoError(t, os.WriteFile(filepath.Join(mounts, name), []byte(content), 0o600))
	}
	script := `mount -t tmpfs tmpfs /run && mkdir -p ` + wire.MountToken + ` && cp "$1"/* ` + wire.MountToken
	if file != "" {
		script += ` && mount -t tmpfs tmpfs /etc/kubernetes && cp "$2" /etc/kubernetes/azure.json`
	}
	script += ` && exec -a ` + wire.InjectorPath + ` "$3" sh -c 'echo "$DB"'`
	server, err := url.Parse(b.stage.REST.Host)
	require.NoError(t, err)
	variables := map[string]string{"DB": "db@azurekeyvault", wire.EnvUseAuthService: "false", wire.EnvExtraCAs: string(b.azure.CA), wire.EnvLogLevel: "trace",
		wire.EnvRetries: "0", wire.EnvTimeout: "0s", "KUBERNETES_SERVICE_HOST": server.Hostname(), "KUBERNETES_SERVICE_PORT": server.Port()}
	maps.Copy(variables, env)
	variables[wire.EnvAddedVariables] = addedBy(variables)
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "bash", "-ec", script, "bash", mounts, file, filepath.Join(b.programs, "azure-keyvault-env"))
	cmd.Env = b.environment(variables)
	var printed, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &said
	err = cmd.Run()
	b.quiet(t, said.String())
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), printed.String() + said.String()
}

// addedBy is the list that the webhook writes of the reserved variables that it sets.
func addedBy(variables map[string]string) string {
	added := []string{wire.EnvAddedVariables}
	for _, name := range wire.ReservedVariables() {
		if _, ok := variables[name]; ok && name != wire.EnvAddedVariables {
			added = append(added, name)
		}
	}
	return strings.Join(added, ",")
}
