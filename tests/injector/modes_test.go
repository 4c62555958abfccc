package injector

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/broker"
	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// way is one of the ways to a value, through the auth service or by the pod itself, and the program that goes it.
type way struct {
	program, files string
	env            []string
}

// result is what a user sees of a start.
type result struct {
	Code     int
	Out, Log string
}

// modes are all ways to one emulator of Azure, as the same application, and to one set of resources.
type modes struct {
	*testing.T
	programs
	azure *azuretest.Azure
	ways  map[string]way
}

// inPod runs a program in a mount namespace of its own, in which the files of a pod lie where the kubelet puts them.
const inPod = `mount -t tmpfs tmpfs /run && mkdir -p ` + wire.MountToken + ` && cp "$1"/* ` + wire.MountToken + ` && program=$2 && shift 2 && ulimit -s 8192 && exec -a ` + wire.InjectorPath + ` "$program" "$@"`

// podToken is what the reviewer of these tests takes for the pod's.
const podToken = "head.of-the-pod.signature"

// newModes can be called once in a process, which remembers the first proxy of its environment.
func newModes(t *testing.T, resources []client.Object) *modes {
	t.Helper()
	m := &modes{T: t, programs: build(t), azure: azuretest.Start(t), ways: map[string]way{}}
	common := []string{"PATH=" + os.Getenv("PATH"), "HTTPS_PROXY=" + m.azure.StartProxy(t), "NO_PROXY=127.0.0.1", wire.EnvRetries + "=0", wire.EnvTimeout + "=0s"}
	m.ways["through the auth service"] = m.throughTheAuthService(common, resources)
	whole := m.throughTheAuthService(common, resources)
	whole.program = m.whole
	m.ways["through the auth service, where another container of the pod reads for itself"] = whole
	m.ways["by itself"] = m.byItself(common, resources)
	return m
}

func (m *modes) file(content map[string]string) string {
	m.Helper()
	folder := m.TempDir()
	for name, text := range content {
		require.NoError(m, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	return folder
}

// throughTheAuthService serves the real one; of the API server, what it asks is answered from the resources.
func (m *modes) throughTheAuthService(env []string, resources []client.Object) way {
	m.Helper()
	scheme := runtime.NewScheme()
	require.NoError(m, errors.Join(clientgoscheme.AddToScheme(scheme), v2beta1.AddToScheme(scheme)))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app", UID: "uid"}, Spec: corev1.PodSpec{ServiceAccountName: "default",
		InitContainers: []corev1.Container{{Name: wire.FilesContainer, Env: []corev1.EnvVar{{Name: wire.EnvFiles, Value: filesRecord}}}},
		Containers:     []corev1.Container{{Name: "app", Env: []corev1.EnvVar{{Name: wire.EnvAllowUnrecorded, Value: "true"}}}}}}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team", Labels: map[string]string{"inject": "yes"}}}
	live := fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(resources, pod, namespace)...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			review := o.(*authenticationv1.TokenReview)
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: review.Spec.Token == podToken, Audiences: []string{wire.TokenAudience}, User: authenticationv1.UserInfo{
				Username: "system:serviceaccount:team:default", Extra: map[string]authenticationv1.ExtraValue{
					"authentication.kubernetes.io/pod-name": {"app"}, "authentication.kubernetes.io/pod-uid": {"uid"}}}}
			return nil
		}}).Build()
	for _, variable := range env {
		if name, value, _ := strings.Cut(variable, "="); strings.HasSuffix(name, "_PROXY") {
			m.Setenv(name, value)
		}
	}
	credentials := m.credentials()
	vault, err := vaultclient.New(vaultclient.Config{AuthType: "environment", ExtraCAs: m.azure.CA, CacheTTL: time.Millisecond,
		LookupEnv: func(name string) (string, bool) { value, ok := credentials[name]; return value, ok }})
	require.NoError(m, err)
	metrics, err := broker.NewMetrics(prometheus.NewRegistry())
	require.NoError(m, err)
	b, err := broker.New(broker.Config{Live: live, Cached: live, Reviewer: live, Vault: vault, NamespaceLabel: "inject", NamespaceLabelValue: "yes", Metrics: metrics})
	require.NoError(m, err)
	server := httptest.NewUnstartedServer(b)
	server.EnableHTTP2, server.TLS = true, &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	m.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	return way{m.thin, m.file(map[string]string{wire.TokenFile: podToken}), append(env, wire.EnvCA+"="+authority(server), wire.EnvBroker+"=example.com:9443", wire.EnvBrokerAddress+"="+address)}
}

