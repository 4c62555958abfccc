package ociimage

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	specs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func TestTheIdentitysTokenIsForRegistriesOfTheCloudAlone(t *testing.T) {
	azure := NewAzureRegistries(AzureRegistries{Suffix: "azurecr.io"})
	for host, ours := range map[string]bool{
		"mine1.azurecr.io": true, "MINE1.AzureCR.io": true,
		"mine1": false, "localhost": false, "azurecr.io": false, ".azurecr.io": false, "a.b.azurecr.io": false, "mine1azurecr.io": false, "mine1.azurecr.io.thief.test": false,
		"mine1.azurecr.io:443": false, "mine1.azurecr.cn": false, "thief.test/mine1.azurecr.io": false,
	} {
		assert.Equal(t, ours, azure.HasRegistry(host), host)
	}
	none := NewAzureRegistries(AzureRegistries{}) // a private cloud without registries
	for _, host := range []string{"mine1.", "mine1", ""} {
		assert.False(t, none.HasRegistry(host), host)
	}
}

func TestATokenOfAnAzureRegistryIsKeptForItsTimeAndBounded(t *testing.T) {
	now, exchanges, answer, status := time.Now(), 0, `{"refresh_token":"x"}`, http.StatusOK
	azure := NewAzureRegistries(AzureRegistries{Credential: identity{}, Suffix: "azurecr.io", Clock: func() time.Time { return now }, Transport: hosts{
		"mine1.azurecr.io": func(w http.ResponseWriter, _ *http.Request) {
			exchanges++
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, answer)
		}}})
	ask := func() (string, error) { return azure.RefreshToken(t.Context(), "mine1.azurecr.io") }
	for range 3 {
		token, err := ask()
		require.NoError(t, err)
		require.Equal(t, "x", token)
	}
	assert.Equal(t, 1, exchanges)
	now = now.Add(refreshTokenAge)
	_, err := ask()
	require.NoError(t, err)
	assert.Equal(t, 2, exchanges, "then there is a new one")

	for _, nonsense := range []string{`{}`, fmt.Sprintf(`{"refresh_token":%q}`, strings.Repeat("x", limits.ImageRegistryTokenBytes+1))} {
		now, answer = now.Add(refreshTokenAge), nonsense
		_, err = ask()
		assert.ErrorIs(t, err, errMalformedAnswer)
	}
	answer, status = `{}`, http.StatusUnauthorized
	_, err = ask()
	assert.Equal(t, fault.Denied, fault.KindOf(err))
	assert.ErrorContains(t, err, "answered 401")
	assert.Contains(t, fault.NextStepOf(err), "AcrPull")
}

func TestWhatACallAsksForDecidesItsBound(t *testing.T) {
	at := &lookupTrace{registry: "R.test"}
	for address, want := range map[string]contentKind{
		"https://r.test/v2/":                 contentPing,
		"https://r.test/v2/app/manifests/1":  contentManifest,
		"https://r.test/v2/app/blobs/sha":    contentBlob,
		"https://r.test/v2/app/tags/list":    contentToken,
		"https://r.test/token":               contentToken,
		"https://r.test/app/manifests/1":     contentToken,
		"https://t.test/v2/app/manifests/1":  contentToken,
		"https://t.test/v2/":                 contentToken,
		"https://r.test.evil/v2/app/blobs/x": contentToken,
	} {
		request, err := http.NewRequest(http.MethodGet, address, nil)
		require.NoError(t, err)
		assert.Equal(t, want, at.contentOf(request), address)
	}
}

// unread counts what is read of it.
type unread struct {
	io.Reader
	bytes int
}

func (u *unread) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	u.bytes += n
	return n, err
}

func (u *unread) Close() error { return nil }

