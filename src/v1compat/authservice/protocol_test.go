package authservice_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/servingcert"
	"github.com/akv2k8s/akv2k8s/src/v1compat/authservice"
	"github.com/akv2k8s/akv2k8s/src/v1compat/v1test"
)

const (
	host   = "akv2k8s-envinjector.akv2k8s.svc"
	canary = "canary-token-93"
)

// authority is made once, which takes a while.
var authority = sync.OnceValues(func() (v1test.Authority, error) { return v1test.NewAuthority(time.Now()) })

// protocolTest is an installation that serves the protocol of 1.8, with one pod that 1.8 injected.
type protocolTest struct {
	*testing.T
	mu        sync.Mutex
	now       time.Time
	authority v1test.Authority
	client    client.Client
	refuse    map[string]error
	read      []string
	patches   []string
	rotator   *servingcert.Rotator
	events    eventRecorder
	registry  *prometheus.Registry
	log       bytes.Buffer
	tokenErr  error
	reserved  string
	// alter changes the configuration. It can be nil.
	alter   func(*authservice.ProtocolConfig)
	handler *authservice.Handler
	wrapper v1test.Wrapper
	// plain and secure are where the two steps are served.
	plain, secure string
}

func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		require.NoError(t, err)
		return value
	}
}

// newProtocolTest creates a stage. change can change its objects before the handler reads them.
func newProtocolTest(t *testing.T, change func(*protocolTest)) *protocolTest {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	s := &protocolTest{T: t, now: now, refuse: map[string]error{}, registry: prometheus.NewRegistry(), authority: must[v1test.Authority](t)(authority())}
	upgrade, older := metav1.NewTime(now), metav1.NewTime(now.Add(-time.Hour))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app-1", UID: "uid-1", CreationTimestamp: older}, Spec: corev1.PodSpec{
		Volumes:        []corev1.Volume{{Name: "akv2k8s-client-cert", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "akv2k8s-app"}}}},
		InitContainers: []corev1.Container{{Name: "copy-azurekeyvault-env"}},
		Containers:     []corev1.Container{{Name: "app", Command: []string{"/azure-keyvault/azure-keyvault-env"}}}}}
	data := must[map[string][]byte](t)(s.authority.ClientSecretData(now))
	tlsSecret := func(namespace, name string, data map[string][]byte) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: older}, Type: corev1.SecretTypeTLS, Data: data}
	}
	s.client = fake.NewClientBuilder().WithObjects(pod, tlsSecret("team", "akv2k8s-app", data), tlsSecret("akv2k8s", "ca", s.authority.CASecretData()),
		tlsSecret("team", "akv2k8s-other", must[map[string][]byte](t)(s.authority.ClientSecretData(now))),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "serving", CreationTimestamp: upgrade}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team", Labels: map[string]string{"inject": "yes"}}},
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "hook"}},
	).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			s.mu.Lock()
			s.read = append(s.read, key.String())
			err := s.refuse[key.Name]
			s.mu.Unlock()
			if err != nil {
				return err
			}
			return c.Get(ctx, key, obj, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			content, err := patch.Data(obj)
			s.mu.Lock()
			s.patches = append(s.patches, string(content))
			err = errors.Join(err, s.refuse["patch"])
			delete(s.refuse, "patch")
			s.mu.Unlock()
			if err != nil {
				return err
			}
			return c.Patch(ctx, obj, patch, opts...)
		},
	}).Build()
	s.writeMountedSecret(data)
	s.rotator = must[*servingcert.Rotator](t)(servingcert.New(servingcert.Config{Live: s.client, Writer: s.client, Secret: types.NamespacedName{Namespace: "akv2k8s", Name: "serving"},
		WebhookConfigName: "hook", DNSNames: []string{host}, Clock: func() time.Time { return s.now }, Random: rand.Reader}))
	s.reconcileCA()
	if change != nil {
		change(s)
	}
	s.handler = must[*authservice.Handler](t)(authservice.New(authservice.Config{Live: s.client, Events: &s.events, Registry: s.registry, Log: s.newLogger(), Protocol: s.protocolConfig()}))
	s.startServers()
	return s
}

