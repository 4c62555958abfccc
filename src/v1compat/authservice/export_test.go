package authservice

import "context"

// Limiters are the limits of a handler.
type Limiters struct{ limiters requestLimiters }

// NewLimiters returns the limits of a new handler.
func NewLimiters() *Limiters { return &Limiters{newRequestLimiters()} }

// AcquireSlot waits until a first step of the address is allowed.
func (s *Limiters) AcquireSlot(ctx context.Context, from string) (leave func(), err error) {
	return s.limiters.acquireSlot(ctx, s.limiters.validationRate, from)
}