func TestAnAnswerIsReadWithinTheBoundOfWhatItIs(t *testing.T) {
	deep := strings.Repeat("[", limits.ImageAnswerDepth+1)
	for name, c := range map[string]struct {
		of     contentKind
		status int
		length int64
		body   string
		want   error
		// most is read of the body; left of it is given on.
		most, left int
	}{
		"a manifest that says that it is too long": {contentManifest, 200, limits.ImageManifestBytes + 1, "{}", errAnswerTooLong, 0, 0},
		"a manifest that is too long": {contentManifest, 200, -1, strings.Repeat(" ", limits.ImageManifestBytes+100), errAnswerTooLong,
			limits.ImageManifestBytes + 1, 0},
		"a refusal that is too long":              {contentManifest, 403, -1, strings.Repeat(" ", 1<<20), nil, limits.ImageErrorBytes + 1, limits.ImageErrorBytes},
		"a refusal that says that it is too long": {contentManifest, 403, 1 << 30, "{}", nil, 2, 2},
		"a ping that is too long":                 {contentPing, 200, -1, strings.Repeat(" ", 1<<20), nil, limits.ImageErrorBytes + 1, limits.ImageErrorBytes},
		"a manifest that is too deep":             {contentManifest, 200, -1, deep, errAnswerTooComplex, len(deep), 0},
		"a refusal that is too deep":              {contentManifest, 500, -1, deep, nil, len(deep), len(deep)},
		"a partial answer":                        {contentBlob, 206, -1, strings.Repeat(" ", limits.ImageErrorBytes+9), nil, limits.ImageErrorBytes + 1, limits.ImageErrorBytes},
		"brackets in a text":                      {contentManifest, 200, -1, `{"a":"` + deep + `"}`, nil, len(deep) + 8, len(deep) + 8},
		"brackets after a quote in a text":        {contentManifest, 200, -1, `{"a":"\"` + deep + `"}`, nil, len(deep) + 10, len(deep) + 10},
		"brackets after a text that ends in \\":   {contentManifest, 200, -1, `{"a":"\\",` + deep, errAnswerTooComplex, len(deep) + 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			body := &unread{Reader: strings.NewReader(c.body)}
			answer := &http.Response{StatusCode: c.status, ContentLength: c.length, Header: http.Header{}, Body: body}
			err := (&lookupTrace{}).bufferAnswer(answer, c.of)
			assert.LessOrEqual(t, body.bytes, c.most)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				return
			}
			require.NoError(t, err)
			left, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			assert.Len(t, left, c.left)
			assert.True(t, bytes.HasPrefix([]byte(c.body), left))
		})
	}
	long := &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {strings.Repeat("x", limits.ImageChallengeBytes), "y"}}, Body: http.NoBody}
	assert.ErrorIs(t, (&lookupTrace{}).bufferAnswer(long, contentManifest), errChallengeTooLong)
}

func TestOnlyAChallengeOrAHeaderMarksARegistry(t *testing.T) {
	for name, c := range map[string]struct {
		header, value string
		marks         bool
	}{
		"the header of registries": {"Docker-Distribution-Api-Version", "registry/2.0", true},
		"a challenge for a token":  {"WWW-Authenticate", `Bearer realm="https://t.test/token"`, true},
		"one without a realm":      {"WWW-Authenticate", `Bearer error="x"`, false},
		"one for a password":       {"WWW-Authenticate", `Basic realm="r"`, false},
		"nothing":                  {"X", "y", false},
	} {
		at := &lookupTrace{registry: "r.test"}
		request, err := http.NewRequest(http.MethodGet, "https://r.test/v2/", nil)
		require.NoError(t, err)
		answer := &http.Response{Header: http.Header{}}
		answer.Header.Set(c.header, c.value)
		at.recordAnswer(request, answer)
		assert.Equal(t, c.marks, at.isRegistry(), name)
	}
}