func (s *protocolTest) protocolConfig() *authservice.ProtocolConfig {
	whole := &authservice.ProtocolConfig{Writer: s.client, ServingSecret: types.NamespacedName{Namespace: "akv2k8s", Name: "serving"}, CASecret: types.NamespacedName{Namespace: "akv2k8s", Name: "ca"},
		UpgradeAllowance: 10 * time.Minute, NamespaceLabel: "inject", NamespaceLabelValue: "yes", HasOwnIdentity: func(namespace string) bool { return namespace == s.reserved },
		RootCAs: s.rotator.RootCAs, ServingCertificate: s.rotator.GetCertificate, Clock: func() time.Time { return s.now }, Random: rand.Reader,
		VaultToken: func(context.Context) (string, error) { return canary, s.tokenErr }}
	if s.alter != nil {
		s.alter(whole)
	}
	return whole
}

func (s *protocolTest) newLogger() logr.Logger {
	return funcr.New(func(_, args string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.log.WriteString(args + "\n")
	}, funcr.Options{Verbosity: 9})
}

// reconcileCA lets the rotator create the certificates.
func (s *protocolTest) reconcileCA() {
	s.Helper()
	for range 3 {
		_, err := s.rotator.Reconcile(s.Context(), ctrl.Request{})
		require.NoError(s, err)
	}
	require.NoError(s, s.rotator.CheckReady())
}

// writeMountedSecret writes the data of a Secret to the path where the kubelet would.
func (s *protocolTest) writeMountedSecret(data map[string][]byte) {
	s.Helper()
	if s.wrapper.Folder == "" {
		s.wrapper = v1test.Wrapper{Folder: s.TempDir(), ServiceURL: "https://" + host + ":9443", ValidationURL: "http://" + host + ":80", Namespace: "team", Pod: "app-1",
			Secret: "akv2k8s-app", InitialWait: 20 * time.Millisecond}
	}
	for name, content := range data {
		require.NoError(s, os.WriteFile(filepath.Join(s.wrapper.Folder, name), content, 0o600))
	}
}

// startServers starts both steps, as the program does, and waits until the state of 1.8 was read.
func (s *protocolTest) startServers() {
	s.Helper()
	first, second := http.NewServeMux(), http.NewServeMux()
	first.Handle(authservice.RoutePattern, s.handler)
	second.Handle(authservice.RoutePattern, s.handler.TokenHandler())
	second.HandleFunc("/", func(http.ResponseWriter, *http.Request) {}) // our own protocol
	plain, secure := httptest.NewServer(first), httptest.NewUnstartedServer(second)
	secure.TLS = &tls.Config{GetCertificate: s.handler.GetCertificate, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	s.plain, s.secure = plain.Listener.Addr().String(), secure.Listener.Addr().String()
	s.wrapper.Transport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		to := s.plain
		if strings.HasSuffix(address, ":9443") {
			to = s.secure
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}}
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- s.handler.Start(ctx) }()
	s.Cleanup(func() {
		cancel()
		assert.NoError(s, <-done)
		plain.Close()
		secure.Close()
	})
	require.Eventually(s, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.Contains(s.log.String(), "serving pods of akv2k8s 1.8") || strings.Contains(s.log.String(), "reading the CA of")
	}, 5*time.Second, 5*time.Millisecond)
}

// updateObject changes an object.
func updateObject[T client.Object](s *protocolTest, object T, namespace, name string, change func(T)) {
	s.Helper()
	require.NoError(s, s.client.Get(s.Context(), types.NamespacedName{Namespace: namespace, Name: name}, object))
	change(object)
	require.NoError(s, s.client.Update(s.Context(), object))
}

