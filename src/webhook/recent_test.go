package webhook

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

func TestWhatIsRememberedOfTheAPIServerIsBoundedInNumberAndTime(t *testing.T) {
	now := time.Now()
	r := newTTLCache[string, bool](func() time.Time { return now })
	for n := range limits.AdmissionCacheEntries + 5 {
		r.put(fmt.Sprint(n), true, time.Second)
		assert.LessOrEqual(t, len(r.entries), limits.AdmissionCacheEntries)
	}
	value, known := r.get(fmt.Sprint(limits.AdmissionCacheEntries + 4))
	assert.Equal(t, []bool{true, true}, []bool{value, known})
	_, known = r.get("0")
	assert.False(t, known)
	now = now.Add(time.Second)
	value, known = r.get(fmt.Sprint(limits.AdmissionCacheEntries + 4))
	assert.Equal(t, []bool{false, false}, []bool{value, known}, "its time is over")
}

func TestWarningsOfAnAnswerAreBounded(t *testing.T) {
	var all []string
	for n := range limits.AdmissionWarnings + 3 {
		all = append(all, fmt.Sprint(n))
	}
	assert.Equal(t, all[:limits.AdmissionWarnings], limitWarnings(all[:limits.AdmissionWarnings]))
	cut := limitWarnings(all)
	assert.Len(t, cut, limits.AdmissionWarnings+1)
	assert.Equal(t, "and 3 more warnings", cut[limits.AdmissionWarnings])
}