// byItself serves the resources as the API server does.
func (m *modes) byItself(env []string, resources []client.Object) way {
	m.Helper()
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, resource := range resources {
			if resource.GetName() == path.Base(r.URL.Path) && strings.Contains(r.URL.Path, "/namespaces/team/") {
				assert.NoError(m, json.NewEncoder(w).Encode(resource))
				return
			}
		}
		http.NotFound(w, r)
	}))
	api.EnableHTTP2, api.TLS = true, &tls.Config{MinVersion: tls.VersionTLS12}
	api.StartTLS()
	m.Cleanup(api.Close)
	address, err := url.Parse(api.URL)
	require.NoError(m, err)
	env = append(env, wire.EnvUseAuthService+"=false", wire.EnvExtraCAs+"="+string(m.azure.CA), "KUBERNETES_SERVICE_HOST="+address.Hostname(), "KUBERNETES_SERVICE_PORT="+address.Port())
	for name, value := range m.credentials() {
		env = append(env, name+"="+value)
	}
	return way{m.whole, m.file(map[string]string{wire.TokenFile: podToken, wire.NamespaceFile: "team", wire.CAFile: authority(api)}), env}
}

func (m *modes) credentials() map[string]string {
	return map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": m.azure.AppSecret}
}

func authority(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// when is the part of a line that differs from run to run.
var when = regexp.MustCompile(`time=\S+ `)

// asWritten is an environment that says of all reserved variables that the webhook wrote them, as it does itself;
// others are not believed.
func asWritten(env []string) []string {
	names := []string{}
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		if name == wire.EnvAddedVariables {
			return env
		}
		if slices.Contains(wire.ReservedVariables(), name) {
			names = append(names, name)
		}
	}
	return append(slices.Clone(env), wire.EnvAddedVariables+"="+strings.Join(append(names, wire.EnvAddedVariables), ","))
}

// start runs the injector with these variables in front of a program.
func (m *modes) start(t *testing.T, by way, variables []string, command ...string) result {
	t.Helper()
	pod := []string{"--mount", "--map-root-user", "--propagation", "private", "bash", "-ec", inPod, "bash", by.files, by.program}
	cmd := exec.CommandContext(t.Context(), "unshare", append(pod, command...)...)
	cmd.Env = asWritten(slices.Concat(by.env, variables))
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), when.ReplaceAllString(log.String(), "")}
}

// resource is one of the namespace.
func resource(name, kind, object string, change func(*v2beta1.AzureKeyVaultSecretSpec)) *v2beta1.AzureKeyVaultSecret {
	r := &v2beta1.AzureKeyVaultSecret{TypeMeta: metav1.TypeMeta{APIVersion: "spv.no/v2beta1", Kind: "AzureKeyVaultSecret"}, ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}}
	r.Spec.Vault.Name, r.Spec.Vault.Object.Name = "kv1", object
	r.Spec.Vault.Object.Type = v2beta1.AzureKeyVaultObjectType(kind)
	if change != nil {
		change(&r.Spec)
	}
	return r
}

// selfMade is a certificate: with its key and alone as PEM, as bytes, and the public key as PEM.
func selfMade(t *testing.T) (text, public string, raw []byte, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"app.test"}}
	raw, err = x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	public = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
	of, err := x509.MarshalPKIXPublicKey(private.Public())
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})) + public, public, raw, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: of}))
}

// keys are public ones as PEM: of an RSA key whose modulus holds no NUL byte, that modulus, and of one whose modulus
// holds one.
func keys(t *testing.T) (plain string, modulus []byte, holed string) {
	t.Helper()
	for plain == "" || holed == "" {
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		der, err := x509.MarshalPKIXPublicKey(private.Public())
		require.NoError(t, err)
		text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		if n := private.N.Bytes(); bytes.IndexByte(n, 0) < 0 {
			plain, modulus = text, n
		} else {
			holed = text
		}
	}
	return plain, modulus, holed
}

// packed is the same certificate as PFX, in base64.
func packed(t *testing.T, text string) string {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(text), []byte(text))
	require.NoError(t, err)
	pfx, err := pkcs12.Modern.Encode(pair.PrivateKey, pair.Leaf, nil, "")
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(pfx)
}

