package ociimage

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

// Budgets of one input. Time is generous, because fuzzing shares the machine; bytes are exact enough to find what
// grows.
const (
	fuzzTime  = 5 * time.Second
	fuzzBytes = 64 << 20
)

// frugal fails when one input takes too much time or memory.
func frugal(t *testing.T, do func()) {
	t.Helper()
	fuzzbudget.Check(t, fuzzbudget.Budget{Time: fuzzTime, Bytes: fuzzBytes}, 0, do)
}

// checkCommand checks what must hold of any result.
func checkCommand(t *testing.T, got Command, err error) {
	t.Helper()
	assert.LessOrEqual(t, got.size(), limits.ImageCommandBytes)
	if err != nil {
		assert.Zero(t, got)
		assert.Less(t, len(err.Error()), 4*limits.ImageNameBytes)
		assert.NotContains(t, err.Error(), canaryText)
	}
}

// canaryText is in the answers of the seeds. No message must contain it.
const canaryText = "canary-of-an-answer"

func FuzzImageReference(f *testing.F) {
	for _, seed := range []string{"app", "r.test/app:1", "r.test:5000/team/app@sha256:" + strings.Repeat("a", 64), "[::1]:5000/x", "10.1.2.3/x", "R.test/x", "r.test/x:1@sha256:0",
		"docker.io/library/app", "localhost:5000/x", "é/x", "a:b:c", "", "/", "http://r.test/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, image string) {
		images, log := memoryImages(t, hosts{}, TransportConfig{})
		frugal(t, func() {
			got, err := images.ReadCommand(t.Context(), Query{Namespace: "a", Image: image, OS: "linux"})
			assert.Error(t, err)
			checkCommand(t, got, err)
		})
		assert.Less(t, len(log.String()), 4*limits.ImageNameBytes+1000)
	})
}

// FuzzManifest has any bytes as the answer for a manifest, of any type; digests in it lead to an image.
func FuzzManifest(f *testing.F) {
	s := newStore()
	image := s.image(runs("linux", "amd64", "app"), "1")
	s.index([]map[string]any{image, on(image, "linux", "amd64", "")}, "index")
	for _, name := range []string{"1", "index"} {
		f.Add(s.contents[name], s.types[name])
	}
	f.Add([]byte(`{"manifests":[`+strings.Repeat(`{},`, 5000)+`{}]}`), ociIndex)
	f.Add([]byte(`{"schemaVersion":1,"name":"`+canaryText+`"}`), "application/vnd.docker.distribution.manifest.v1+prettyjws")
	f.Add([]byte(strings.Repeat("[", 1000)), "")
	f.Fuzz(func(t *testing.T, content []byte, mediaType string) {
		images, _ := memoryImages(t, hosts{"r.test": func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/manifests/fuzzed") {
				w.Header()["Content-Type"] = []string{mediaType}
				_, _ = w.Write(content)
				return
			}
			s.serve(w, r)
		}}, TransportConfig{})
		frugal(t, func() {
			got, err := images.ReadCommand(t.Context(), Query{Namespace: "a", Image: "r.test/app:fuzzed", OS: "linux"})
			checkCommand(t, got, err)
		})
	})
}

// FuzzConfig has any bytes as the configuration of an image, under a digest that fits.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","architecture":"amd64","config":{"Cmd":["app"],"Entrypoint":["/x"],"Env":["A=b@azurekeyvault"]}}`))
	f.Add([]byte(`{"config":{"Env":["` + strings.Repeat(`=","`, 3000) + `"]}}`))
	f.Add([]byte(`{"config":{"Cmd":"` + canaryText + `"}}`))
	f.Add([]byte(`{"config":null}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, content []byte) {
		s := newStore()
		digest := s.put("", content)
		s.put(ociManifest, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"layers":[],"config":{"digest":%q,"size":%d}}`, ociManifest, digest, len(content)), "1")
		frugal(t, func() {
			got, err := command(t, s, "")
			checkCommand(t, got, err)
		})
	})
}

// FuzzChallenge has any WWW-Authenticate header; the password goes nowhere but to the registry and to an HTTPS address
// that it names.
func FuzzChallenge(f *testing.F) {
	for _, seed := range []string{`Bearer realm="https://t.test/token",service="r.test",scope="repository:app:pull"`, `Basic realm="x"`, `Bearer realm="http://t.test/"`,
		`Bearer realm="https://169.254.169.254/x"`, `Bearer realm="file:///etc/passwd"`, "Bearer", `Bearer realm="`, strings.Repeat(`a="\a",`, 500), "Negotiate", `Bearer realm=":"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, challenge string) {
		network := &recorded{RoundTripper: hosts{"r.test": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Www-Authenticate"] = []string{challenge}
			w.WriteHeader(http.StatusUnauthorized)
		}, "t.test": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"token":"` + canaryText + `"}`)) }}}
		images, log := memoryImages(t, network, TransportConfig{})
		secret := secretFor(t, fmt.Sprintf(`"username":"u","password":%q`, password))
		frugal(t, func() {
			got, err := images.ReadCommand(t.Context(), Query{Namespace: "a", Image: "r.test/app:1", OS: "linux", PullSecrets: []PullSecret{secret}})
			assert.Error(t, err)
			checkCommand(t, got, err)
			assert.NotContains(t, err.Error()+log.String(), password)
		})
		for _, request := range network.requests {
			assert.Contains(t, request, " https://", "a password goes nowhere without TLS")
		}
	})
}

// FuzzToken has any bytes as the answer of a token server.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{`{"token":"` + canaryText + `"}`, `{"access_token":"` + canaryText + `"}`, `{"refresh_token":"x"}`, canaryText, "{}", `{"token":"a\nb"}`, `{"expires_in":1e400}`} {
		f.Add([]byte(seed), 200)
	}
	f.Add([]byte(`{"errors":[{"code":"`+canaryText+`","detail":[[[]]]}]}`), 403)
	f.Fuzz(func(t *testing.T, content []byte, status int) {
		s := newStore()
		s.image(runs("linux", "amd64", "app"), "1")
		images, log := memoryImages(t, hosts{"r.test": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Bearer realm="https://t.test/token",service="r.test"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			s.serve(w, r)
		}, "t.test": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200 + max(status, -status)%400)
			_, _ = w.Write(content)
		}}, TransportConfig{})
		frugal(t, func() {
			got, err := images.ReadCommand(t.Context(), Query{Namespace: "a", Image: "r.test/app:1", OS: "linux"})
			checkCommand(t, got, err)
		})
		assert.NotContains(t, log.String(), canaryText)
	})
}