func (s *protocolTest) readSecret(name string) *corev1.Secret {
	s.Helper()
	var secret corev1.Secret
	require.NoError(s, s.client.Get(s.Context(), types.NamespacedName{Namespace: "team", Name: name}, &secret))
	return &secret
}

// assertRejected asserts that both steps are rejected and that nothing is written.
func (s *protocolTest) assertRejected(says string) {
	s.Helper()
	status, err := s.wrapper.Validate(s.Context())
	require.NoError(s, err)
	assert.Equal(s, http.StatusForbidden, status)
	token, err := s.wrapper.RequestToken(s.Context())
	assert.EqualError(s, err, "token: 403")
	assert.Empty(s, token)
	assert.Empty(s, s.patches)
	s.assertLogged(says)
}

func (s *protocolTest) assertLogged(says string) {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.Contains(s, s.log.String(), says)
	assert.NotContains(s, s.log.String(), "canary")
}

// assertAnswers asserts the count of each response.
func (s *protocolTest) assertAnswers(want map[string]float64) {
	s.Helper()
	families, err := s.registry.Gather()
	require.NoError(s, err)
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.Metric {
			if family.GetName() == "akv2k8s_legacy_answers_total" {
				got[metric.Label[0].GetValue()] = metric.Counter.GetValue()
			}
		}
	}
	assert.Equal(s, want, got)
}

func TestAPodOfV1GetsTheTokenAsItDid(t *testing.T) {
	s := newProtocolTest(t, nil)
	before := s.readSecret("akv2k8s-app")
	token, err := s.wrapper.FetchToken(t.Context())
	require.NoError(t, err)
	assert.Equal(t, canary, token)
	assert.Equal(t, before, s.readSecret("akv2k8s-app"), "nothing has to be written")
	require.Len(t, s.events.events, 1)
	assert.Contains(t, s.events.events[0], "app-1 Warning RecreatePod")
	assert.Contains(t, s.events.events[0], "until it is recreated")
	assert.NoError(t, testutil.GatherAndCompare(s.registry, strings.NewReader("# HELP akv2k8s_legacy_pods Pods of akv2k8s 1.8 that called the auth service since this replica started. "+
		"Recreate them.\n# TYPE akv2k8s_legacy_pods gauge\nakv2k8s_legacy_pods 1\n"), "akv2k8s_legacy_pods"))
	s.assertAnswers(map[string]float64{"known": 1, "token": 1})
	s.assertLogged("gave the installation's token")
}

func TestOurOwnPodsAreServedAsEver(t *testing.T) {
	s := newProtocolTest(t, nil)
	ask := func(roots string) error {
		pool := x509.NewCertPool()
		require.True(t, pool.AppendCertsFromPEM([]byte(roots)))
		conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS13}}).DialContext(t.Context(), "tcp", s.secure)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_, err = io.WriteString(conn, "GET /other HTTP/1.0\r\n\r\n")
		require.NoError(t, err)
		_, err = conn.Read(make([]byte, 1)) // a client certificate that is required would fail here
		return err
	}
	mine := s.rotator.RootCAs()
	assert.NoError(t, ask(mine), "without any client certificate")
	require.NoError(t, s.rotator.RotateCA(t.Context()))
	s.reconcileCA()
	assert.NoError(t, ask(mine), "who believes the CA before")
	assert.NoError(t, ask(string(s.authority.Cert)), "who trusts the CA of akv2k8s 1.8")
	token, err := s.wrapper.FetchToken(t.Context())
	require.NoError(t, err)
	assert.Equal(t, canary, token)
	assert.Error(t, ask(string(must[v1test.Authority](t)(v1test.NewAuthority(s.now)).Cert)), "who believes another one")
}