// resourcesOfAllSorts are those of the table.
func resourcesOfAllSorts() []client.Object {
	typed := func(contentType string) func(*v2beta1.AzureKeyVaultSecretSpec) {
		return func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Vault.Object.ContentType = contentType }
	}
	json, yaml := typed("application/x-json"), typed("application/x-yaml")
	// one that throttles is paused for all
	ailing := func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Vault.Name = "kv-" + s.Vault.Object.Name }
	data := func(name, kind, key string, transform ...v2beta1.Transform) v2beta1.AzureKeyVaultData {
		return v2beta1.AzureKeyVaultData{Object: v2beta1.AzureKeyVaultObject{Name: name, Type: v2beta1.AzureKeyVaultObjectType(kind)}, DataKey: key, Transform: transform}
	}
	all := []client.Object{
		resource("plain", "secret", "plain", nil), resource("login", "secret", "login", nil), resource("odd", "secret", "odd", nil), resource("nul", "secret", "nul", nil),
		resource("large", "secret", "large", nil), resource("empty", "secret", "empty", nil), resource("cert", "certificate", "cert", nil), resource("ec", "key", "ec", nil),
		resource("many", "multi-key-value-secret", "many", json), resource("no-json", "multi-key-value-secret", "plain", json),
		resource("no-content-type", "multi-key-value-secret", "many", nil), resource("gone", "secret", "never-there", nil), resource("off", "secret", "off", nil),
		resource("version", "secret", "plain", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Vault.Object.Version = strings.Repeat("0", 32) }),
		resource("nowhere", "secret", "plain", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Vault.Name = "others" }),
		resource("no-cert", "certificate", "plain", nil), resource("no-key", "key", "never-there", nil),
		resource("expired", "secret", "expired", nil), resource("binary", "secret", "binary", nil), resource("pfx", "certificate", "pfx", nil), resource("locked", "certificate", "locked", nil),
		resource("off-cert", "certificate", "off-cert", nil), resource("rsa", "key", "rsa", nil), resource("holed", "key", "holed", nil),
		resource("yaml", "multi-key-value-secret", "yaml", yaml), resource("no-yaml", "multi-key-value-secret", "plain", yaml), resource("none", "multi-key-value-secret", "none", json),
		resource("what", "what", "plain", nil),
		resource("several", "", "", func(s *v2beta1.AzureKeyVaultSecretSpec) {
			s.Data = []v2beta1.AzureKeyVaultData{data("plain", "secret", "one", "base64encode"), data("cert", "certificate", "two"), data("never-there", "secret", "three")}
		}),
		resource("found", "", "", func(s *v2beta1.AzureKeyVaultSecretSpec) {
			s.DataFrom = []v2beta1.AzureKeyVaultDataFrom{{Match: v2beta1.AzureKeyVaultMatch{Prefix: "lo"}, Rewrite: &v2beta1.AzureKeyVaultRewrite{Source: "^lo", Target: "LO."}}}
		}),
		resource("not-found", "", "", func(s *v2beta1.AzureKeyVaultSecretSpec) {
			s.DataFrom = []v2beta1.AzureKeyVaultDataFrom{{Match: v2beta1.AzureKeyVaultMatch{Prefix: "zzz"}}}
		}),
		resource("unsearchable", "", "", func(s *v2beta1.AzureKeyVaultSecretSpec) {
			s.DataFrom = []v2beta1.AzureKeyVaultDataFrom{{Match: v2beta1.AzureKeyVaultMatch{Regexp: "("}}}
		}),
	}
	for name := range faults() {
		all = append(all, resource(name, "secret", name, ailing))
	}
	return all
}

// faults are those of vaults, each by the name of its secret; the vault is kv-NAME.
func faults() map[string]keyvault.Fault {
	return map[string]keyvault.Fault{
		"busy": {Status: 429, Code: "Throttled", RetryAfter: 7}, "broken": {Status: 500, Code: "InternalServerError"}, "nonsense": {Body: "<html>"},
		"refused": {Status: 403, Code: "Forbidden"}, "walled": {Status: 403, Code: "ForbiddenByFirewall"}, "stranger": {RefuseTokens: true}, "dropped": {Drop: true},
		"puzzled": {Status: 400, Code: "BadParameter"}, "other": {Body: `{"value":"x","id":"https://kv-other.vault.azure.net/secrets/another/0123456789abcdef0123456789abcdef"}`},
	}
}

