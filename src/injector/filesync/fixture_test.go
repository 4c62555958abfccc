package filesync

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/broker/client"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// canary is in each value, token and answer that no log line may have.
const canary = "canary-8c1f"

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.Lock()
	defer b.Unlock()
	return b.buffer.String()
}

// fakeBroker answers over TLS as the broker does.
type fakeBroker struct {
	sync.Mutex
	t            *testing.T
	directories  map[string]map[string]wire.FileContent
	refreshAfter string
	// failure is the answer, if it is set.
	failure *wire.ErrorResponse
	token   string
	// etags are the If-None-Match of each request, and answers their statuses.
	etags   []string
	answers []int
}

// set makes these files the content of a directory.
func (b *fakeBroker) set(directory string, contents map[string]string) {
	b.Lock()
	defer b.Unlock()
	files := map[string]wire.FileContent{}
	for path, content := range contents {
		files[path] = wire.FileContent{Content: []byte(content), Mode: 0o440}
	}
	b.directories[directory] = files
}

func (b *fakeBroker) fail(failure *wire.ErrorResponse) {
	b.Lock()
	defer b.Unlock()
	b.failure = failure
}

func (b *fakeBroker) requests() (etags []string, answers []int) {
	b.Lock()
	defer b.Unlock()
	return slices.Clone(b.etags), slices.Clone(b.answers)
}

func (b *fakeBroker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.Lock()
	defer b.Unlock()
	assert.Equal(b.t, "Bearer "+b.token, r.Header.Get("Authorization"))
	b.etags = append(b.etags, r.Header.Get("If-None-Match"))
	status := http.StatusOK
	defer func() { b.answers = append(b.answers, status) }()
	w.Header().Set(wire.HeaderRefreshAfter, b.refreshAfter)
	if b.failure != nil {
		status = http.StatusServiceUnavailable
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(b.failure)
		return
	}
	body, err := json.Marshal(wire.FilesResponse{Directories: b.directories})
	assert.NoError(b.t, err)
	hash := fnv.New64a()
	_, _ = hash.Write(body)
	etag := fmt.Sprintf(`"%x"`, hash.Sum64())
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		status = http.StatusNotModified
		w.WriteHeader(status)
		return
	}
	_, _ = w.Write(body)
}

// fixture is a Syncer for two directories with a broker of its own. Its clock advances when it sleeps.
type fixture struct {
	*testing.T
	volume string
	broker *fakeBroker
	server *httptest.Server
	config Config
	log    *lockedBuffer
	syncer *Syncer

	lock  sync.Mutex
	now   time.Time
	slept []time.Duration
	// onSleep is called in each sleep.
	onSleep func(d time.Duration) error
}

// memoryDir is an empty directory in memory, where the machine has one.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "filesync")
	if err != nil {
		t.Logf("a directory on disk is used, because /dev/shm can't be: %v", err)
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, volume: memoryDir(t), log: &lockedBuffer{}, now: time.Unix(1, 0),
		broker: &fakeBroker{t: t, refreshAfter: "300", token: canary + "-token", directories: map[string]map[string]wire.FileContent{}}}
	f.broker.set("tls", map[string]string{"tls.crt": canary + " certificate 1", "sub/tls.key": canary + " key 1"})
	f.broker.set("app", map[string]string{"password": canary + " password 1"})
	f.server = httptest.NewUnstartedServer(f.broker)
	f.server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	f.config = Config{Volume: f.volume, Source: f.newClient(), Log: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Files: wire.PodFiles{Directories: map[string][]wire.FileEntry{"tls": nil, "app": nil}},
		Clock: func() time.Time {
			f.lock.Lock()
			defer f.lock.Unlock()
			return f.now
		},
		Sleep: f.sleep, Jitter: func(most time.Duration) time.Duration { return most }, ReleaseMemory: func() {}}
	f.onSleep = func(time.Duration) error { return nil }
	f.restart()
	t.Cleanup(func() { assert.NotContains(t, f.log.String(), canary) })
	return f
}

// newClient is a client of the fixture's broker, with its token of the time of each request.
func (f *fixture) newClient() *client.Client {
	at, err := url.Parse(f.server.URL)
	require.NoError(f, err)
	c, err := client.New(client.Config{Broker: "example.com:" + at.Port(), ServiceAddress: at.Host,
		CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})),
		ReadToken: func() (string, error) {
			f.broker.Lock()
			defer f.broker.Unlock()
			return f.broker.token, nil
		}})
	require.NoError(f, err)
	return c
}

// restart makes a new Syncer, as in a new process.
func (f *fixture) restart() {
	f.Helper()
	var err error
	f.syncer, err = New(f.config)
	require.NoError(f, err)
}

func (f *fixture) sleep(ctx context.Context, d time.Duration) error {
	f.lock.Lock()
	f.slept, f.now = append(f.slept, d), f.now.Add(d)
	f.lock.Unlock()
	if err := f.onSleep(d); err != nil {
		return err
	}
	return ctx.Err()
}

// sleepReally waits, and ends with the context.
func sleepReally(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runRounds runs a loop of the Syncer. Before each sleep but those for old files, it calls step with the number of the
// sleep, beginning with 1, until step returns false.
func (f *fixture) runRounds(loop func(context.Context), step func(number int, wait time.Duration) bool) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	defer cancel()
	number := 0
	f.onSleep = func(d time.Duration) error {
		if number++; !step(number, d) {
			cancel()
			return context.Canceled
		}
		return nil
	}
	loop(ctx)
	f.onSleep = func(time.Duration) error { return nil }
}

// read are the files of a directory as a reader sees them, by path.
func (f *fixture) read(directory string) map[string]string {
	f.Helper()
	all, root := map[string]string{}, filepath.Join(f.volume, directory)
	data, err := filepath.EvalSymlinks(filepath.Join(root, "..data"))
	if os.IsNotExist(err) {
		return all
	}
	require.NoError(f, err)
	require.NoError(f, filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(data, path)
		require.NoError(f, err)
		content, err := os.ReadFile(filepath.Join(root, name)) // by the link
		all[name] = string(content)
		return err
	}))
	entries, err := os.ReadDir(root)
	require.NoError(f, err)
	for _, entry := range entries {
		_, err := os.Stat(filepath.Join(root, entry.Name()))
		assert.NoError(f, err, "a link leads nowhere")
	}
	return all
}

// occurs reports whether a text is in any file below the volume.
func (f *fixture) occurs(text string) (found bool) {
	f.Helper()
	require.NoError(f, filepath.WalkDir(f.volume, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		found = found || strings.Contains(string(content), text)
		return err
	}))
	return found
}

// countWarnings counts the warnings of the log.
func (f *fixture) countWarnings() int { return strings.Count(f.log.String(), "level=WARN") }

var unavailable = &wire.ErrorResponse{Kind: string(fault.Unavailable), Message: "the vault does not answer"}

// pairOf are two files that belong together, of different sizes.
func pairOf(number int) (certificate, key string) {
	line := strconv.Itoa(number) + "\n"
	return strings.Repeat(line, 40+number%60), strings.Repeat(line, 30+number%90)
}
