package fairshare

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNothingIsRememberedOfAKeyThatHoldsNothing(t *testing.T) {
	p := NewPool(4)
	assert.True(t, p.TryAcquire("a", 2))
	p.Release("a", 1)
	assert.Len(t, p.held, 1)
	p.Release("a", 1)
	p.Release("b", 0)
	assert.Empty(t, p.held)
}