func TestWhoIsNotServed(t *testing.T) {
	pod := func(change func(*corev1.Pod)) func(*protocolTest) {
		return func(s *protocolTest) { updateObject(s, &corev1.Pod{}, "team", "app-1", change) }
	}
	secret := func(change func(*corev1.Secret)) func(*protocolTest) {
		return func(s *protocolTest) { updateObject(s, &corev1.Secret{}, "team", "akv2k8s-app", change) }
	}
	phase := func(is corev1.PodPhase) func(*protocolTest) {
		return func(s *protocolTest) {
			var p corev1.Pod
			require.NoError(s, s.client.Get(s.Context(), types.NamespacedName{Namespace: "team", Name: "app-1"}, &p))
			p.Status.Phase = is
			require.NoError(s, s.client.Status().Update(s.Context(), &p))
		}
	}
	certificate := func(issue func(*protocolTest) (map[string][]byte, error)) func(*protocolTest) {
		return func(s *protocolTest) {
			data, err := issue(s)
			require.NoError(s, err)
			s.writeMountedSecret(data)
			updateObject(s, &corev1.Secret{}, "team", "akv2k8s-app", func(own *corev1.Secret) { own.Data = maps.Clone(data); own.Data["ca.crt"] = s.authority.Cert })
			s.writeMountedSecret(map[string][]byte{"ca.crt": s.authority.Cert})
		}
	}
	for name, c := range map[string]struct {
		change func(*protocolTest)
		says   string
	}{
		"a pod without the volume": {pod(func(p *corev1.Pod) { p.Spec.Volumes = nil }), "has no volume"},
		"a volume that is no Secret": {pod(func(p *corev1.Pod) {
			p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
		}), "has no volume"},
		"a volume of another Secret":       {pod(func(p *corev1.Pod) { p.Spec.Volumes[0].Secret.SecretName = "database" }), "not one that akv2k8s 1.8 created"},
		"a pod without the init container": {pod(func(p *corev1.Pod) { p.Spec.InitContainers = nil }), "no container that akv2k8s 1.8 wrapped"},
		"a pod without the wrapper":        {pod(func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"/app"} }), "no container that akv2k8s 1.8 wrapped"},
		"a younger pod": {pod(func(p *corev1.Pod) {
			p.CreationTimestamp = metav1.NewTime(p.CreationTimestamp.Add(time.Hour + 10*time.Minute))
		}), "younger than the upgrade"},
		"a pod that has ended":  {phase(corev1.PodSucceeded), "has ended"},
		"a pod that has failed": {phase(corev1.PodFailed), "has ended"},
		"a pod that is being deleted": {func(s *protocolTest) {
			updateObject(s, &corev1.Pod{}, "team", "app-1", func(p *corev1.Pod) { p.Finalizers = []string{"example.com/stays"} })
			require.NoError(s, s.client.Delete(s.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app-1"}}))
		}, "has ended"},
		"a pod with another init container": {pod(func(p *corev1.Pod) { p.Spec.InitContainers[0].Name = "migrate" }), "no container that akv2k8s 1.8 wrapped"},
		"a pod that is not there": {func(s *protocolTest) {
			require.NoError(s, s.client.Delete(s.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app-1"}}))
		}, "reading the pod"},
		"a name that is none": {func(s *protocolTest) { s.wrapper.Pod = "app-1%2Flog" }, "no valid namespace and pod name"},
		"a namespace without the label": {func(s *protocolTest) {
			updateObject(s, &corev1.Namespace{}, "", "team", func(n *corev1.Namespace) { n.Labels = nil })
		}, "injection is not enabled"},
		"a namespace with an identity of its own": {func(s *protocolTest) { s.reserved = "team" }, "its own identity"},
		"a namespace that may not be read": {func(s *protocolTest) {
			s.refuse["team"] = apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "team", nil)
		}, "reading the namespace"},
		"a Secret that may not be read": {func(s *protocolTest) {
			s.refuse["akv2k8s-app"] = apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "akv2k8s-app", nil)
		}, "reading the pod's Secret"},
		"a younger Secret": {secret(func(s *corev1.Secret) {
			s.CreationTimestamp = metav1.NewTime(s.CreationTimestamp.Add(2 * time.Hour))
		}), "Secret is younger"},
		"a Secret of another type": {secret(func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }), "does not look like"},
		"a Secret with more in it": {secret(func(s *corev1.Secret) { s.Data["password"] = []byte("x") }), "does not look like"},
		"a Secret without a CA":    {secret(func(s *corev1.Secret) { delete(s.Data, "ca.crt") }), "does not look like"},
		"a Secret with something else in place of the CA": {secret(func(s *corev1.Secret) {
			s.Data["other"] = s.Data["ca.crt"]
			delete(s.Data, "ca.crt")
		}), "does not look like"},
		"a certificate that is a CA":  {certificate(func(s *protocolTest) (map[string][]byte, error) { return issueCA(s.authority, s.now) }), "not one that akv2k8s 1.8 issued"},
		"a Secret with a whole chain": {secret(func(s *corev1.Secret) { s.Data["tls.crt"] = append(s.Data["tls.crt"], s.Data["ca.crt"]...) }), "does not look like"},
		"a certificate of another CA": {certificate(func(s *protocolTest) (map[string][]byte, error) {
			other, err := v1test.NewAuthority(s.now)
			require.NoError(s, err)
			return other.ClientSecretData(s.now)
		}), "not signed by the last CA of akv2k8s 1.8"},
		"a certificate of a server": {certificate(func(s *protocolTest) (map[string][]byte, error) {
			return s.authority.IssueSecretData(s.now, x509.ExtKeyUsageServerAuth)
		}), "not one that akv2k8s 1.8 issued"},
		"a certificate that has expired": {certificate(func(s *protocolTest) (map[string][]byte, error) {
			return s.authority.ClientSecretData(s.now.AddDate(-3, 0, 0))
		}), "has expired"},
		"a certificate that is not yet one": {certificate(func(s *protocolTest) (map[string][]byte, error) {
			return s.authority.ClientSecretData(s.now.Add(time.Hour))
		}), "has expired"},
	} {
		t.Run(name, func(t *testing.T) { newProtocolTest(t, c.change).assertRejected(c.says) })
	}
}

