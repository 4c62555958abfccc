package ociimage

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// on gives a descriptor a platform.
func on(descriptor map[string]any, os, architecture, variant string) map[string]any {
	with := maps.Clone(descriptor)
	platform := map[string]any{"os": os, "architecture": architecture}
	if variant != "" {
		platform["variant"] = variant
	}
	with["platform"] = platform
	return with
}

// command reads the command of image 1 of a store.
func command(t testing.TB, s *store, architecture string) (Command, error) {
	t.Helper()
	images, _ := memoryImages(t, hosts{"r.test": s.serve}, TransportConfig{})
	return images.ReadCommand(t.Context(), Query{Namespace: "a", Image: "r.test/app:1", OS: "linux", Architecture: architecture})
}

func TestIndexesAreReadAsContainerdReadsThem(t *testing.T) {
	type entries = []map[string]any
	s := newStore()
	amd, arm := s.image(runs("linux", "amd64", "amd")), s.image(runs("linux", "arm64", "arm"))
	v7, v6 := s.image(runs("linux", "arm", "v7")), s.image(runs("linux", "arm", "v6"))
	windows, old := s.image(runs("windows", "amd64", "windows")), s.image(runs("linux", "386", "386"))
	attestation := on(s.image(map[string]any{}), "unknown", "unknown", "")
	nested := s.index(entries{on(amd, "linux", "amd64", ""), on(arm, "linux", "arm64", "")})
	differ := "different commands"
	for name, c := range map[string]struct {
		entries entries
		// want is the command by architecture; says is part of an error.
		want, says map[string]string
	}{
		"no platform":                     {entries{amd}, map[string]string{"": "amd", "amd64": "amd"}, map[string]string{"arm64": "no manifest for the pod's platform (linux/arm64)"}},
		"no platforms, one of which fits": {entries{windows, attestation, amd, arm}, map[string]string{"amd64": "amd", "arm64": "arm"}, map[string]string{"": differ}},
		"other spellings": {entries{on(amd, "Linux", "x86_64", ""), on(arm, "LINUX", "aarch64", "8"), on(windows, "windows", "x86-64", "")},
			map[string]string{"amd64": "amd", "arm64": "arm"}, map[string]string{"": differ, "s390x": "no manifest"}},
		"a variant": {entries{on(arm, "linux", "arm64", "v8"), on(amd, "linux", "amd64", "v1")}, map[string]string{"amd64": "amd", "arm64": "arm"}, nil},
		"nested":    {entries{nested, attestation}, map[string]string{"amd64": "amd", "arm64": "arm"}, map[string]string{"": differ}},
		"nested with a platform": {entries{on(nested, "linux", "arm64", ""), on(amd, "linux", "amd64", "")}, map[string]string{"amd64": "amd", "arm64": "arm"},
			nil},
		"a match goes before what has no platform": {entries{arm, on(amd, "linux", "amd64", "")}, map[string]string{"amd64": "amd"}, nil},
		"the first of two":                         {entries{on(amd, "linux", "amd64", ""), on(old, "linux", "amd64", "")}, map[string]string{"amd64": "amd", "": "amd"}, nil},
		"32 bits where there is nothing else":      {entries{on(old, "linux", "386", ""), attestation}, map[string]string{"amd64": "386"}, nil},
		"not 32 bits where there is 64": {entries{on(old, "linux", "386", ""), on(amd, "linux", "amd64", "")}, map[string]string{"amd64": "amd"},
			map[string]string{"": differ}},
		"nodes of one label run different variants": {entries{on(v7, "linux", "arm", "v7"), on(v6, "linux", "arm", "v6")}, nil, map[string]string{"arm": differ}},
		"an older variant":                          {entries{on(v6, "linux", "arm", "6"), on(amd, "linux", "amd64", "")}, map[string]string{"arm": "v6"}, nil},
		"only an attestation":                       {entries{attestation}, nil, map[string]string{"": "no manifest for the pod's platform (linux)", "amd64": "no manifest"}},
		"only Windows":                              {entries{on(windows, "windows", "amd64", "")}, nil, map[string]string{"": "no manifest", "amd64": "no manifest"}},
	} {
		s.index(c.entries, "1")
		for architecture, want := range c.want {
			got, err := command(t, s, architecture)
			if assert.NoError(t, err, "%s on %q", name, architecture) {
				assert.Equal(t, []string{want}, got.Cmd, "%s on %q", name, architecture)
			}
		}
		for architecture, says := range c.says {
			_, err := command(t, s, architecture)
			assert.ErrorContains(t, err, says, "%s on %q", name, architecture)
		}
	}
}

