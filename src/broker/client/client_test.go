package client_test

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/broker/client"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// host is a name that httptest's certificate has and that resolves nowhere.
const host = "example.com"

func startServer(t *testing.T, handler http.HandlerFunc) (*httptest.Server, client.Config) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	require.NoError(t, err)
	return server, client.Config{Broker: host + ":" + at.Port(), ServiceAddress: at.Host,
		CA:        string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
		ReadToken: func() (string, error) { return "a.b.c", nil }}
}

func resolveReferences(t *testing.T, config client.Config) (map[string][]byte, error) {
	t.Helper()
	c, err := client.New(config)
	require.NoError(t, err)
	return c.Resolve(t.Context(), map[string]string{"A": "x@azurekeyvault"})
}

func TestValuesComeByAddressUnderTheNamesCertificate(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // must not be asked
	_, config := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "Bearer a.b.c", r.Header.Get("Authorization"))
		assert.Equal(t, wire.ResolvePath, r.URL.Path)
		var request wire.ResolveRequest
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&request))
		assert.Equal(t, map[string]string{"A": "x@azurekeyvault"}, request.References)
		_ = json.NewEncoder(w).Encode(wire.ResolveResponse{Values: map[string][]byte{"A": {0xff, 'v'}, "PATH": []byte("/evil")}})
	})
	values, err := resolveReferences(t, config)
	require.NoError(t, err)
	assert.Equal(t, map[string][]byte{"A": {0xff, 'v'}}, values, "bytes as they are, and nothing that was not asked for")
}

func TestADeadAddressGivesWayToTheName(t *testing.T) {
	_, config := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(wire.ResolveResponse{Values: map[string][]byte{"A": []byte("v")}})
	})
	config.Broker, config.ServiceAddress = config.ServiceAddress, "127.0.0.1:1"
	values, err := resolveReferences(t, config)
	require.NoError(t, err)
	assert.Len(t, values, 1)
}

func TestRefusalsKeepTheirKind(t *testing.T) {
	for _, kind := range fault.Kinds() {
		_, config := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			_ = json.NewEncoder(w).Encode(wire.ErrorResponse{Kind: string(kind), Message: "do this", RetryAfterSeconds: 7})
		})
		_, err := resolveReferences(t, config)
		assert.Equal(t, kind, fault.KindOf(err))
		assert.Equal(t, "do this", err.Error())
		assert.Equal(t, 7*time.Second, fault.RetryAfter(err))
	}
}

func TestARefusalTellsWhatMayComeLater(t *testing.T) {
	for _, later := range []bool{true, false} {
		_, config := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(wire.ErrorResponse{Kind: string(fault.NotFound), Message: "create it", CanAppearLater: later})
		})
		_, err := resolveReferences(t, config)
		assert.Equal(t, fault.NotFound, fault.KindOf(err))
		assert.Equal(t, later, fault.CanAppearLater(err))
	}
}

// TestARedirectIsNotFollowed counts requests, because every address leads to the broker: a redirect that is followed
// comes back here.
func TestARedirectIsNotFollowed(t *testing.T) {
	for _, code := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		var requests atomic.Int32
		_, config := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) > 1 {
				_ = json.NewEncoder(w).Encode(wire.ResolveResponse{Values: map[string][]byte{"A": []byte("v")}})
				return
			}
			http.Redirect(w, r, "/elsewhere", code)
		})
		_, err := resolveReferences(t, config)
		assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%d: %v", code, err)
		assert.EqualValues(t, 1, requests.Load(), "the token goes nowhere else (%d)", code)
	}
}

