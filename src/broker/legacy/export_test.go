package legacy

import "context"

// Shares are the limits of a handler.
type Shares struct{ of shares }

// NewShares returns the limits of a new handler.
func NewShares() *Shares { return &Shares{newShares()} }

// Enter waits until a first step of the address is allowed.
func (s *Shares) Enter(ctx context.Context, from string) (leave func(), err error) {
	return s.of.enter(ctx, s.of.validations, from)
}
