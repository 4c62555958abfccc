package ociimage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

const password = "canary-password-7"

// recorded is a network in memory that keeps each request with its body.
type recorded struct {
	http.RoundTripper
	requests []string
}

func (n *recorded) RoundTrip(r *http.Request) (*http.Response, error) {
	body := []byte{}
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	n.requests = append(n.requests, fmt.Sprintf("%s %s auth=%q body=%q", r.Method, r.URL, r.Header.Get("Authorization"), body))
	return n.RoundTripper.RoundTrip(r)
}

// to are the requests of a host.
func (n *recorded) to(host string) (all []string) {
	for _, request := range n.requests {
		if strings.Contains(request, "//"+host+"/") {
			all = append(all, request)
		}
	}
	return all
}

func secretFor(t *testing.T, fields string) PullSecret {
	t.Helper()
	return ParsePullSecret(t.Context(), corev1.Secret{Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{"r.test":{%s}}}`, fields)}})
}

func TestACredentialGoesToItsHostAlone(t *testing.T) {
	s := newStore()
	s.image(runs("linux", "amd64", "app"), "1")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+password))
	network := &recorded{RoundTripper: hosts{
		"r.test": func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("Authorization") != basic:
				w.Header().Set("WWW-Authenticate", "Basic realm=\"r\"")
				w.WriteHeader(http.StatusUnauthorized)
			case strings.Contains(r.URL.Path, "/blobs/"):
				http.Redirect(w, r, "https://storage.test"+r.URL.Path, http.StatusTemporaryRedirect)
			default:
				s.serve(w, r)
			}
		},
		"storage.test": s.serve, "other.test": s.serve, "sub.r.test": s.serve,
	}}
	images, _ := memoryImages(t, network, TransportConfig{})
	mine := secretFor(t, fmt.Sprintf(`"username":"u","password":%q`, password))
	for _, image := range []string{"r.test/app:1", "other.test/app:1", "sub.r.test/app:1", "r.test:444/app:1"} {
		_, err := images.ReadCommand(t.Context(), Query{Image: image, OS: "linux", PullSecrets: []PullSecret{mine}})
		assert.Equal(t, image == "r.test:444/app:1", err != nil, image)
	}
	assert.NotEmpty(t, network.to("storage.test"), "a redirect to the registry's storage is followed")
	for _, request := range network.requests {
		if !strings.Contains(request, "//r.test/") {
			assert.Contains(t, request, `auth=""`)
		}
	}
	_, err := images.ReadCommand(t.Context(), Query{Image: "r.test/app:1", OS: "linux"})
	assert.Equal(t, fault.Unauthenticated == fault.KindOf(err), false)
	assert.Error(t, err, "what was seen with a credential is not answered without it")
	_, err = images.ReadCommand(t.Context(), Query{Image: "r.test/app:1", OS: "linux", PullSecrets: []PullSecret{secretFor(t, `"username":"u","password":"x"`)}})
	assert.Error(t, err, "nor with another")
}

func TestTokenRequestsFollowNoRedirect(t *testing.T) {
	for name, fields := range map[string]string{"a password": fmt.Sprintf(`"username":"u","password":%q`, password), "an identity token": fmt.Sprintf(`"identitytoken":%q`, password)} {
		for _, c := range tokenRedirects() {
			redirect := func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://thief.test/token", c.status)
			}
			network := &recorded{RoundTripper: hosts{
				"r.test": func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/v2/" {
						redirect(w, r)
						return
					}
					w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="r.test"`, c.realm))
					w.WriteHeader(http.StatusUnauthorized)
				},
				"t.test":     redirect,
				"thief.test": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"token":"x"}`)) },
			}}
			images, log := memoryImages(t, network, TransportConfig{})
			_, err := images.ReadCommand(t.Context(), Query{Image: "r.test/app:1", OS: "linux", PullSecrets: []PullSecret{secretFor(t, fields)}})
			require.Error(t, err)
			assert.Greater(t, len(network.requests), 1, name)
			assert.NotContains(t, strings.Join(network.to("thief.test"), " "), "refresh_token", "%s, %v", name, c)
			// what has the address of a manifest is redirected without a credential
			if !strings.Contains(c.realm, "/manifests/") {
				assert.Empty(t, network.to("thief.test"), "%s, %v", name, c)
			}
			for _, request := range network.to("thief.test") {
				assert.Contains(t, request, `auth="" body=""`)
			}
			assert.NotContains(t, log.String()+err.Error(), password)
		}
	}
}

// tokenRedirect is a redirect of a token server at some address.
type tokenRedirect struct {
	realm  string
	status int
}

func tokenRedirects() (all []tokenRedirect) {
	for _, realm := range []string{"https://t.test/token", "https://r.test/token", "https://r.test/v2/token", "https://r.test/v2/app/manifests/token"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			all = append(all, tokenRedirect{realm, status})
		}
	}
	return all
}

// identity gives a token of the installation.
type identity struct{}

func (identity) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: password, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestTheExchangeOfTheIdentitysTokenFollowsNoRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		network := &recorded{RoundTripper: hosts{
			"mine1.azurecr.io": func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://thief.test/oauth2/exchange", status)
			},
			"thief.test": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"refresh_token":"x"}`)) },
		}}
		for name, transport := range map[string]http.RoundTripper{"guarded": &guardedTransport{TransportConfig{}, newCircuitBreaker(), network}, "bare": network} {
			network.requests = nil
			azure := NewAzureRegistries(AzureRegistries{Credential: identity{}, Suffix: "azurecr.io", Transport: transport, Clock: time.Now})
			_, err := azure.RefreshToken(t.Context(), "mine1.azurecr.io")
			require.Error(t, err, name)
			assert.NotContains(t, err.Error(), "AcrPull", "a redirect is not a missing role")
			require.Len(t, network.to("mine1.azurecr.io"), 1, name)
			assert.Contains(t, network.requests[0], url.QueryEscape(password), "the token is in the request's body")
			assert.Empty(t, network.to("thief.test"), "%s, %d", name, status)
		}
	}
}

