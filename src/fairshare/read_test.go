package fairshare_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
)

func TestTheBytesOfABodyAreTakenAsTheyArrive(t *testing.T) {
	const first, limit = 16 << 10, 100_000
	for _, size := range []int{0, 1, first - 1, first, first + 1, limit} {
		content := bytes.Repeat([]byte("x"), size)
		for name, body := range map[string]io.Reader{"whole": bytes.NewReader(content),
			"in bytes": iotest.OneByteReader(bytes.NewReader(content)), "with its end": iotest.DataErrReader(bytes.NewReader(content))} {
			p := fairshare.NewPool(1 << 20)
			got, held, err := p.ReadAll("a", body, limit)
			require.NoError(t, err, name)
			assert.Equal(t, content, append([]byte{}, got...), "%s, %d bytes", name, size)
			assert.Equal(t, p.Used(), held)
			assert.GreaterOrEqual(t, held, int64(size))
			assert.LessOrEqual(t, held, int64(max(2*size, first)))
		}
	}
	p := fairshare.NewPool(1 << 20)
	got, held, err := p.ReadAll("a", bytes.NewReader(make([]byte, 2*limit)), limit)
	require.NoError(t, err)
	assert.Len(t, got, limit+1, "one byte more than the limit")
	p.Release("a", held)
	_, held, err = p.ReadAll("a", bytes.NewReader(make([]byte, 2<<20)), 4<<20)
	assert.ErrorIs(t, err, fairshare.ErrShareExceeded)
	assert.Equal(t, p.Used(), held, "held counts what was taken before the error")
	p.Release("a", held)
	broken := errors.New("broken")
	_, held, err = p.ReadAll("a", io.MultiReader(bytes.NewReader(make([]byte, 10)), iotest.ErrReader(broken)), limit)
	assert.ErrorIs(t, err, broken)
	p.Release("a", held)
	assert.Zero(t, p.Used())
	var none *fairshare.Pool
	got, held, err = none.ReadAll("a", bytes.NewReader(make([]byte, 2*limit)), 4*limit)
	require.NoError(t, err)
	assert.Len(t, got, 2*limit)
	assert.Zero(t, held)
}
