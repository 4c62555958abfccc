package ociimage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// stalling serves the store, but the configurations of all hosts except one stop before their last byte.
type stalling struct {
	store *store
	fast  string
}

func (s stalling) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := hosts{r.URL.Host: s.store.serve}.RoundTrip(r)
	if err == nil && r.URL.Host != s.fast && strings.Contains(r.URL.Path, "/blobs/") {
		content, _ := io.ReadAll(answer.Body)
		answer.Body = io.NopCloser(io.MultiReader(bytes.NewReader(content[:len(content)-1]), untilDone{r.Context()}))
	}
	return answer, err
}

// untilDone is a body that sends nothing until the request ends.
type untilDone struct{ context.Context }

func (u untilDone) Read([]byte) (int, error) { <-u.Done(); return 0, u.Err() }

func TestAnswersOfAllLookupsHoldABoundedNumberOfBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		large := runs("linux", "amd64", "app")
		large["comment"] = strings.Repeat("x", limits.ImageConfigBytes-1000)
		s.image(large, "large")
		s.image(runs("linux", "amd64", "app"), "small")
		images, _ := memoryImages(t, stalling{s, "fast.test"}, TransportConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		throttled := make(chan error, limits.ImageLookups)
		for n := range limits.ImageLookups - 1 {
			go func() {
				_, err := images.ReadCommand(ctx, Query{Namespace: fmt.Sprint("greedy-", n%4), OS: "linux",
					Image: fmt.Sprintf("slow-%d.test/app:large", n)})
				if fault.KindOf(err) == fault.Throttled {
					throttled <- err
				}
			}()
		}
		synctest.Wait()
		assert.LessOrEqual(t, images.answerBytes.Used(), int64(limits.ImageAnswersBytes))
		assert.Greater(t, images.answerBytes.Used(), int64(limits.ImageAnswersBytes/2), "the attack holds much")
		require.NotEmpty(t, throttled)
		assert.ErrorContains(t, <-throttled, "concurrent image look-ups hold too many bytes for namespace greedy-")

		command, err := images.ReadCommand(t.Context(), Query{Namespace: "modest", Image: "fast.test/app:small", OS: "linux"})
		require.NoError(t, err, "somebody else's image is read meanwhile")
		assert.Equal(t, []string{"app"}, command.Cmd)

		cancel()
		synctest.Wait()
		time.Sleep(limits.ImageAnswerTime) // no call lasts longer; synctest makes it instant
		assert.Zero(t, images.answerBytes.Used(), "what ends holds nothing")
	})
}