func TestRedirectsAreBounded(t *testing.T) {
	s := newStore()
	s.image(runs("linux", "amd64", "app"), "1")
	for hops, works := range map[int]bool{limits.ImageRedirects: true, limits.ImageRedirects + 1: false} {
		network := hosts{"r.test": func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") {
				http.Redirect(w, r, fmt.Sprintf("https://h1.test%s", r.URL.Path), http.StatusFound)
				return
			}
			s.serve(w, r)
		}}
		for n := 1; n <= hops; n++ {
			network[fmt.Sprintf("h%d.test", n)] = func(w http.ResponseWriter, r *http.Request) {
				if n == hops {
					s.serve(w, r)
					return
				}
				http.Redirect(w, r, fmt.Sprintf("https://h%d.test%s", n+1, r.URL.Path), http.StatusFound)
			}
		}
		images, log := memoryImages(t, network, TransportConfig{})
		_, err := images.ReadCommand(t.Context(), Query{Image: "r.test/app:1", OS: "linux"})
		assert.Equal(t, works, err == nil, "%d redirects: %v", hops, err)
		assert.Equal(t, !works, strings.Contains(log.String(), errUnsafeRedirect.Error()))
	}
}

func TestPlainHTTPIsForTheHostsThatAreNamedAlone(t *testing.T) {
	s := newStore()
	s.image(runs("linux", "amd64", "app"), "1")
	for image, works := range map[string]bool{"plain.test/app:1": true, "plain.test:5000/app:1": false, "other.test/app:1": false, "10.1.2.3:5000/app:1": false,
		"10.1.2.4:5000/app:1": true, "localhost:5000/app:1": false, "x.localhost/app:1": false, "127.0.0.1:5000/app:1": false, "detour.test/app:1": false} {
		network := &recorded{RoundTripper: schemes{"http": s.serve, "https": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://other.test"+r.URL.Path, http.StatusFound)
		}}}
		config := TransportConfig{PlainHTTP: []string{"plain.test", "10.1.2.4:5000"}, AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
		images, _ := memoryImages(t, network, config)
		_, err := images.ReadCommand(t.Context(), Query{Image: image, OS: "linux"})
		assert.Equal(t, works, err == nil, "%s: %v", image, err)
		for _, request := range network.requests {
			host := strings.Split(image, "/")[0]
			assert.Equal(t, works && !strings.Contains(request, "https://"), strings.Contains(request, "http://"+host+"/"), request)
			assert.NotContains(t, request, "http://other.test/")
		}
	}
}

// schemes answers by the scheme of the request; https fails for hosts that have no TLS.
type schemes map[string]http.HandlerFunc

func (s schemes) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "https" && r.URL.Host != "detour.test" {
		return nil, tls.RecordHeaderError{RecordHeader: [5]byte([]byte("HTTP/"))}
	}
	return hosts{r.URL.Host: s[r.URL.Scheme]}.RoundTrip(r)
}

// failing gives an error for each host.
type failing map[string]error

func (f failing) RoundTrip(r *http.Request) (*http.Response, error) { return nil, f[r.URL.Host] }

