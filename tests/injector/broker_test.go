package injector

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// brokerName is the name that the certificate of the auth service has to have.
const brokerName = "akv2k8s-envinjector.akv2k8s.svc"

// doubt is an auth service of which something is wrong.
type doubt struct {
	// name of the certificate, and from when on it is valid, for two hours.
	name string
	from time.Time
	// stranger has it signed by somebody else than the pod was told.
	stranger bool
	answer   http.HandlerFunc
}

// certificates are one for a name, valid for two hours, and the authority that signed it, as PEM.
func certificates(t *testing.T, name string, from time.Time) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	require.NoError(t, err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: from, NotAfter: from.Add(2 * time.Hour)}
	own, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{own}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// serve gives the way to such an auth service.
func (m *modes) serve(d doubt) way {
	m.Helper()
	certificate, ca := certificates(m.T, d.name, d.from)
	if d.stranger {
		_, ca = certificates(m.T, d.name, d.from)
	}
	server := httptest.NewUnstartedServer(d.answer)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	m.Cleanup(server.Close)
	return m.to(server.Listener.Addr().String(), ca)
}

// to is the way to an address.
func (m *modes) to(address, ca string) way {
	m.Helper()
	return way{m.thin, m.file(map[string]string{wire.TokenFile: podToken}), []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", wire.EnvRetries + "=0", wire.EnvTimeout + "=0s", wire.EnvCA + "=" + ca,
		wire.EnvBroker + "=" + brokerName + ":9443", wire.EnvBrokerAddress + "=" + address}}
}

// TestAnAuthServiceThatIsNotWell starts the injector in front of a program where the auth service is away, slow,
// broken, somebody else, or of another time.
func TestAnAuthServiceThatIsNotWell(t *testing.T) {
	m := &modes{T: t, programs: build(t)}
	now := time.Now().Add(-time.Hour)
	values := func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(wire.ResolveResponse{Values: map[string][]byte{"V": []byte("value")}})
	}
	untold := func(http.ResponseWriter, *http.Request) { t.Error("the token was sent") }
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	_, ca := certificates(t, brokerName, now)
	for name, c := range map[string]struct {
		by   way
		want result
	}{
		"well":     {m.serve(doubt{name: brokerName, from: now, answer: values}), result{0, "value\n", ""}},
		"slow":     {m.serve(doubt{name: brokerName, from: now, answer: func(w http.ResponseWriter, r *http.Request) { time.Sleep(2 * time.Second); values(w, r) }}), result{0, "value\n", ""}},
		"away":     {m.to("127.0.0.1:1", ca), result{75, "", "check that the pods of the env-injector are running"}},
		"silent":   {m.to(silent.Addr().String(), ca), result{75, "", "check that the pods of the env-injector are running"}},
		"hangs up": {m.serve(doubt{name: brokerName, from: now, answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}), result{75, "", "calling the auth service"}},
		"ends in the middle": {m.serve(doubt{name: brokerName, from: now, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"values":{"V":"dg=="}}`))
		}}), result{75, "", "was cut off"}},
		"answers nonsense":       {m.serve(doubt{name: brokerName, from: now, answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }}), result{70, "", "not JSON with values"}},
		"of another CA":          {m.serve(doubt{name: brokerName, from: now, stranger: true, answer: untold}), result{77, "", "recreate the pod"}},
		"of another name":        {m.serve(doubt{name: "other.test", from: now, answer: untold}), result{77, "", "the certificate of another service; recreate the pod"}},
		"valid in an hour":       {m.serve(doubt{name: brokerName, from: now.Add(2 * time.Hour), answer: untold}), result{75, "", "correct the clock of this node"}},
		"valid till an hour ago": {m.serve(doubt{name: brokerName, from: now.Add(-2 * time.Hour), answer: untold}), result{75, "", "correct the clock of this node"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := m.start(t, c.by, []string{"V=db@azurekeyvault"}, "printenv", "V")
			assert.Equal(t, c.want.Code, got.Code, got.Log)
			assert.Equal(t, c.want.Out, got.Out, "nothing starts without its values")
			assert.Contains(t, got.Log, c.want.Log)
			assert.NotContains(t, got.Log, podToken)
			if c.want.Code != 0 {
				assert.Equal(t, 1, strings.Count(got.Log, "\n"), "one line: %s", got.Log)
			}
		})
	}
}

// TestAContainerThatIsStoppedWhileItWaitsEnds sends the signal of the kubelet while the auth service keeps the injector
// waiting.
func TestAContainerThatIsStoppedWhileItWaitsEnds(t *testing.T) {
	m := &modes{T: t, programs: build(t)}
	asked, release := make(chan struct{}, 1), make(chan struct{})
	defer close(release)
	by := m.serve(doubt{name: brokerName, from: time.Now().Add(-time.Hour), answer: func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-release }})
	pod := []string{"--mount", "--map-root-user", "--propagation", "private", "bash", "-ec", inPod, "bash", by.files, by.program, "echo", "started"}
	cmd := exec.CommandContext(t.Context(), "unshare", pod...)
	cmd.Env = asWritten(append(by.env, "V=db@azurekeyvault"))
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	<-asked
	stopped := time.Now()
	// each of the programs before became the next one, so it is the injector's
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Error(t, cmd.Wait())
	assert.Equal(t, 75, cmd.ProcessState.ExitCode(), log.String())
	assert.Less(t, time.Since(stopped), 2*time.Second)
	assert.NotContains(t, log.String(), "started")
}
