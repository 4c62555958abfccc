package keyvault

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestALimitSparesSoManyCallsInTenSeconds(t *testing.T) {
	now := time.Now()
	s := NewStore(func() time.Time { return now })
	s.AddFault(Fault{Vault: "kv1", Over: 3, Status: 429})
	s.AddFault(Fault{LatencyMillis: 5})
	struck := func(calls int) (times int) {
		for range calls {
			f, _ := s.applicableFault(call{vault: "kv1"})
			if f.Status == 429 {
				times++
			} else {
				assert.Equal(t, 5, f.LatencyMillis, "what is spared meets the next fault")
			}
		}
		return times
	}
	assert.Equal(t, 2, struck(5))
	now = now.Add(9 * time.Second)
	assert.Equal(t, 2, struck(2), "calls that were struck count")
	now = now.Add(2 * time.Second)
	assert.Equal(t, 0, struck(1), "one of the last three is older than ten seconds")
	assert.Equal(t, 1, struck(1))
	now = now.Add(time.Minute)
	assert.Equal(t, 1, struck(4), "calls of before are forgotten")
}

type everybody struct{}

func (everybody) Verify(string, string) (string, error) { return "", nil }

func TestCallsInAPauseAreCounted(t *testing.T) {
	now, counters := time.Now(), map[string]int{}
	s := &Server{Store: NewStore(func() time.Time { return now }), Tokens: everybody{}, Count: func(name string) { counters[name]++ }}
	s.Store.SetPermissions("kv1", "", nil)
	call := func(ctx context.Context) {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://kv1.vault.azure.net/secrets/db", nil)
		r.Header.Set("Authorization", "Bearer t")
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
	s.Store.AddFault(Fault{Status: 429, RetryAfter: 2, Times: 2})
	gone, leave := context.WithCancel(t.Context())
	leave()
	call(gone)
	now = now.Add(time.Second)
	call(t.Context())
	assert.Zero(t, counters["kv1 in-pause"], "who left before the answer does not know of the pause")
	now = now.Add(inFlightTolerance)
	call(t.Context())
	assert.Zero(t, counters["kv1 in-pause"], "a call that was on its way")
	now = now.Add(time.Second)
	call(t.Context())
	assert.Equal(t, 1, counters["kv1 in-pause"])
	assert.Equal(t, 1, counters["kv1 in-pause after 1.5s"])
	now = now.Add(time.Second)
	call(t.Context())
	assert.Equal(t, 1, counters["kv1 in-pause"], "the pause is over")
}
