package akvsclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/injector/akvsclient"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

const canary = "canary-token-3"

// apiServer is an API server with responses that a test sets.
type apiServer struct {
	*httptest.Server
	path, authorization string
	answer              http.HandlerFunc
}

func startAPIServer(t *testing.T) (*apiServer, akvsclient.Config) {
	t.Helper()
	s := &apiServer{answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"spec":{}}`)) }}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.path, s.authorization = r.URL.EscapedPath(), r.Header.Get("Authorization")
		s.answer(w, r)
	}))
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	at, err := url.Parse(s.URL)
	require.NoError(t, err)
	host, port, err := net.SplitHostPort(at.Host)
	require.NoError(t, err)
	return s, akvsclient.Config{Host: host, Port: port, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		Namespace: "team", Token: func() (string, error) { return canary, nil }}
}

func TestOneResourceIsReadWithThePodsToken(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // meant for the program
	s, config := startAPIServer(t)
	client, err := akvsclient.New(config)
	require.NoError(t, err)
	content, err := client.FetchResource(t.Context(), "db.main")
	require.NoError(t, err)
	assert.JSONEq(t, `{"spec":{}}`, string(content))
	assert.Equal(t, "/apis/spv.no/v2beta1/namespaces/team/azurekeyvaultsecrets/db.main", s.path)
	assert.Equal(t, "Bearer "+canary, s.authorization)
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			http.Error(w, "quoting "+r.Header.Get("Authorization"), code)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   fault.Kind
		says   string
		after  time.Duration
	}{
		"absent":          {status(404), fault.NotFound, `no AzureKeyVaultSecret "db" in namespace "team"; create it`, 0},
		"forbidden":       {status(403), fault.Denied, "env_injector.rbacSubjects", 0},
		"unauthenticated": {status(401), fault.Unauthenticated, "recreate the pod", 0},
		"busy":            {status(429), fault.Unavailable, "the API server returned status 429", 7 * time.Second},
		"down":            {status(503), fault.Unavailable, "the API server returned status 503", 7 * time.Second},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) { // one that would be answered if it were followed
			if r.URL.Path != "/elsewhere" {
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
			}
		}, fault.Unavailable, "the API server returned status 302", 0},
		"busy for a day": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(http.StatusTooManyRequests)
		}, fault.Unavailable, "the API server returned status 429", limits.InjectorRetryAfter},
		"an endless header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Filler", strings.Repeat("x", 2*limits.APIServerHeaderBytes))
		}, fault.Unavailable, "from the API server", 0},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		}, fault.Unavailable, "cut off", 0},
		"endless":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 4<<20)) }, fault.Unavailable, "too long", 0},
		"gone meanwhile": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable, "NetworkPolicy", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, config := startAPIServer(t)
			s.answer = c.answer
			client, err := akvsclient.New(config)
			require.NoError(t, err)
			_, err = client.FetchResource(t.Context(), "db")
			assert.Equal(t, c.kind, fault.KindOf(err))
			require.ErrorContains(t, err, c.says)
			assert.NotContains(t, err.Error(), canary)
			assert.Equal(t, c.after, fault.RetryAfter(err))
			assert.Equal(t, name == "absent", fault.CanAppearLater(err))
		})
	}
}

func TestADamagedCAOfTheAPIServerIsNamedWhenTheAPIServerIsNotBelieved(t *testing.T) {
	s, config := startAPIServer(t)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	good := string(config.CA)
	broken := strings.Replace(good, "-----END CERTIFICATE-----", "", 1)
	other := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newOtherCA(t)}))
	for name, c := range map[string]struct{ ca, says string }{
		"the API server's is damaged":  {other + broken, "block 2"},
		"none is damaged, but another": {other, "unknown authority"},
		"one of no use is damaged":     {good + broken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			config.CA = []byte(c.ca)
			client, err := akvsclient.New(config)
			require.NoError(t, err)
			_, err = client.FetchResource(t.Context(), "db")
			if c.says == "" {
				require.NoError(t, err, "the pod can start")
				return
			}
			assert.Equal(t, fault.Unavailable, fault.KindOf(err))
			assert.ErrorContains(t, err, c.says)
			assert.ErrorContains(t, err, "kube-root-ca.crt")
		})
	}
}

// newOtherCA is the DER of a certificate that the API server does not use.
func newOtherCA(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return der
}

func TestWhatIsNotInThePodIsNamed(t *testing.T) {
	_, good := startAPIServer(t)
	for says, change := range map[string]func(*akvsclient.Config){
		"KUBERNETES_SERVICE_HOST": func(c *akvsclient.Config) { c.Host = "" },
		"the CA":                  func(c *akvsclient.Config) { c.CA = []byte("none") },
		"namespace":               func(c *akvsclient.Config) { c.Namespace = "" },
		"token":                   func(c *akvsclient.Config) { c.Token = nil },
		"KUBERNETES_SERVICE_PORT": func(c *akvsclient.Config) { c.Port = "" },
	} {
		config := good
		change(&config)
		_, err := akvsclient.New(config)
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
		assert.ErrorContains(t, err, says)
	}
	good.Token = func() (string, error) { return "", errors.New("no such file") }
	client, err := akvsclient.New(good)
	require.NoError(t, err)
	_, err = client.FetchResource(t.Context(), "db")
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	good.Token, good.Host = func() (string, error) { return canary, nil }, strings.Repeat("x", 3)+"\n"
	client, err = akvsclient.New(good)
	require.NoError(t, err)
	_, err = client.FetchResource(t.Context(), "db")
	assert.Error(t, err)
}