// issueCA is a client certificate that may sign others.
func issueCA(by v1test.Authority, now time.Time) (map[string][]byte, error) {
	pair, err := tls.X509KeyPair(by.Cert, by.Key)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: now.Add(-time.Minute), NotAfter: now.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, pair.Leaf, key.Public(), pair.PrivateKey)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	return map[string][]byte{"ca.crt": by.Cert, "tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE " + "KEY", Bytes: keyDER})}, err
}

func TestTheOwnerOfAPodIsToldOnceAtEitherStepAlsoIfItIsRefused(t *testing.T) {
	s := newProtocolTest(t, nil)
	status, err := s.wrapper.Validate(t.Context())
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	require.Len(t, s.events.events, 1)
	assert.Contains(t, s.events.events[0], "until it is recreated")

	s = newProtocolTest(t, func(s *protocolTest) {
		updateObject(s, &corev1.Pod{}, "team", "app-1", func(p *corev1.Pod) { p.Spec.InitContainers = nil })
	})
	s.assertRejected("no container that akv2k8s 1.8 wrapped")
	require.Len(t, s.events.events, 1)
	assert.Contains(t, s.events.events[0], "whose auth protocol is no longer served")
}

func TestTheSecretIsThatOfTheV1VolumeWhateverElseIsMounted(t *testing.T) {
	s := newProtocolTest(t, func(s *protocolTest) {
		updateObject(s, &corev1.Pod{}, "team", "app-1", func(p *corev1.Pod) {
			other := corev1.Volume{Name: "database", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "akv2k8s-other"}}}
			p.Spec.Volumes = append([]corev1.Volume{other}, p.Spec.Volumes...)
		})
		s.alter = func(tr *authservice.ProtocolConfig) { tr.HasOwnIdentity = nil } // an installation without identities of namespaces
	})
	token, err := s.wrapper.FetchToken(t.Context())
	require.NoError(t, err)
	assert.Equal(t, canary, token)
}

