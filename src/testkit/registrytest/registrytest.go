package registrytest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// Authority signs certificates for any name.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// Pool has it and nothing else.
	Pool *x509.CertPool
}

// NewAuthority makes one.
func NewAuthority(t *testing.T) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registries"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	require.NoError(t, err)
	a := &Authority{key: key, Pool: x509.NewCertPool()}
	a.certificate, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.Pool.AddCert(a.certificate)
	return a
}

// For makes a certificate for a name.
func (a *Authority) For(t *testing.T, name string) tls.Certificate {
	t.Helper()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: a.certificate.NotBefore, NotAfter: a.certificate.NotAfter, DNSNames: []string{name}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, a.key.Public(), a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// Options of a registry.
type Options struct {
	// Name is its host name; the port is its own.
	Name string
	// Authority signs its certificate; without one it has no TLS.
	Authority *Authority
	// User and Password are who may do anything (htpasswd); empty means everybody.
	User, Password string
	// TokenRealm is the address of a service whose tokens it believes instead; TokenCertificate is what these are signed with.
	TokenRealm       string
	TokenCertificate []byte
}

// Registry is a running one.
type Registry struct {
	// Host is name:port.
	Host string
	// Address is where it listens.
	Address string
	// Stop ends it and closes its connections. The end of the test does so too.
	Stop func()
}

// Start runs a registry until the test ends.
func Start(t *testing.T, o Options) Registry {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	require.NoError(t, err, "install it: apt-get install docker-registry")
	folder := t.TempDir()
	address := free(t)
	config := fmt.Sprintf("version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp:\n  addr: %s\n", folder, address)
	if o.Authority != nil {
		certificate := o.Authority.For(t, o.Name)
		key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
		require.NoError(t, err)
		config += fmt.Sprintf("  tls: {certificate: %s, key: %s}\n", file(t, folder, "tls.crt", encode("CERTIFICATE", certificate.Certificate[0])), file(t, folder, "tls.key", encode("PRIVATE KEY", key)))
	}
	switch {
	case o.TokenRealm != "":
		config += fmt.Sprintf("auth: {token: {realm: %q, service: registry, issuer: test, rootcertbundle: %s}}\n", o.TokenRealm, file(t, folder, "token.crt", o.TokenCertificate))
	case o.User != "":
		hash, err := bcrypt.GenerateFromPassword([]byte(o.Password), bcrypt.MinCost)
		require.NoError(t, err)
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s}}\n", file(t, folder, "htpasswd", []byte(o.User+":"+string(hash)+"\n")))
	}
	ctx, cancel := context.WithCancel(context.Background()) // the test's own context ends before its other cleanups run
	cmd := exec.CommandContext(ctx, program, "serve", file(t, folder, "config.yml", []byte(config)))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &log, &log, append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	require.NoError(t, cmd.Start())
	stop := sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 10*time.Second, 20*time.Millisecond, "docker-registry answers")
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return Registry{Host: o.Name + ":" + port, Address: address, Stop: stop}
}

// Transport reaches every name at one place, and believes an authority; for putting images there.
func (a *Authority) Transport(address func(host string) string) http.RoundTripper {
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Pool, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address(to))
		}}
}

// free is an address of this machine that nobody listens at.
func free(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func file(t *testing.T, folder, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(folder, name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}