func TestFurtherCredentialsAreNotShownToARegistryThatIsOutOfOrder(t *testing.T) {
	for status, all := range map[int]bool{http.StatusInternalServerError: false, http.StatusTooManyRequests: false, http.StatusUnauthorized: true, http.StatusNotFound: true} {
		network := &recorded{RoundTripper: hosts{"r.test": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.WriteHeader(status)
		}}}
		images, _ := memoryImages(t, network, TransportConfig{})
		first, second := secretFor(t, fmt.Sprintf(`"username":"first","password":%q`, password)), secretFor(t, fmt.Sprintf(`"username":"second","password":%q`, password))
		_, err := images.ReadCommand(t.Context(), Query{Image: "r.test/app:1", OS: "linux", PullSecrets: []PullSecret{first, second}})
		require.Error(t, err)
		shown := map[string]bool{}
		for _, request := range network.requests {
			if !strings.Contains(request, `auth=""`) {
				shown[request[strings.Index(request, "auth="):]] = true
			}
		}
		assert.Equal(t, map[bool]int{true: 2, false: 1}[all], len(shown), "%d: %v", status, network.requests)
	}
}

func TestAConnectionThatBreaksIsTriedOnceMore(t *testing.T) {
	s := newStore()
	s.image(runs("linux", "amd64", "app"), "1")
	for name, c := range map[string]struct {
		breaks error
		times  int
		works  bool
	}{
		"once": {io.EOF, 1, true}, "twice": {io.EOF, 2, false}, "in another way": {http.ErrUseLastResponse, 1, false},
	} {
		left := c.times
		images, _ := memoryImages(t, breaking{hosts{"r.test": s.serve}, &left, c.breaks}, TransportConfig{})
		_, err := images.ReadCommand(t.Context(), Query{Image: "r.test/app:1", OS: "linux"})
		assert.Equal(t, c.works, err == nil, "%s: %v", name, err)
	}
}

// breaking fails the first manifests.
type breaking struct {
	hosts
	left *int
	with error
}

func (b breaking) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, "/manifests/") && *b.left > 0 {
		*b.left--
		return nil, b.with
	}
	return b.hosts.RoundTrip(r)
}

func TestAnOldPullSecretIsBoundedToo(t *testing.T) {
	secret := func(content string) PullSecret {
		return ParsePullSecret(t.Context(), corev1.Secret{Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{corev1.DockerConfigKey: []byte(content)}})
	}
	assert.NotNil(t, secret(`{"r.test":{"username":"u","password":"`+password+`"}}`).keychain)
	large := fmt.Sprintf(`{"r.test":{"username":"u","password":%q,"x":%q}}`, password, strings.Repeat("x", limits.ImagePullSecretBytes))
	assert.Nil(t, secret(large).keychain)
}

func TestALargeEntryDoesNotCostTheOthers(t *testing.T) {
	c := newCache(1<<20, Command.size)
	for n := range 5 {
		c.add(fmt.Sprint(n), Command{Cmd: []string{strings.Repeat("x", 100<<10)}})
	}
	c.add("large", Command{Cmd: []string{strings.Repeat("x", 2<<20)}})
	assert.Len(t, c.entries, 5)
}

