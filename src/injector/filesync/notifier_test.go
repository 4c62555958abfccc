package filesync

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

func TestOnlyTheLoopbackInterfaceIsCalled(t *testing.T) {
	for _, url := range []string{"http://localhost", "http://localhost:8080/-/reload?a=b", "http://127.0.0.1:1/", "http://[::1]:8080", "http://LOCALHOST/"} {
		_, err := ParsePodFiles(`{"directories":{"a":[]},"onChange":"` + url + `"}`)
		assert.NoError(t, err, url)
	}
	for _, url := range []string{"https://localhost/", "http://127.0.0.2/", "http://10.1.2.3/", "http://example.com/", "http://localhost.example.com/", "http://localhost@example.com/",
		"http://user:" + canary + "@localhost/", "http://0.0.0.0/", "http://[::]/", "http://[::ffff:10.1.2.3]/", "http://169.254.169.254/", "http://2130706433/", "http:///x", "//localhost/",
		"localhost:8080", "file:///etc/passwd", "unix://localhost", "http://localhost:" + canary, "http://localhost\\u0000/", "http://[::1%25eth0]/", "http://127.1/"} {
		_, err := ParsePodFiles(`{"directories":{"a":[]},"onChange":"` + url + `"}`)
		assert.Equal(t, fault.Invalid, fault.KindOf(err), url)
		assert.Contains(t, fault.NextStepOf(err), "http://localhost:PORT/PATH")
		assert.NotContains(t, err.Error(), canary)
	}
	for _, address := range []string{"example.com:80", "10.1.2.3:80", "0.0.0.0:80", "[::]:80", "localhost", ""} {
		_, err := dialLoopback(t.Context(), "tcp", address)
		assert.Error(t, err, address)
	}
}

// newProgram starts a server in the place of the pod's program.
func newProgram(t *testing.T, handler http.HandlerFunc) (onChange string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL + "/-/reload?key=" + canary
}

// newNotifyingFixture is a fixture that has written its files once.
func newNotifyingFixture(t *testing.T, onChange string) *fixture {
	t.Helper()
	f := newFixture(t)
	f.config.Files.OnChange = onChange
	f.restart()
	require.NoError(t, f.syncer.Sync(t.Context()))
	return f
}

// change changes a file and runs a round.
func (f *fixture) change(content string) {
	f.Helper()
	f.broker.set("app", map[string]string{"password": content})
	require.NoError(f, f.syncer.Sync(f.Context()))
}

// waitFor waits until a condition is true.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 8*time.Second, 2*time.Millisecond)
}

func TestTheProgramIsCalledAfterAChange(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // must not be asked
	calls := make(chan string, 10)
	f := newNotifyingFixture(t, newProgram(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls <- strings.Join([]string{r.Method, r.URL.Path, string(body)}, " ")
	}))
	require.NoError(t, f.syncer.Sync(t.Context()), "no change")
	assert.Empty(t, calls, "the program starts after the first files")
	f.change("2")
	assert.Equal(t, "POST /-/reload ", <-calls)

	f.broker.set("app", map[string]string{"password": "3"})
	f.restart()
	require.NoError(t, f.syncer.Sync(t.Context()))
	assert.Equal(t, "POST /-/reload ", <-calls, "the change came while the sidecar was restarted")
	assert.Zero(t, f.countWarnings())
}

func TestTheProgramIsCalledAgainUntilItAccepts(t *testing.T) {
	var calls atomic.Int32
	accepted := make(chan struct{})
	f := newNotifyingFixture(t, newProgram(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) < limits.OnChangeTries {
			http.Error(w, canary, http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
		close(accepted)
	}))
	f.change("2")
	<-accepted
	assert.EqualValues(t, limits.OnChangeTries, calls.Load())
	assert.Zero(t, f.countWarnings())
}

func TestAProgramThatDoesNotAcceptIsOneWarning(t *testing.T) {
	huge := func(w http.ResponseWriter) {
		for range 1 << 10 {
			_, _ = io.WriteString(w, strings.Repeat(canary, 100))
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"a refusal": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, http.StatusForbidden) }, `error="status 403"`},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/-/reload" {
				t.Error("the redirect was followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, `error="status 307"`},
		"a long refusal": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			huge(w)
		}, `error="status 500"`},
		"a header that is too long": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat(canary, limits.OnChangeAnswerBytes))
		}, `error="no HTTP response"`},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			assert.NoError(t, err)
			_, _ = io.WriteString(conn, canary+"\r\n\r\n")
			_ = conn.Close()
		}, `error="no HTTP response"`},
		"a connection that is closed": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, `error="no HTTP response"`},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			f := newNotifyingFixture(t, newProgram(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				c.handler(w, r)
			}))
			f.change("2")
			waitFor(t, func() bool { return f.countWarnings() > 0 })
			assert.Contains(t, f.log.String(), c.says)
			assert.Equal(t, 1, f.countWarnings())
			assert.EqualValues(t, limits.OnChangeTries, calls.Load())
			f.lock.Lock()
			defer f.lock.Unlock()
			s := time.Second
			assert.ElementsMatch(t, []time.Duration{s, s, 2 * s, 4 * s, 8 * s}, f.slept, "the first is for the old files")
		})
	}
}

func TestAPortThatNobodyListensOnIsNamed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	f := newNotifyingFixture(t, "http://localhost:"+port+"/"+canary)
	f.change("2")
	waitFor(t, func() bool { return f.countWarnings() > 0 })
	assert.Contains(t, f.log.String(), `error="connection refused"`)
}

