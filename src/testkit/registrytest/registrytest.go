package registrytest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"
)

// Authority is a certificate authority that issues certificates for any name.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// Pool contains only the authority's certificate.
	Pool *x509.CertPool
}

// NewAuthority creates a certificate authority.
func NewAuthority(t *testing.T) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registries"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	require.NoError(t, err)
	a := &Authority{key: key, Pool: x509.NewCertPool()}
	a.certificate, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.Pool.AddCert(a.certificate)
	return a
}

// IssueCertificate issues a certificate for a name.
func (a *Authority) IssueCertificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: a.certificate.NotBefore,
		NotAfter: a.certificate.NotAfter, DNSNames: []string{name}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, a.key.Public(), a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// Options configures a registry.
type Options struct {
	// Name is the host name of the registry, without the port.
	Name string
	// Authority issues the certificate of the registry; nil means a registry without TLS.
	Authority *Authority
	// User and Password are required for all requests; empty means anonymous access.
	User, Password string
	// TokenRealm is the URL of a token service. If set, requests need a token of the service in place of a password.
	// TokenCertificate is the certificate of the key that signs the tokens, PEM.
	TokenRealm       string
	TokenCertificate []byte
}

// Registry is a running registry.
type Registry struct {
	// Host is name:port.
	Host string
	// Address is the listen address, IP:port.
	Address string
	// Stop stops the registry and closes its connections. The end of the test calls it too.
	Stop func()
}

// Start runs a registry until the test ends.
func Start(t *testing.T, o Options) Registry {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	switch {
	case o.TokenRealm != "":
		handler = requireToken(o, tokenKey(t, o.TokenCertificate), handler)
	case o.User != "":
		handler = requirePassword(o, handler)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // tests break connections on purpose
	if o.Authority != nil {
		server.TLS = &tls.Config{Certificates: []tls.Certificate{o.Authority.IssueCertificate(t, o.Name)},
			MinVersion: tls.VersionTLS12}
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	stop := sync.OnceFunc(func() {
		server.CloseClientConnections()
		server.Close()
	})
	t.Cleanup(stop)
	address := server.Listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return Registry{Host: o.Name + ":" + port, Address: address, Stop: stop}
}

// requirePassword allows only the user with the password.
func requirePassword(o Options, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		if !ok || user != o.User || password != o.Password {
			replyUnauthorized(w, `Basic realm="test"`)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// requireToken allows only requests with a token for the repository and the action, as the specification of the token
// service requires.
func requireToken(o Options, key any, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		repository, actions := requiredAccess(r)
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		var claims accessClaims
		_, err := jwt.ParseWithClaims(given, &claims, func(*jwt.Token) (any, error) { return key, nil },
			jwt.WithAudience(tokenService), jwt.WithExpirationRequired())
		if err != nil || !claims.allowsAccess(repository, actions) {
			challenge := fmt.Sprintf("Bearer realm=%q,service=%q", o.TokenRealm, tokenService)
			if repository != "" {
				challenge += fmt.Sprintf(",scope=\"repository:%s:%s\"", repository, strings.Join(actions, ","))
			}
			replyUnauthorized(w, challenge)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// tokenService is the name of the registry in tokens.
const tokenService = "registry"

// requiredAccess returns the repository of a request, empty for the API itself, and the actions that the request needs.
func requiredAccess(r *http.Request) (repository string, actions []string) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/"} {
		if name, _, found := strings.Cut(path, part); found {
			repository = name
		}
	}
	actions = []string{"pull"}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		actions = append(actions, "push")
	}
	return repository, actions
}

// accessClaims are the claims of a token, with the access that it allows.
type accessClaims struct {
	jwt.RegisteredClaims
	Access []struct {
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	} `json:"access"`
}

func (c accessClaims) allowsAccess(repository string, actions []string) bool {
	if repository == "" {
		return true
	}
	for _, granted := range c.Access {
		missing := slices.ContainsFunc(actions,
			func(action string) bool { return !slices.Contains(granted.Actions, action) })
		if granted.Name == repository && !missing {
			return true
		}
	}
	return false
}

// tokenKey returns the public key of a certificate in PEM.
func tokenKey(t *testing.T, certificate []byte) any {
	t.Helper()
	block, _ := pem.Decode(certificate)
	require.NotNil(t, block, "TokenCertificate is not PEM")
	parsed, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return parsed.PublicKey
}

// replyUnauthorized responds with 401 and a challenge.
func replyUnauthorized(w http.ResponseWriter, challenge string) {
	w.Header().Set("WWW-Authenticate", challenge)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
}

// Transport returns a transport that trusts the authority and connects to address(host); use it to push images.
func (a *Authority) Transport(address func(host string) string) http.RoundTripper {
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Pool, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address(to))
		}}
}