func TestIndexesAreBounded(t *testing.T) {
	s := newStore()
	var many []map[string]any
	for n := range limits.ImageManifests + 1 {
		many = append(many, on(s.image(runs("linux", "amd64", fmt.Sprint(n))), "linux", fmt.Sprint("cpu", n), ""))
	}
	s.index(many, "1")
	_, err := command(t, s, "")
	assert.ErrorContains(t, err, "more than 24 manifests for the pod; select an architecture by kubernetes.io/arch")
	got, err := command(t, s, "cpu3")
	require.NoError(t, err)
	assert.Equal(t, []string{"3"}, got.Cmd)

	deep := s.image(runs("linux", "amd64", "app"))
	for range limits.ImageIndexDepth {
		deep = s.index([]map[string]any{deep}, "1")
	}
	_, err = command(t, s, "")
	require.NoError(t, err)
	s.index([]map[string]any{deep}, "1")
	_, err = command(t, s, "")
	assert.ErrorContains(t, err, "more than 3 levels of indexes")
}

func TestACommandIsBounded(t *testing.T) {
	s := newStore()
	for part, config := range map[string]map[string]any{
		"Cmd":        {"Cmd": []string{strings.Repeat("x", limits.ImageCommandBytes)}},
		"Entrypoint": {"Entrypoint": []string{strings.Repeat("x", limits.ImageCommandBytes)}},
		"elements":   {"Cmd": strings.Split(strings.Repeat("x,", 9_000), ",")},
		"references": {"Env": []string{"A=" + strings.Repeat("x", limits.ImageCommandBytes) + "@azurekeyvault"}},
	} {
		s.image(map[string]any{"os": "linux", "architecture": "amd64", "config": config}, "1")
		_, err := command(t, s, "")
		assert.ErrorContains(t, err, "the image's entrypoint, command and references have", part)
		assert.ErrorContains(t, err, "the limit is 128 KiB", part)
		assert.Less(t, len(err.Error()), 500, part)
	}
	s.image(map[string]any{"os": "linux", "architecture": "amd64", "config": map[string]any{"Cmd": []string{"app"}, "Env": []string{"A=" + strings.Repeat("x", 1<<20)}}}, "1")
	_, err := command(t, s, "")
	require.NoError(t, err, "what is not kept does not count")
}

func TestWhatIsRememberedOfImagesIsBoundedInBytes(t *testing.T) {
	c := newCache(1<<20, Command.size)
	held := func() int {
		size := 0
		for _, element := range c.entries {
			size += element.Value.(cacheEntry[Command]).size
		}
		return size
	}
	for n := range 1000 {
		c.add(fmt.Sprint(n), Command{Cmd: []string{strings.Repeat("x", 100<<10)}})
		require.LessOrEqual(t, held(), 1<<20)
		require.Equal(t, held(), c.usedBytes)
	}
	assert.Len(t, c.entries, 10)
	_, ok := c.get("999")
	assert.True(t, ok)
	_, ok = c.get("0")
	assert.False(t, ok)
	c.get("990")
	c.add("new", Command{Cmd: []string{strings.Repeat("x", 100<<10)}})
	_, ok = c.get("990")
	assert.True(t, ok, "the least recently used goes first")
	_, ok = c.get("991")
	assert.False(t, ok)
	c.add("new", Command{Cmd: []string{strings.Repeat("x", 2<<20)}})
	_, ok = c.get("new")
	assert.False(t, ok)
	assert.Equal(t, held(), c.usedBytes)
	tags := newCache(limits.ImageTagCacheBytes, func(s resolvedTag) int { return len(s.digest) })
	for n := range 20_000 {
		tags.add(fmt.Sprintf("%064d", n), resolvedTag{strings.Repeat("d", 71), time.Now()})
	}
	assert.LessOrEqual(t, tags.usedBytes, limits.ImageTagCacheBytes)
	assert.Greater(t, len(tags.entries), 3000)
}

