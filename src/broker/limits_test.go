package broker

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

func TestNothingIsKeptOfARequestThatIsAnswered(t *testing.T) {
	b := &Broker{limiters: newRequestLimiters(time.Now)}
	for range 3 {
		c := b.newPodRequest(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil))
		c.caller = caller{Namespace: "team", Pod: "p", UID: "u"}
		require.NoError(t, c.acquirePodSlot())
		require.NoError(t, c.acquireNamespaceSlot())
		require.NoError(t, c.reserveRequestMemory(100))
		require.NoError(t, c.reserveResponseMemory(200))
		assert.EqualValues(t, 1, b.limiters.requestSlots.Used())
		assert.EqualValues(t, 100, b.limiters.requestMemory.Used())
		assert.EqualValues(t, 200, b.limiters.responseMemory.Used())
		c.releaseAll()
		assert.Zero(t, b.limiters.requestSlots.Used()+b.limiters.requestMemory.Used()+b.limiters.responseMemory.Used())
		assert.Empty(t, b.limiters.podSlots.inUse)
	}
}

// deadlineRecorder notes those that are set.
type deadlineRecorder struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (d *deadlineRecorder) SetReadDeadline(at time.Time) error {
	d.read = append(d.read, at)
	return nil
}
func (d *deadlineRecorder) SetWriteDeadline(at time.Time) error {
	d.write = append(d.write, at)
	return nil
}

func TestABodyHasATimeToCome(t *testing.T) {
	b := &Broker{limiters: newRequestLimiters(time.Now)}
	w := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
	before := time.Now()
	_, err := b.newPodRequest(w, httptest.NewRequest("POST", "/", nil)).readBody()
	require.NoError(t, err)
	require.Len(t, w.read, 1)
	assert.WithinRange(t, w.read[0], before.Add(limits.AuthRequestBodyTime), time.Now().Add(limits.AuthRequestBodyTime))
}

func TestAnAnswerThatIsTakenByAndByEndsSomeTime(t *testing.T) {
	b := &Broker{limiters: newRequestLimiters(time.Now)}
	w := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
	until := time.Now().Add(time.Second)
	p := &deadlineWriter{b.newPodRequest(w, httptest.NewRequest("POST", "/", nil)), until}
	_, err := p.Write([]byte("x"))
	require.NoError(t, err)
	require.Len(t, w.write, 1)
	assert.Equal(t, until, w.write[0], "not the time of a part")
}

func TestABodyWithoutRoomIsRefused(t *testing.T) {
	b := &Broker{limiters: newRequestLimiters(time.Now)}
	require.True(t, b.limiters.requestMemory.TryAcquire("another", limits.AuthRequestsBytes))
	_, err := b.newPodRequest(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil)).readBody()
	assert.ErrorContains(t, err, "hold too much memory")
}