func TestANewCAOfOursIsVouchedForAsTheOneBeforeWas(t *testing.T) {
	s := newProtocolTest(t, nil)
	for range 2 {
		token, err := s.wrapper.RequestToken(t.Context())
		require.NoError(t, err, "who believes the CA of akv2k8s 1.8 believes each of ours")
		assert.Equal(t, canary, token)
		require.NoError(t, s.rotator.ReplaceCA(t.Context()))
		s.reconcileCA()
		s.wrapper.Transport.CloseIdleConnections()
	}
}

func TestWithoutACertificateOrStateOfV1TheServerAnswersAsEver(t *testing.T) {
	s := newProtocolTest(t, nil)
	fresh := must[*authservice.Handler](t)(authservice.New(authservice.Config{Live: s.client, Events: &s.events, Registry: prometheus.NewRegistry(), Protocol: s.protocolConfig()}))
	leaf, err := fresh.GetCertificate(&tls.ClientHelloInfo{}) // the state of 1.8 has not been read yet
	require.NoError(t, err)
	assert.Len(t, leaf.Certificate, 1)
	s.alter = func(tr *authservice.ProtocolConfig) {
		tr.ServingCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no certificate yet") }
	}
	fresh = must[*authservice.Handler](t)(authservice.New(authservice.Config{Live: s.client, Events: &s.events, Registry: prometheus.NewRegistry(), Protocol: s.protocolConfig(), Log: s.newLogger()}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = fresh.Start(ctx) }()
	require.Eventually(t, func() bool {
		_, err := fresh.GetCertificate(&tls.ClientHelloInfo{})
		return err != nil && err.Error() == "no certificate yet"
	}, 5*time.Second, 5*time.Millisecond)
	// The handler reads the CA of 1.8 in the background. A wrong certificate can appear after that, and
	// nothing announces it.
	time.Sleep(50 * time.Millisecond)
	_, err = fresh.GetCertificate(&tls.ClientHelloInfo{})
	assert.EqualError(t, err, "no certificate yet")
}

func TestNoCAIsWrittenWhileThereIsNone(t *testing.T) {
	s := newProtocolTest(t, func(s *protocolTest) {
		require.NoError(s, s.client.Delete(s.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "ca"}}))
		s.alter = func(tr *authservice.ProtocolConfig) { tr.RootCAs = func() string { return "" } }
	})
	status, err := s.wrapper.Validate(t.Context())
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Empty(t, s.patches)
}

func TestPodsThatWereMadeWhileTheUpgradeWentOnAreServedToo(t *testing.T) {
	s := newProtocolTest(t, func(s *protocolTest) {
		updateObject(s, &corev1.Pod{}, "team", "app-1", func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(s.now.Add(10*time.Minute - time.Second)) })
	})
	token, err := s.wrapper.FetchToken(t.Context())
	require.NoError(t, err)
	assert.Equal(t, canary, token)
}

func TestAnotherPodsCertificateIsNotThisOnes(t *testing.T) {
	s := newProtocolTest(t, nil)
	s.writeMountedSecret(s.readSecret("akv2k8s-other").Data)
	_, err := s.wrapper.RequestToken(t.Context())
	assert.EqualError(t, err, "token: 403")
	s.assertLogged("not the one in Secret")
	s.wrapper.Secret = "akv2k8s-other"
	status, err := s.wrapper.Validate(t.Context())
	require.NoError(t, err)
	assert.Equal(t, http.StatusForbidden, status, "and its Secret is not touched")
	s.wrapper.Secret = ""
	status, err = s.wrapper.Validate(t.Context())
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadRequest, status)
	s.assertAnswers(map[string]float64{"refused": 3})
}