// objectsOfAllSorts puts what the resources name into vaults, and gives what is to be expected of the generated ones.
func (m *modes) objectsOfAllSorts(large string) (public string, raw, modulus []byte) {
	m.Helper()
	made, public, raw, key := selfMade(m.T)
	plain, modulus, holed := keys(m.T)
	seed := emulator.Seed{Vaults: map[string]emulator.VaultSeed{
		"kv1": {Secrets: map[string]keyvault.Secret{"plain": {Value: "value"}, "login": {Value: "me:pass:word"}, "odd": {Value: "two\nlines, $(V) 'q' \"q\" ünïcode "}, "nul": {Value: "a\x00b"},
			"large": {Value: large}, "empty": {Value: ""}, "many": {Value: `{"a":"1","n":1.50,"o":{"x":[1]}}`}, "off": {Value: "x", Disabled: true},
			"expired": {Value: "late", Expires: time.Now().Add(-time.Hour)}, "binary": {Value: "\x01\x1b[31m\u202e"}, "yaml": {Value: "a: 1\nn: 0x1F\no: {x: [1]}\ntext: |\n  two\n  lines\n"}, "none": {Value: "{}"}},
			Certificates: map[string]keyvault.Certificate{"cert": {Value: made}, "pfx": {Value: packed(m.T, made)}, "locked": {Value: made, NotExportable: true}, "off-cert": {Value: made, Disabled: true}},
			Keys:         map[string]keyvault.Key{"ec": {PEM: key}, "rsa": {PEM: plain}, "holed": {PEM: holed}}},
		"others": {Secrets: map[string]keyvault.Secret{"plain": {Value: "x"}}}}}
	for name := range faults() {
		seed.Vaults["kv-"+name] = emulator.VaultSeed{Secrets: map[string]keyvault.Secret{name: {Value: "x"}}}
	}
	require.NoError(m, m.azure.ApplySeed(seed))
	for name, f := range faults() {
		f.Name = name
		m.azure.Vaults.AddFault(f)
	}
	return public, raw, modulus
}

