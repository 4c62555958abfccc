package program

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// runCheckReady runs the subcommand check-ready.
func runCheckReady(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runProgram(t, nil, append([]string{"check-ready"}, args...)...)
}

// component answers 503 with a reason as often as asked, and 200 afterwards.
func component(t *testing.T, failures int32, reason string) (address string, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/readyz", r.URL.Path)
		if asked.Add(1) <= failures {
			http.Error(w, reason, http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/readyz", asked
}

func TestCheckReadyWaitsUntilEveryComponentIsReady(t *testing.T) {
	first, _ := component(t, 0, "")
	second, asked := component(t, 1, "the cache has not synced")
	code, out, errs := runCheckReady(t, "--wait=1m", "--url="+first, "--url="+second)
	require.Zero(t, code, errs)
	assert.Equal(t, "ready: "+first+"\nready: "+second+"\n", out)
	assert.Equal(t, int32(2), asked.Load())
}

func TestCheckReadyNamesEveryComponentThatIsNotReadyAndWhy(t *testing.T) {
	first, _ := component(t, 1000, "the cache has not synced")
	second, asked := component(t, 1000, strings.Repeat("x", 5000))
	third, _ := component(t, 0, "")
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	code, out, errs := runCheckReady(t, "--wait=1ms", "--url="+first, "--url="+second, "--url="+third, "--url="+gone.URL+"/readyz")
	assert.Contains(t, errs, "not ready: "+first+": it answered 503: the cache has not synced; see the log of that component")
	assert.Contains(t, errs, "not ready: "+second+": it answered 503: xxx")
	assert.Contains(t, errs, "not ready: "+gone.URL+"/readyz: dial tcp")
	assert.Equal(t, ExitFailure, code)
	assert.Less(t, len(errs), 1500, "an answer is not repeated whole")
	assert.Equal(t, "ready: "+third+"\n", out)
	assert.Equal(t, int32(1), asked.Load())
}

func TestCheckReadyRefusesWhatItCannotAsk(t *testing.T) {
	for argument, says := range map[string]string{"": "at least one --url", "--url=https://a/readyz": "http://HOST:PORT/readyz", "--url=a": "http://HOST:PORT/readyz",
		"--url=http:///readyz": "http://HOST:PORT/readyz", "--what": "--what"} {
		code, _, errs := runCheckReady(t, strings.Fields(argument)...)
		assert.Equal(t, ExitUsage, code, argument)
		assert.Contains(t, errs, says, argument)
	}
}