func TestTheFirstFailureOfARegistryNamedByAnAddressIsKept(t *testing.T) {
	for host, c := range map[string]struct {
		err error
		log string
	}{
		"10.1.2.3":          {x509.UnknownAuthorityError{}, "global.extraCACertificates"},
		"10.1.2.3:5000":     {x509.UnknownAuthorityError{}, "global.extraCACertificates"},
		"192.168.1.2:5000":  {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}, "its certificate is for another host name"},
		"172.16.5.6":        {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "connection refused"},
		"registry.internal": {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "connection refused"},
		"reg.localhost":     {&net.DNSError{IsNotFound: true}, "does not resolve"},
	} {
		images, log := memoryImages(t, failing{host: c.err}, TransportConfig{})
		_, err := images.ReadCommand(t.Context(), Query{Image: host + "/app:1", OS: "linux"})
		require.Error(t, err, host)
		assert.Contains(t, log.String(), c.log, host)
		assert.NotContains(t, log.String()+err.Error(), "plainHTTP", host)
	}
}

// TestOnlyTheRegistryItselfSpeaksForIt has a host that leads elsewhere: what answers there does not tell what the first
// host is.
func TestOnlyTheRegistryItselfSpeaksForIt(t *testing.T) {
	s := newStore()
	images, log := memoryImages(t, hosts{"x.test": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://y.test"+r.URL.Path, http.StatusFound)
	}, "y.test": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.serve(w, r)
	}}, TransportConfig{})
	_, err := images.ReadCommand(t.Context(), Query{Image: "x.test/app:1", OS: "linux"})
	assert.ErrorContains(t, err, "the registry x.test could not be reached or did not answer as a registry")
	assert.NotContains(t, err.Error(), "403")
	assert.Contains(t, log.String(), "it answered 403")
}

// TestRefusalsAreNoMapOfTheNetwork compares what the author of a pod sees of hosts that fail in every way.
func TestRefusalsAreNoMapOfTheNetwork(t *testing.T) {
	answer := func(status int, header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set("WWW-Authenticate", header)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	broken := func(err error) http.RoundTripper { return failing{"x.test": err} }
	id := regexp.MustCompile(`id [0-9a-f]{8}`)
	texts := map[string][]string{}
	for name, network := range map[string]http.RoundTripper{
		"closed":   broken(&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}),
		"no way":   broken(&net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}),
		"silent":   broken(&net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded}),
		"no name":  broken(&net.DNSError{IsNotFound: true}),
		"no TLS":   broken(tls.RecordHeaderError{RecordHeader: [5]byte([]byte("HTTP/"))}),
		"not HTTP": broken(tls.RecordHeaderError{RecordHeader: [5]byte([]byte("SSH-2"))}), "a stranger's certificate": broken(x509.UnknownAuthorityError{}),
		"another's certificate": broken(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x.test"}), "refused": broken(errForbiddenAddress),
		"no page": hosts{"x.test": answer(404, "", "<html>")}, "a page": hosts{"x.test": answer(200, "", "<html>internal")},
		"a login": hosts{"x.test": answer(401, `Basic realm="Prometheus"`, "")}, "a failure": hosts{"x.test": answer(500, "", "stack trace")},
		"JSON": hosts{"x.test": answer(403, "", `{"kind":"Status","code":403}`)}, "a way elsewhere": hosts{"x.test": answer(302, "", "")},
	} {
		images, log := memoryImages(t, network, TransportConfig{})
		_, err := images.ReadCommand(t.Context(), Query{Image: "x.test/app:1", OS: "linux"})
		require.Error(t, err, name)
		text := id.ReplaceAllString(err.Error(), "id")
		texts[text] = append(texts[text], name)
		assert.Contains(t, log.String(), id.FindString(err.Error())[3:], name)
	}
	assert.Len(t, texts, 1, "%v", texts)
}

func TestLinesAboutFailuresAreBounded(t *testing.T) {
	images, log := memoryImages(t, failing{}, TransportConfig{})
	images.Transport = &guardedTransport{TransportConfig{}, newCircuitBreaker(), hosts{}}
	var last error
	for n := range 500 {
		_, last = images.ReadCommand(t.Context(), Query{Image: fmt.Sprintf("x%d.test/app:1", n), OS: "linux"})
		require.Error(t, last)
	}
	assert.LessOrEqual(t, strings.Count(log.String(), "\n"), 11*limits.ImageFailureLogRate)
	assert.ErrorContains(t, last, "has too many such lines now")
}