func TestOneAddressThatIsAllowedMayBeTheAPIServersToo(t *testing.T) {
	refused := func(to netip.AddrPort) bool { return to == netip.MustParseAddrPort("10.0.0.1:443") }
	allowed := TransportConfig{IsForbidden: refused, AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}
	assert.NoError(t, allowed.checkAddress(netip.MustParseAddrPort("10.0.0.1:443")), "somebody named this very address")
	network := TransportConfig{IsForbidden: refused, AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/31")}}
	assert.ErrorIs(t, network.checkAddress(netip.MustParseAddrPort("10.0.0.1:443")), errForbiddenAddress, "a network may have it by accident")
}

func TestImagesOfAnIndexThatReferToOtherObjectsAreNotEqual(t *testing.T) {
	one := Command{Entrypoint: []string{"a"}, Cmd: []string{"b"}, References: map[string]string{"A": "x@azurekeyvault"}}
	assert.True(t, one.equal(one))
	for _, other := range []Command{{Cmd: one.Cmd, References: one.References}, {Entrypoint: one.Entrypoint, References: one.References}, {Entrypoint: one.Entrypoint, Cmd: one.Cmd}} {
		assert.False(t, one.equal(other))
	}
}

func TestWhoHasToMakeRoomForALookup(t *testing.T) {
	old, young := time.Now().Add(-2*limits.ImageLookupGrace), time.Now()
	lookup := func(namespace, registry string, since time.Time) *lookupSlot {
		return &lookupSlot{namespace: namespace, registry: registry, startedAt: since}
	}
	of := func(namespace string, n int, since time.Time) (all []*lookupSlot) {
		for i := range n {
			all = append(all, lookup(namespace, fmt.Sprint("r", i), since))
		}
		return all
	}
	mine := lookup("mine", "new", young)
	for name, c := range map[string]struct {
		held   []*lookupSlot
		victim string
	}{
		"nobody, of none":                         {nil, ""},
		"nobody, of young ones":                   {of("greedy", 9, young), ""},
		"who has more":                            {of("greedy", 1, old), "greedy"},
		"not who has as many, but one of its own": {append(of("other", 1, old), of("mine", 1, old)...), "mine"},
		"not who has fewer, but one of its own":   {append(of("other", 1, old), of("mine", 2, old)...), "mine"},
		"of a full share one of its own alone":    {append(of("greedy", limits.ImageLookupsPerNamespace+3, old), of("mine", limits.ImageLookupsPerNamespace, old)...), "mine"},
		"nobody, if the registry has its share": {append(of("greedy", 9, old), slices.Repeat([]*lookupSlot{lookup("mine", "new", old)}, limits.ImageLookupsPerRegistry)...),
			""},
		"what another namespace has of that registry does not count": {append(of("greedy", 2, old), slices.Repeat([]*lookupSlot{lookup("greedy", "new", old)},
			limits.ImageLookupsPerRegistry)...), "greedy"},
	} {
		p := &lookupSlots{active: c.held}
		got := ""
		if victim := p.slotToReclaim(mine); victim != nil {
			got = victim.namespace
		}
		assert.Equal(t, c.victim, got, name)
	}
}

func TestThePortDecidesWhetherAnAddressIsTheAPIServers(t *testing.T) {
	s := newStore()
	s.image(runs("linux", "amd64", "app"), "1")
	network := &recorded{RoundTripper: hosts{"10.0.0.1:6443": s.serve, "10.0.0.1": s.serve, "10.0.0.2": s.serve, "10.0.0.2:5000": s.serve}}
	images, _ := memoryImages(t, network, TransportConfig{PlainHTTP: []string{"10.0.0.2", "10.0.0.2:80"}, IsForbidden: func(to netip.AddrPort) bool {
		return to == netip.MustParseAddrPort("10.0.0.1:6443") || to == netip.MustParseAddrPort("10.0.0.2:80") || to == netip.MustParseAddrPort("10.0.0.2:443")
	}})
	for image, allowed := range map[string]bool{"10.0.0.1:6443/app:1": false, "10.0.0.1/app:1": true, "10.0.0.2/app:1": false, "10.0.0.2:5000/app:1": true} {
		network.requests = nil
		_, err := images.ReadCommand(t.Context(), Query{Image: image, OS: "linux"})
		assert.Equal(t, allowed, err == nil, "%s: %v", image, err)
		assert.Equal(t, allowed, len(network.requests) > 0, image)
	}
}

func TestAConfigurationInsideAManifestIsWeighedToo(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		want   error
	}{
		"modest":  {`{"os":"linux","architecture":"amd64","config":{"Cmd":["app"]}}`, nil},
		"complex": {`{"os":"linux","architecture":"amd64","x":[1` + strings.Repeat(",1", limits.ImageAnswerElements) + `]}`, errAnswerTooComplex},
		"none":    {`nonsense`, errMalformedAnswer},
	} {
		s := newStore()
		sum := sha256.Sum256([]byte(c.config))
		manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"layers":[],"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%x","size":%d,"data":%q}}`,
			ociManifest, sum, len(c.config), base64.StdEncoding.EncodeToString([]byte(c.config)))
		s.put(ociManifest, []byte(manifest), "1")
		images, log := memoryImages(t, hosts{"r.test": s.serve}, TransportConfig{})
		command, err := images.ReadCommand(t.Context(), Query{Image: "r.test/app:1", OS: "linux"})
		if c.want == nil {
			require.NoError(t, err, name)
			assert.Equal(t, []string{"app"}, command.Cmd)
			continue
		}
		require.Error(t, err, name)
		assert.Contains(t, log.String(), c.want.Error(), name)
	}
}

func TestAConfigurationThatSaysThatItIsTooLongIsNotAskedFor(t *testing.T) {
	s := newStore()
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"layers":[],"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%064d","size":%d}}`,
		ociManifest, 1, limits.ImageConfigBytes+1)
	s.put(ociManifest, []byte(manifest), "1")
	network := &recorded{RoundTripper: hosts{"r.test": s.serve}}
	images, log := memoryImages(t, network, TransportConfig{})
	_, err := images.ReadCommand(t.Context(), Query{Image: "r.test/app:1", OS: "linux"})
	require.Error(t, err)
	assert.Contains(t, log.String(), errAnswerTooLong.Error())
	assert.NotContains(t, fmt.Sprint(network.requests), "/blobs/")
}

