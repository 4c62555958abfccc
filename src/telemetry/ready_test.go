package telemetry_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/telemetry"
)

func checkReady(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = telemetry.CheckReady(t.Context(), args, &out, &errs)
	return out.String(), err
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
	out, err := checkReady(t, "--wait=1m", "--url="+first, "--url="+second)
	require.NoError(t, err)
	assert.Equal(t, "ready: "+first+"\nready: "+second+"\n", out)
	assert.Equal(t, int32(2), asked.Load())
}

func TestCheckReadyNamesEveryComponentThatIsNotReadyAndWhy(t *testing.T) {
	first, _ := component(t, 1000, "the cache has not synced")
	second, asked := component(t, 1000, strings.Repeat("x", 5000))
	third, _ := component(t, 0, "")
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	out, err := checkReady(t, "--wait=1ms", "--url="+first, "--url="+second, "--url="+third, "--url="+gone.URL+"/readyz")
	require.ErrorContains(t, err, "not ready: "+first+": it answered 503: the cache has not synced; see the log of that component")
	require.ErrorContains(t, err, "not ready: "+second+": it answered 503: xxx")
	require.ErrorContains(t, err, "not ready: "+gone.URL+"/readyz: dial tcp")
	assert.Less(t, len(err.Error()), 1500, "an answer is not repeated whole")
	assert.Equal(t, "ready: "+third+"\n", out)
	assert.Equal(t, int32(1), asked.Load())
}

func TestCheckReadyRefusesWhatItCannotAsk(t *testing.T) {
	for _, args := range [][]string{nil, {"--url=https://a/readyz"}, {"--url=a"}, {"--url=http:///readyz"}, {"--what"}} {
		_, err := checkReady(t, args...)
		assert.Error(t, err, args)
	}
}