func TestPullSecretsAreBounded(t *testing.T) {
	large := secretFor(t, fmt.Sprintf(`"username":"u","password":%q,"x":%q`, password, strings.Repeat("x", limits.ImagePullSecretBytes)))
	intricate := secretFor(t, fmt.Sprintf(`"username":"u","password":%q,"x":[0%s]`, password, strings.Repeat(",0", limits.ImageAnswerElements)))
	network := &recorded{RoundTripper: hosts{"r.test": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Basic realm=\"r\"")
		w.WriteHeader(http.StatusUnauthorized)
	}}}
	images, _ := memoryImages(t, network, TransportConfig{})
	_, err := images.ReadCommand(t.Context(), Query{Image: "r.test/app:1", OS: "linux", PullSecrets: []PullSecret{large, intricate}})
	require.Error(t, err)
	for _, request := range network.requests {
		assert.Contains(t, request, `auth=""`)
	}
	var many []PullSecret
	for n := range 100 {
		many = append(many, secretFor(t, fmt.Sprintf(`"username":"u%d","password":"x"`, n)))
	}
	_, err = images.ReadCommand(t.Context(), Query{Image: "r.test/app:2", OS: "linux", PullSecrets: many})
	require.Error(t, err)
	used := map[string]bool{}
	for _, request := range network.requests {
		used[regexp.MustCompile(`auth="[^"]*"`).FindString(request)] = true
	}
	assert.Len(t, used, limits.ImageCredentials+1)
}

func TestNamesOfImagesAreBounded(t *testing.T) {
	images, _ := memoryImages(t, hosts{}, TransportConfig{})
	for _, image := range []string{strings.Repeat("a", 1<<20), "r.test/" + strings.Repeat("é", 1000) + ":1", strings.Repeat("a.", 600) + "test/x:1"} {
		_, err := images.ReadCommand(t.Context(), Query{Image: image, OS: "linux"})
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
		assert.Less(t, len(err.Error()), 1000)
		assert.Empty(t, RegistryOf(image))
	}
	assert.Equal(t, "r.test:5000", RegistryOf("R.test:5000/app"))
	assert.Equal(t, "index.docker.io", RegistryOf("app"))
}

func TestWhichAddressesARegistryMayHave(t *testing.T) {
	config := TransportConfig{ClusterNetworks: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, IsForbidden: func(to netip.AddrPort) bool {
		return to == netip.MustParseAddrPort("10.0.0.1:443")
	}, AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.244.7.0/24"), netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("127.0.0.5/32")}}
	for text, allowed := range map[string]bool{
		"20.1.2.3:443": true, "10.1.2.3:443": true, "172.16.1.1:5000": true, "192.168.0.1:443": true, "100.64.1.1:443": true, "[2603:1030::1]:443": true,
		"[64:ff9b::1401:203]:443": true, "[::ffff:20.1.2.3]:443": true, "10.244.7.1:443": true, "127.0.0.5:443": true,
		"10.0.0.1:443": false, "[::ffff:10.0.0.1]:443": false, "10.244.1.1:443": false, "127.0.0.1:443": false, "[::ffff:127.0.0.1]:443": false,
		"[::ffff:169.254.169.254]:80": false, "169.254.169.254:80": false, "[fe80::1%eth0]:443": false, "[64:ff9b::a9fe:a9fe]:80": false,
		"[64:ff9b::af4:101]:443": false, "[2002:a9fe:a9fe::]:80": false, "[::a9fe:a9fe]:80": false, "[::]:443": false, "255.255.255.255:443": false,
		"100.100.100.200:80": false, "192.0.0.192:80": false, "[fd00:ec2::254]:80": false,
	} {
		assert.Equal(t, allowed, config.checkAddress(netip.MustParseAddrPort(text)) == nil, text)
	}
	assert.Error(t, config.checkDialAddress("registry.test:443"), "what is dialled is an address")
}

// TestAddressesAreCheckedWithoutADialToo is about a proxy: there, the address that is dialled is the proxy's.
func TestAddressesAreCheckedWithoutADialToo(t *testing.T) {
	s := newStore()
	s.image(runs("linux", "amd64", "app"), "1")
	network := &recorded{RoundTripper: hosts{"169.254.169.254": s.serve, "[fd00:ec2::254]": s.serve, "metadata.google.internal": s.serve,
		"r.test": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://169.254.169.254"+r.URL.Path, http.StatusFound)
		}}}
	images, _ := memoryImages(t, network, TransportConfig{})
	for _, image := range []string{"169.254.169.254/app:1", "[fd00:ec2::254]/app:1", "metadata.google.internal/app:1", "r.test/app:1"} {
		_, err := images.ReadCommand(t.Context(), Query{Image: image, OS: "linux"})
		assert.Error(t, err, image)
	}
	assert.Len(t, network.requests, len(network.to("r.test")))
}