// TestBothWaysGiveTheSame runs one table through the auth service and without it: the same values, the same words, the
// same exit codes.
func TestBothWaysGiveTheSame(t *testing.T) {
	resources := resourcesOfAllSorts()
	m := newModes(t, resources)
	large := strings.Repeat("ü\n", 25_000/3) // the most that a vault holds
	public, raw, modulus := m.objectsOfAllSorts(large)
	var mu sync.Mutex
	said, given := map[string]bool{}, map[v2beta1.AzureKeyVaultObjectType]bool{}
	cases := map[string]result{
		"plain@azurekeyvault": {0, "value", ""}, "plain@azurekeyvault?nonsense": {64, "", "nonsense"}, "login@azurekeyvault?username": {0, "me", ""},
		"login@azurekeyvault?password": {0, "pass:word", ""}, "odd@azurekeyvault": {0, "two\nlines, $(V) 'q' \"q\" ünïcode ", ""}, "large@azurekeyvault": {0, large, ""},
		"empty@azurekeyvault": {0, "", ""}, "plain@azurekeyvault?username": {65, "", ""}, "nul@azurekeyvault": {65, "", "variable V (nul@azurekeyvault): the value holds a NUL byte"},
		"expired@azurekeyvault": {0, "late", ""}, "binary@azurekeyvault": {0, "\x01\x1b[31m\u202e", ""},
		"cert@azurekeyvault": {0, public, ""}, "cert@azurekeyvault?tls.crt": {0, public, ""}, "cert@azurekeyvault?raw": {0, base64.StdEncoding.EncodeToString(raw), ""},
		"cert@azurekeyvault?tls.key": {0, "-----BEGIN EC PRIVATE KEY-----", ""}, "cert@azurekeyvault?other": {64, "", "tls.key"},
		"pfx@azurekeyvault": {0, public, ""}, "pfx@azurekeyvault?tls.crt": {0, public, ""}, "pfx@azurekeyvault?raw": {0, base64.StdEncoding.EncodeToString(raw), ""},
		"pfx@azurekeyvault?tls.key": {0, "-----BEGIN EC PRIVATE KEY-----", ""}, "locked@azurekeyvault": {0, public, ""}, "locked@azurekeyvault?tls.key": {65, "", "export"},
		"off-cert@azurekeyvault?tls.key": {66, "", "disabled"},
		"ec@azurekeyvault?pem":           {0, "-----BEGIN PUBLIC KEY-----", ""}, "ec@azurekeyvault?jwk": {0, `{"kid":"https://kv1.vault.azure.net/keys/ec/`, ""}, "ec@azurekeyvault": {65, "", "NAME@azurekeyvault?pem"},
		"rsa@azurekeyvault": {0, string(modulus), ""}, "rsa@azurekeyvault?pem": {0, "-----BEGIN PUBLIC KEY-----", ""}, "rsa@azurekeyvault?jwk": {0, `{"kid":"https://kv1.vault.azure.net/keys/rsa/`, ""},
		"holed@azurekeyvault": {65, "", "?pem or ?jwk"}, "rsa@azurekeyvault?tls.key": {64, "", "pem, jwk"},
		"many@azurekeyvault?a": {0, "1", ""}, "many@azurekeyvault?n": {0, "1.50", ""}, "many@azurekeyvault?o": {0, `{"x":[1]}`, ""}, "many@azurekeyvault": {64, "", "NAME@azurekeyvault?KEY"},
		"many@azurekeyvault?absent": {66, "", "absent"}, "no-json@azurekeyvault?a": {65, "", ""}, "no-content-type@azurekeyvault?a": {64, "", "contentType"}, "none@azurekeyvault?a": {65, "", "no entries"},
		"yaml@azurekeyvault?a": {0, "1", ""}, "yaml@azurekeyvault?n": {0, "0x1F", ""}, "yaml@azurekeyvault?o": {0, `{"x":[1]}`, ""}, "yaml@azurekeyvault?text": {0, "two\nlines\n", ""}, "no-yaml@azurekeyvault?a": {65, "", "YAML"},
		"several@azurekeyvault?one": {0, "dmFsdWU=", ""}, "several@azurekeyvault?two": {0, public, ""}, "several@azurekeyvault?three": {66, "", "never-there"}, "several@azurekeyvault": {64, "", "of one, two, three"},
		"found@azurekeyvault?LO.gin": {0, "me:pass:word", ""}, "found@azurekeyvault?login": {64, "", "LO.gin"}, "not-found@azurekeyvault?x": {66, "", "matches"}, "unsearchable@azurekeyvault?x": {64, "", "regular expression"},
		"absent@azurekeyvault": {66, "", "there is no AzureKeyVaultSecret"}, "gone@azurekeyvault": {66, "", "never-there"}, "version@azurekeyvault": {66, "", ""}, "what@azurekeyvault": {64, "", "what"},
		"off@azurekeyvault": {66, "", "disabled"}, "nowhere@azurekeyvault": {77, "", "grant the role"}, "refused@azurekeyvault": {77, "", "grant the role"}, "walled@azurekeyvault": {77, "", "firewall"},
		"stranger@azurekeyvault": {77, "", "tenant"}, "busy@azurekeyvault": {75, "", "429"}, "broken@azurekeyvault": {75, "", "500"}, "nonsense@azurekeyvault": {75, "", "proxy"},
		"dropped@azurekeyvault": {75, "", "network policies"}, "puzzled@azurekeyvault": {64, "", "400"}, "other@azurekeyvault": {65, "", "another object"},
		"no-cert@azurekeyvault": {66, "", "the vault has no certificate of this name, but a secret"}, "no-key@azurekeyvault?pem": {66, "", "the vault has no such object"},
		"not a@azurekeyvault": {64, "", "variable V"},
	}
	t.Run("each", func(t *testing.T) {
		for reference, want := range cases {
			t.Run(reference, func(t *testing.T) {
				t.Parallel()
				got := map[string]result{}
				for name, by := range m.ways {
					got[name] = m.start(t, by, []string{"V=" + reference}, "printenv", "V")
				}
				through := got["through the auth service"]
				for name, other := range got {
					assert.Equal(t, through, other, name)
				}
				assert.Equal(t, want.Code, through.Code, through.Log)
				mu.Lock()
				defer mu.Unlock()
				if want.Code == 0 {
					name, _, _ := strings.Cut(reference, "@")
					given[typeOf(resources, name)] = true
					assert.Empty(t, through.Log)
					assert.True(t, strings.HasPrefix(through.Out, want.Out), "%.200s", through.Out)
					return
				}
				said[reason.FindString(through.Log)] = true
				assert.Empty(t, through.Out, "nothing was started")
				assert.Equal(t, 1, strings.Count(through.Log, "\n"), "one line: %s", through.Log)
				assert.Contains(t, through.Log, want.Log)
			})
		}
	})
	t.Run("large environments", func(t *testing.T) { m.large(t, large) })
	t.Run("files", m.filesOfAllSorts)
	for _, kind := range fault.Kinds() {
		if kind != fault.Bug && kind != fault.Conflict { // one can't be brought about, the other is the controller's
			assert.True(t, said["reason="+kind.Reason()], "the table has no case of kind %s", kind)
		}
	}
	for _, kind := range decode.ObjectTypes() {
		assert.True(t, given[v2beta1.AzureKeyVaultObjectType(kind)], "the table has no value of type %s", kind)
	}
}

// reason is what a line says of the kind of an error.
var reason = regexp.MustCompile(`reason=\w+`)

// typeOf is the type of object that a resource of the table brings.
func typeOf(resources []client.Object, name string) v2beta1.AzureKeyVaultObjectType {
	for _, r := range resources {
		if r.GetName() == name {
			return r.(*v2beta1.AzureKeyVaultSecret).Spec.Vault.Object.Type
		}
	}
	return ""
}