func TestWhatIsNoAnswerOfOurs(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		kind    fault.Kind
	}{
		"a proxy's page":     {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, fault.Unavailable},
		"no JSON":            {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }, fault.Bug},
		"a variable missing": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"values":{"B":""}}`)) }, fault.Bug},
		"too long": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, limits.AuthAnswerBytes+2))
		}, fault.Unavailable},
		"a reason that is too long": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(wire.ErrorResponse{Kind: string(fault.Denied), Message: strings.Repeat("x", limits.AuthServiceErrorBytes)})
		}, fault.Unavailable},
		"a header that is too long": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Filler", strings.Repeat("x", 2*limits.AuthServiceHeaderBytes))
			_ = json.NewEncoder(w).Encode(wire.ResolveResponse{Values: map[string][]byte{"A": []byte("v")}})
		}, fault.Unavailable},
		"hung up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			_, config := startServer(t, c.handler)
			_, err := resolveReferences(t, config)
			assert.Equal(t, c.kind, fault.KindOf(err), "%v", err)
		})
	}
}

// TestNoRedirectIsFollowed has the same server answer with values elsewhere, so that a client that followed would
// succeed.
func TestNoRedirectIsFollowed(t *testing.T) {
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		_, config := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == wire.ResolvePath {
				http.Redirect(w, r, "/elsewhere", status)
				return
			}
			t.Errorf("%d: it asked %s, with %q", status, r.URL.Path, r.Header.Get("Authorization"))
			_ = json.NewEncoder(w).Encode(wire.ResolveResponse{Values: map[string][]byte{"A": []byte("v")}})
		})
		config.Broker = config.ServiceAddress // so that the redirect leads to this server
		_, err := resolveReferences(t, config)
		assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
	}
}

func TestACheckAsksForNoValues(t *testing.T) {
	answer := func(w http.ResponseWriter) {
		w.Header().Set(wire.HeaderReplica, "10.1.2.3:9443")
		_, _ = w.Write([]byte("{}"))
	}
	_, config := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		var request wire.ResolveRequest
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&request))
		assert.Equal(t, wire.ResolveRequest{References: map[string]string{"app/A": "x@azurekeyvault"}, CheckOnly: true}, request)
		answer(w)
	})
	c, err := client.New(config)
	require.NoError(t, err)
	references := map[string]string{"app/A": "x@azurekeyvault"}
	replica, err := c.Check(t.Context(), references)
	require.NoError(t, err)
	assert.Equal(t, "10.1.2.3:9443", replica)
	answer = func(w http.ResponseWriter) { w.Header().Set(wire.HeaderReplica, "not an address") }
	replica, err = c.Check(t.Context(), references)
	require.NoError(t, err)
	assert.Empty(t, replica)
	answer = func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(wire.ErrorResponse{Kind: string(fault.NotFound), Message: "absent", CanAppearLater: true})
	}
	_, err = c.Check(t.Context(), references)
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
	assert.True(t, fault.CanAppearLater(err))
	answer = func(w http.ResponseWriter) { http.Redirect(w, &http.Request{URL: &url.URL{}}, "/x", http.StatusFound) }
	_, err = c.Check(t.Context(), references)
	assert.Equal(t, fault.Unavailable, fault.KindOf(err), "anything else than 200 is a failure")
}

// TestTheReplicaThatKnowsTheValuesIsAskedFirst has three servers at the addresses; another pod may have the replica's
// by now.
func TestTheReplicaThatKnowsTheValuesIsAskedFirst(t *testing.T) {
	says := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(wire.ResolveResponse{Values: map[string][]byte{"A": []byte(text)}})
		}
	}
	replica, _ := startServer(t, says("replica"))
	_, config := startServer(t, says("service"))
	other, _ := newServingCert(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	stranger := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token was sent") }))
	stranger.TLS = &tls.Config{Certificates: []tls.Certificate{other}, MinVersion: tls.VersionTLS13}
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	for at, want := range map[string]string{replica.Listener.Addr().String(): "replica", "": "service", "127.0.0.1:1": "service", "nonsense": "service",
		stranger.Listener.Addr().String(): "service", silent.Addr().String(): "service"} {
		config.ReplicaAddress = at
		values, err := resolveReferences(t, config)
		require.NoError(t, err, at)
		assert.Equal(t, want, string(values["A"]), at)
	}
}

func TestWhatTheAuthServiceAsksToWaitIsBounded(t *testing.T) {
	for asked, want := range map[int]time.Duration{-1: 0, 59: 59 * time.Second, 86_400: limits.InjectorRetryAfter, math.MaxInt: limits.InjectorRetryAfter} {
		_, config := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTooManyRequests)
			_ = json.NewEncoder(w).Encode(wire.ErrorResponse{Kind: string(fault.Throttled), Message: "later", RetryAfterSeconds: asked})
		})
		_, err := resolveReferences(t, config)
		assert.Equal(t, want, fault.RetryAfter(err))
	}
}

func TestAnotherCAIsNotBelieved(t *testing.T) {
	_, config := startServer(t, func(http.ResponseWriter, *http.Request) { t.Error("the token was sent") })
	config.CA = newSelfSignedCA(t)
	_, err := resolveReferences(t, config)
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	assert.ErrorContains(t, err, "recreate the pod")
}

func TestAnotherServiceIsNotBelieved(t *testing.T) {
	_, config := startServer(t, func(http.ResponseWriter, *http.Request) { t.Error("the token was sent") })
	config.Broker = "other.test:9443"
	_, err := resolveReferences(t, config)
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	assert.ErrorContains(t, err, "another service; recreate the pod")
}

func TestNobodyAnswers(t *testing.T) {
	server, config := startServer(t, nil)
	server.Close()
	config.Broker = config.ServiceAddress
	_, err := resolveReferences(t, config)
	assert.Equal(t, fault.Unavailable, fault.KindOf(err))
	assert.ErrorContains(t, err, "pods of the env-injector")
}

func TestABrokerThatHangsIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	_, config := startServer(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	// Something that takes connections and says nothing.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	config.RequestTimeout = 300 * time.Millisecond
	for _, address := range []string{config.ServiceAddress, listener.Addr().String()} {
		config.ServiceAddress = address
		started := time.Now()
		_, err := resolveReferences(t, config)
		assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
		assert.Less(t, time.Since(started), 5*time.Second)
	}
}

func TestAnAnswerThatEndsInTheMiddleIsNone(t *testing.T) {
	_, config := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"values":{"A":"dg=="}}`))
	})
	_, err := resolveReferences(t, config)
	assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
}

