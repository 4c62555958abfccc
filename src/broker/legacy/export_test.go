package legacy

import "context"

// Shares are what strangers share.
type Shares struct{ of shares }

// NewShares are those of a new handler.
func NewShares() *Shares { return &Shares{newShares()} }

// Enter lets a first step of an address in.
func (s *Shares) Enter(ctx context.Context, from string) (leave func(), err error) {
	return s.of.enter(ctx, s.of.validations, from)
}
