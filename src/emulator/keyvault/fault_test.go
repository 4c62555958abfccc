package keyvault

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestALimitSparesSoManyCallsInTenSeconds(t *testing.T) {
	now := time.Now()
	s := NewStore(func() time.Time { return now })
	s.Inject(Fault{Vault: "kv1", Over: 3, Status: 429})
	s.Inject(Fault{LatencyMillis: 5})
	struck := func(calls int) (times int) {
		for range calls {
			f, _ := s.strike(call{vault: "kv1"})
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