func TestAStrangerWithoutACertificateCostsNothing(t *testing.T) {
	s := newProtocolTest(t, nil)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.authority.Cert)
	for name, certificates := range map[string][]tls.Certificate{"none": nil, "one of another CA": {must[tls.Certificate](t)(newSelfSignedCert(s.now))}} {
		transport := s.wrapper.Transport.Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, Certificates: certificates}
		before := len(s.read)
		response, err := (&http.Client{Transport: transport}).Get("https://" + host + ":9443/auth/team/app-1")
		require.NoError(t, err, name)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, http.StatusForbidden, response.StatusCode, name)
		assert.Len(t, s.read, before, "the API server is not asked")
		transport.CloseIdleConnections()
	}
}

func newSelfSignedCert(now time.Time) (tls.Certificate, error) {
	other, err := v1test.NewAuthority(now)
	if err != nil {
		return tls.Certificate{}, err
	}
	data, err := other.ClientSecretData(now)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(data["tls.crt"], data["tls.key"])
}

func TestOnlyTheCAOfTheSecretIsWritten(t *testing.T) {
	s := newProtocolTest(t, func(s *protocolTest) {
		updateObject(s, &corev1.Secret{}, "team", "akv2k8s-app", func(own *corev1.Secret) { own.Data["ca.crt"] = []byte("somebody wrote this") })
	})
	before := s.readSecret("akv2k8s-app")
	status, err := s.wrapper.Validate(t.Context())
	require.NoError(t, err)
	assert.Equal(t, http.StatusCreated, status)
	after := s.readSecret("akv2k8s-app")
	assert.Equal(t, string(s.authority.Cert), string(after.Data["ca.crt"]))
	after.Data["ca.crt"], after.ResourceVersion = before.Data["ca.crt"], before.ResourceVersion
	assert.Equal(t, before, after)
	require.Len(t, s.patches, 1)
	assert.Contains(t, s.patches[0], `"resourceVersion":"`+before.ResourceVersion+`"`, "what changed meanwhile is not overwritten")
	status, err = s.wrapper.Validate(t.Context())
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, status)
	s.assertAnswers(map[string]float64{"written": 1, "known": 1})
}

func TestOfTwoWhoWriteOneIsEnough(t *testing.T) {
	s := newProtocolTest(t, func(s *protocolTest) {
		updateObject(s, &corev1.Secret{}, "team", "akv2k8s-app", func(own *corev1.Secret) { own.Data["ca.crt"] = []byte("old") })
		s.refuse["patch"] = apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, "akv2k8s-app", nil)
	})
	status, err := s.wrapper.Validate(t.Context())
	require.NoError(t, err)
	assert.Equal(t, http.StatusCreated, status)
	for refusal, want := range map[error]int{
		apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "akv2k8s-app", nil): http.StatusForbidden,
		apierrors.NewInternalError(errors.New("etcd")):                                        http.StatusServiceUnavailable} {
		updateObject(s, &corev1.Secret{}, "team", "akv2k8s-app", func(own *corev1.Secret) { own.Data["ca.crt"] = []byte("old") })
		s.refuse["patch"] = refusal
		status, err = s.wrapper.Validate(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, status)
	}
}