func TestAnImageWithoutAPlatformInItsIndexFitsByItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		of           platformSearch
		os, platform string
		fits         bool
	}{
		"the same":              {platformSearch{os: "linux", architecture: "amd64"}, "linux", "amd64", true},
		"any architecture":      {platformSearch{os: "linux"}, "linux", "s390x", true},
		"another architecture":  {platformSearch{os: "linux", architecture: "amd64"}, "linux", "arm64", false},
		"another system":        {platformSearch{os: "linux"}, "windows", "amd64", false},
		"none of a system":      {platformSearch{os: "linux"}, "", "amd64", false},
		"none of architectures": {platformSearch{os: "linux"}, "linux", "", false},
	} {
		assert.Equal(t, c.fits, c.of.canRunOnPodNodes(specs.Platform{OS: c.os, Architecture: c.platform}), name)
	}
	artifact := v1.Descriptor{MediaType: "application/vnd.in-toto+json"}
	image := v1.Descriptor{MediaType: ociManifest}
	linux := v1.Descriptor{MediaType: ociManifest, Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}
	anywhere, here := platformSearch{os: "linux"}, platformSearch{os: "linux", architecture: "amd64"}
	assert.Equal(t, []v1.Descriptor{image}, here.candidateEntries([]v1.Descriptor{artifact, image}), "what is no image is not asked for")
	assert.Equal(t, []v1.Descriptor{linux}, here.candidateEntries([]v1.Descriptor{image, linux}), "one without a platform only if nothing else fits")
	assert.Contains(t, anywhere.candidateEntries([]v1.Descriptor{image, linux}), image)
}

func TestAMirrorIsAskedForTheVeryDigest(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	r := Registries{Mirrors: map[string][]string{"r.test": {"mirror.test/cache", "not a host"}}}
	for from, want := range map[string]string{"r.test/app:1": "mirror.test/cache/app:1", "r.test/app@" + digest: "mirror.test/cache/app@" + digest} {
		reference, err := name.ParseReference(from)
		require.NoError(t, err)
		mirrors := r.mirrorsOf(reference)
		require.Len(t, mirrors, 1, "what is no name is left out")
		assert.Equal(t, want, mirrors[0].Name())
	}
}