// TestAPortThatNeverAnswersDelaysNothing also has a server that sends its body slowly, which has accepted the call.
func TestAPortThatNeverAnswersDelaysNothing(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	f := newNotifyingFixture(t, "http://"+silent.Addr().String()+"/"+canary)
	f.syncer.notifier.httpClient.Timeout = 100 * time.Millisecond
	started := time.Now()
	f.change("2")
	assert.Less(t, time.Since(started), 100*time.Millisecond*limits.OnChangeTries)
	waitFor(t, func() bool { return f.countWarnings() > 0 })
	assert.Contains(t, f.log.String(), `error="no response within 5 seconds"`)

	done := make(chan struct{})
	f = newNotifyingFixture(t, newProgram(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		assert.NoError(t, http.NewResponseController(w).Flush())
		<-r.Context().Done()
		close(done)
	}))
	f.syncer.notifier.httpClient.Timeout = 100 * time.Millisecond
	f.change("2")
	<-done
	assert.Zero(t, f.countWarnings())
}

// TestAnotherChangeStartsTheCallsAgain has a program that refuses until the second change.
func TestAnotherChangeStartsTheCallsAgain(t *testing.T) {
	var calls atomic.Int32
	var accepts atomic.Bool
	accepted := make(chan struct{}, 10)
	f := newFixture(t)
	f.config.Files.OnChange = newProgram(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		if !accepts.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		accepted <- struct{}{}
	})
	f.config.Sleep = func(ctx context.Context, d time.Duration) error {
		if d == firstNotifyWait { // that of the old files, too
			d = 10 * time.Millisecond
		}
		return sleepReally(ctx, d)
	}
	f.restart()
	require.NoError(t, f.syncer.Sync(t.Context()))
	for number := range 20 { // in quick succession
		f.change(strings.Repeat("x", number))
	}
	waitFor(t, func() bool { return calls.Load() >= 20 })
	f.change("last")
	accepts.Store(true)
	<-accepted
	time.Sleep(50 * time.Millisecond) // that no further call comes shows only when time is over
	assert.Empty(t, accepted, "the calls for earlier changes have ended")
	assert.Zero(t, f.countWarnings(), "they are no failures")
}

func TestCallsEndWithTheSidecar(t *testing.T) {
	called := make(chan struct{}, 1)
	released := make(chan struct{}, 10)
	f := newFixture(t)
	f.config.Files.OnChange = newProgram(t, func(_ http.ResponseWriter, r *http.Request) {
		called <- struct{}{}
		<-r.Context().Done()
	})
	f.config.ReleaseMemory = func() { released <- struct{}{} }
	f.restart()
	require.NoError(t, f.syncer.Sync(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	f.syncer.notifier.startCalls(ctx)
	<-called
	cancel()
	<-released
	assert.Zero(t, f.countWarnings())
}

func TestTheProgramIsCalledForEachDirectoryThatWasWritten(t *testing.T) {
	calls := make(chan struct{}, 10)
	f := newNotifyingFixture(t, newProgram(t, func(http.ResponseWriter, *http.Request) { calls <- struct{}{} }))
	f.broker.set("app", map[string]string{"password": "2"})
	f.broker.Lock()
	f.broker.directories["tls"]["tls.crt"] = wire.FileContent{Content: []byte("x"), Mode: 0o400}
	f.broker.Unlock()
	require.NoError(t, os.WriteFile(filepath.Join(f.volume, "blocked"), nil, 0o600))
	f.syncer.names = []string{"app", "blocked", "tls"} // the second can't be written
	f.broker.set("blocked", nil)
	require.Error(t, f.syncer.Sync(t.Context()))
	<-calls
	assert.Equal(t, "2", f.read("app")["password"], "it has changed, and the program has to know")
	assert.Equal(t, "x", f.read("tls")["tls.crt"], "a directory after the one that failed")
}

// TestCallsSurviveAKilledSidecar has a program that refuses the calls, or is not called yet, when the sidecar is killed.
func TestCallsSurviveAKilledSidecar(t *testing.T) {
	for name, isKilledBeforeCall := range map[string]bool{"between the change and the call": true, "between two calls": false} {
		t.Run(name, func(t *testing.T) {
			var accepts atomic.Bool
			calls := make(chan struct{}, 100)
			f := newNotifyingFixture(t, newProgram(t, func(w http.ResponseWriter, _ *http.Request) {
				if calls <- struct{}{}; !accepts.Load() {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}))
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			if isKilledBeforeCall {
				kill()
			}
			f.broker.set("app", map[string]string{"password": "2"})
			changed, err := f.syncer.prepareCalls()
			require.NoError(t, err)
			changed(ctx, true)
			if !isKilledBeforeCall {
				<-calls
				kill()
			}
			<-f.syncer.notifier.ended
			for len(calls) > 0 {
				<-calls
			}
			accepts.Store(true)

			f.restart()
			f.runRounds(f.syncer.Resume, func(number int, _ time.Duration) bool {
				if number == 1 {
					waitFor(t, func() bool { return len(calls) > 0 })
					<-calls
					waitFor(t, func() bool { return !f.syncer.notifier.isPending() })
				}
				return number == 1
			})
			f.restart()
			f.runRounds(f.syncer.Resume, func(int, time.Duration) bool { return false })
			assert.Empty(t, calls, "the program was called successfully")
		})
	}
}

// TestAnAnswerWithoutAChangeCallsNobody has an answer with all files after a restart, which has lost the ETag.
func TestAnAnswerWithoutAChangeCallsNobody(t *testing.T) {
	calls := make(chan struct{}, 10)
	f := newNotifyingFixture(t, newProgram(t, func(http.ResponseWriter, *http.Request) { calls <- struct{}{} }))
	f.restart()
	require.NoError(t, f.syncer.Sync(t.Context()))
	assert.False(t, f.syncer.notifier.isPending())
	f.change("2")
	<-calls
	waitFor(t, func() bool { return !f.syncer.notifier.isPending() })
	assert.Empty(t, calls)
}