func TestAClockThatIsWrongIsNamed(t *testing.T) {
	for name, shift := range map[string]time.Duration{"an hour late": -time.Hour, "an hour early": time.Hour} {
		t.Run(name, func(t *testing.T) {
			certificate, ca := newServingCert(t, time.Now().Add(shift).Add(-time.Minute), time.Now().Add(shift).Add(time.Minute))
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token was sent") }))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}
			server.StartTLS()
			t.Cleanup(server.Close)
			_, err := resolveReferences(t, client.Config{Broker: host + ":9443", ServiceAddress: server.Listener.Addr().String(), CA: ca, ReadToken: func() (string, error) { return "a.b.c", nil }})
			assert.Equal(t, fault.Unavailable, fault.KindOf(err))
			assert.ErrorContains(t, err, "correct the clock")
		})
	}
}

func TestMoreReferencesThanTheAuthServiceTakesAreNotSent(t *testing.T) {
	_, config := startServer(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	c, err := client.New(config)
	require.NoError(t, err)
	references := map[string]string{}
	for i := range 3000 {
		references[fmt.Sprintf("V%d", i)] = strings.Repeat("n", 400) + "@azurekeyvault"
	}
	_, err = c.Resolve(t.Context(), references)
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.ErrorContains(t, err, "at most 1048576")
}

func TestNoToken(t *testing.T) {
	_, config := startServer(t, nil)
	config.ReadToken = func() (string, error) { return "", errors.New("no such file") }
	_, err := resolveReferences(t, config)
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
}

func TestConfigurationIsChecked(t *testing.T) {
	_, config := startServer(t, nil)
	for _, spoil := range []func(*client.Config){
		func(c *client.Config) { c.CA = "none" }, func(c *client.Config) { c.Broker = "no port" }, func(c *client.Config) { c.ReadToken = nil },
	} {
		broken := config
		spoil(&broken)
		_, err := client.New(broken)
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
	}
}