func TestWithoutTheCAOfV1PodsAreGivenOurs(t *testing.T) {
	without := func(s *protocolTest) {
		require.NoError(s, s.client.Delete(s.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "ca"}}))
	}
	s := newProtocolTest(t, without)
	_, err := s.wrapper.RequestToken(t.Context())
	assert.ErrorContains(t, err, "unknown authority")
	go func() { // the kubelet
		for t.Context().Err() == nil {
			var secret corev1.Secret
			if s.client.Get(t.Context(), types.NamespacedName{Namespace: "team", Name: "akv2k8s-app"}, &secret) == nil && !bytes.Equal(secret.Data["ca.crt"], s.authority.Cert) {
				_ = os.WriteFile(filepath.Join(s.wrapper.Folder, "ca.crt"), secret.Data["ca.crt"], 0o600)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	token, err := s.wrapper.FetchToken(t.Context())
	require.NoError(t, err)
	assert.Equal(t, canary, token)
	assert.Equal(t, s.rotator.RootCAs(), string(s.readSecret("akv2k8s-app").Data["ca.crt"]))
	s.assertAnswers(map[string]float64{"written": 1, "token": 1})

	// Whose Secret it is still has to be shown.
	s.writeMountedSecret(map[string][]byte{"tls.crt": s.readSecret("akv2k8s-other").Data["tls.crt"], "tls.key": s.readSecret("akv2k8s-other").Data["tls.key"]})
	_, err = s.wrapper.RequestToken(t.Context())
	assert.EqualError(t, err, "token: 403")
}

func TestWhileSomethingIsAwayNobodyIsServedAndNothingIsWritten(t *testing.T) {
	broken := errors.New("no answer")
	for name, change := range map[string]func(*protocolTest){
		"the Secret whose age is the upgrade's": func(s *protocolTest) { s.refuse["serving"] = broken },
		"the CA":                                func(s *protocolTest) { s.refuse["ca"] = broken },
		"a CA that may not be read":             func(s *protocolTest) { s.refuse["ca"] = apierrors.NewForbidden(schema.GroupResource{}, "ca", nil) },
		"a CA without a key": func(s *protocolTest) {
			updateObject(s, &corev1.Secret{}, "akv2k8s", "ca", func(ca *corev1.Secret) { ca.Data["tls.key"] = nil })
		},
		"a CA that is none": func(s *protocolTest) {
			updateObject(s, &corev1.Secret{}, "akv2k8s", "ca", func(ca *corev1.Secret) { ca.Data = s.readSecret("akv2k8s-app").Data })
		},
		"a CA that is no PEM": func(s *protocolTest) {
			updateObject(s, &corev1.Secret{}, "akv2k8s", "ca", func(ca *corev1.Secret) { ca.Data["tls.crt"], ca.Data["tls.key"] = nil, nil })
		},
		"a CA that has expired": func(s *protocolTest) {
			s.now = s.now.AddDate(11, 0, 0)
		},
		"the pod":          func(s *protocolTest) { s.refuse["app-1"] = broken },
		"the pod's Secret": func(s *protocolTest) { s.refuse["akv2k8s-app"] = broken },
		"the namespace":    func(s *protocolTest) { s.refuse["team"] = broken },
	} {
		t.Run(name, func(t *testing.T) {
			s := newProtocolTest(t, change)
			status, err := s.wrapper.Validate(t.Context())
			require.NoError(t, err)
			assert.Equal(t, http.StatusServiceUnavailable, status)
			_, err = s.wrapper.RequestToken(t.Context())
			assert.Error(t, err)
			assert.Empty(t, s.patches)
			assert.Empty(t, s.events.events)
		})
	}
	s := newProtocolTest(t, func(s *protocolTest) {
		s.tokenErr = fault.New(fault.Unavailable, "getting a token: no answer from Azure")
	})
	_, err := s.wrapper.RequestToken(t.Context())
	assert.EqualError(t, err, "token: 503")
	s.assertLogged("no answer from Azure")
}

func TestATransitionIsWholeOrNone(t *testing.T) {
	s := newProtocolTest(t, nil)
	for _, change := range []func(*authservice.ProtocolConfig){func(tr *authservice.ProtocolConfig) { tr.VaultToken = nil }, func(tr *authservice.ProtocolConfig) { tr.NamespaceLabel = "" }} {
		half := s.protocolConfig()
		change(half)
		_, err := authservice.New(authservice.Config{Live: s.client, Events: &s.events, Registry: prometheus.NewRegistry(), Protocol: half})
		assert.Error(t, err)
	}
	none, err := authservice.New(authservice.Config{Live: s.client, Events: &s.events, Registry: prometheus.NewRegistry()})
	require.NoError(t, err)
	assert.Nil(t, none.TokenHandler())
	assert.NoError(t, none.Start(t.Context()))
	assert.False(t, none.NeedLeaderElection())
}