// TestManyLargeImagesTakeLittleMemory is the attack on memory: 61 images whose commands had 7 MiB each kept 443 MiB.
func TestManyLargeImagesTakeLittleMemory(t *testing.T) {
	s := newStore()
	images, _ := memoryImages(t, hosts{"r.test": s.serve}, TransportConfig{})
	inUse := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := inUse()
	for n := range 300 {
		clear(s.contents)
		s.image(runs("linux", "amd64", strings.Repeat("x", 120<<10)+fmt.Sprint(n)), fmt.Sprint(n))
		_, err := images.ReadCommand(t.Context(), Query{Image: fmt.Sprintf("r.test/app:%d", n), OS: "linux"})
		require.NoError(t, err)
	}
	clear(s.contents)
	assert.Less(t, inUse(), before+(limits.ImageCacheBytes+limits.ImageTagCacheBytes)*3/2)
	runtime.KeepAlive(images)
}

func TestContentIsWhatItsDigestSays(t *testing.T) {
	s := newStore()
	good := s.image(runs("linux", "amd64", "good"))
	s.image(runs("linux", "amd64", "evil"), "evil")
	images := func(change func(path string) string) *Images {
		images, _ := memoryImages(t, hosts{"r.test": func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path = change(r.URL.Path)
			s.serve(w, r)
		}}, TransportConfig{})
		return images
	}
	swap := func(kind string) func(string) string {
		return func(path string) string {
			var manifest struct{ Config struct{ Digest string } }
			_ = json.Unmarshal(s.contents["evil"], &manifest)
			if strings.Contains(path, "/"+kind+"/") {
				return map[string]string{"manifests": "/v2/app/manifests/evil", "blobs": "/v2/app/blobs/" + manifest.Config.Digest}[kind]
			}
			return path
		}
	}
	ask := func(images *Images) error {
		got, err := images.ReadCommand(t.Context(), Query{Image: "r.test/app@" + good["digest"].(string), OS: "linux"})
		if err == nil {
			assert.Equal(t, []string{"good"}, got.Cmd)
		}
		return err
	}
	require.NoError(t, ask(images(func(path string) string { return path })))
	for _, kind := range []string{"manifests", "blobs"} {
		assert.Equal(t, fault.Unavailable, fault.KindOf(ask(images(swap(kind)))), kind)
	}
	// A manifest of an index.
	s.index([]map[string]any{on(good, "linux", "amd64", "")}, "1")
	swapped := images(func(path string) string {
		return strings.Replace(path, good["digest"].(string), "evil", 1)
	})
	_, err := swapped.ReadCommand(t.Context(), Query{Image: "r.test/app:1", OS: "linux"})
	assert.Error(t, err)
}

func TestAnswersAreBoundedByWhatTheyAre(t *testing.T) {
	read := map[string]int64{}
	s := newStore()
	s.image(runs("linux", "amd64", "app"), "1")
	for kind, bound := range map[string]int64{"manifests": limits.ImageManifestBytes, "blobs": limits.ImageConfigBytes, "token": limits.ImageTokenBytes} {
		images, log := memoryImages(t, streams{hosts{"r.test": func(w http.ResponseWriter, r *http.Request) {
			if kind == "token" && r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Bearer realm="https://t.test/token",service="r"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			s.serve(w, r)
		}, "t.test": s.serve}, kind, read}, TransportConfig{})
		_, err := images.ReadCommand(t.Context(), Query{Image: "r.test/app:1", OS: "linux"})
		assert.Error(t, err, kind)
		assert.Contains(t, log.String(), errAnswerTooLong.Error(), kind)
		assert.Positive(t, read[kind], kind)
		assert.LessOrEqual(t, read[kind], bound+4<<10, kind)
	}
}

// streams answers requests of a kind without end, and counts what is read.
type streams struct {
	hosts
	kind string
	read map[string]int64
}

func (s streams) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := s.hosts.RoundTrip(r)
	if err == nil && strings.Contains(r.URL.Path, "/"+s.kind) {
		answer.StatusCode, answer.ContentLength, answer.Body = http.StatusOK, -1, endless{s}
	}
	return answer, err
}

type endless struct{ streams }

func (e endless) Read(p []byte) (int, error) {
	for n := range p {
		p[n] = 'x'
	}
	e.read[e.kind] += int64(len(p))
	return len(p), nil
}

func (endless) Close() error { return nil }
