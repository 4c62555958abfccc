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
	b := &Broker{shares: newShares(time.Now)}
	for range 3 {
		c := b.newCall(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil))
		c.who = caller{Namespace: "team", Pod: "p", UID: "u"}
		require.NoError(t, c.takePodPlace())
		require.NoError(t, c.takePlace())
		require.NoError(t, c.holdRequest(100))
		require.NoError(t, c.holdAnswer(200))
		assert.EqualValues(t, 1, b.shares.places.Used())
		assert.EqualValues(t, 100, b.shares.requests.Used())
		assert.EqualValues(t, 200, b.shares.answers.Used())
		c.release()
		assert.Zero(t, b.shares.places.Used()+b.shares.requests.Used()+b.shares.answers.Used())
		assert.Empty(t, b.shares.pods.taken)
	}
}

// deadlines notes those that are set.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error  { d.read = append(d.read, at); return nil }
func (d *deadlines) SetWriteDeadline(at time.Time) error { d.write = append(d.write, at); return nil }

func TestABodyHasATimeToCome(t *testing.T) {
	b := &Broker{shares: newShares(time.Now)}
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	before := time.Now()
	_, err := b.newCall(w, httptest.NewRequest("POST", "/", nil)).readBody()
	require.NoError(t, err)
	require.Len(t, w.read, 1)
	assert.WithinRange(t, w.read[0], before.Add(limits.AuthRequestBodyTime), time.Now().Add(limits.AuthRequestBodyTime))
}

func TestAnAnswerThatIsTakenByAndByEndsSomeTime(t *testing.T) {
	b := &Broker{shares: newShares(time.Now)}
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	until := time.Now().Add(time.Second)
	p := &pacedWriter{b.newCall(w, httptest.NewRequest("POST", "/", nil)), until}
	_, err := p.Write([]byte("x"))
	require.NoError(t, err)
	require.Len(t, w.write, 1)
	assert.Equal(t, until, w.write[0], "not the time of a part")
}

func TestABodyWithoutRoomIsRefused(t *testing.T) {
	b := &Broker{shares: newShares(time.Now)}
	require.True(t, b.shares.requests.TryAcquire("another", limits.AuthRequestsBytes))
	_, err := b.newCall(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil)).readBody()
	assert.ErrorContains(t, err, "hold too much memory")
}
