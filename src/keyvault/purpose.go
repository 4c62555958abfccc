package keyvault

import (
	"context"
	"time"
)

// Priority orders calls that compete for the rate limit of a vault. A higher value is served first.
type Priority int

// The priorities, lowest first.
const (
	// PriorityRefresh reads an object again to detect changes.
	PriorityRefresh Priority = iota
	// PriorityFirstSync reads an object that has no output yet, or whose refresh a user has requested.
	PriorityFirstSync
	// PriorityPodStart reads a value that a starting container waits for.
	PriorityPodStart
)

// String returns the priority as used in metric labels: refresh, first-sync or pod-start.
func (p Priority) String() string { return [...]string{"refresh", "first-sync", "pod-start"}[p] }

// Purpose describes why an object is read, and how recent it must be. The zero Purpose is a single refresh without an
// interval, which no cached result can answer.
type Purpose struct {
	// Namespace is charged for the call. The rate limiter serves namespaces in turn.
	Namespace string
	Priority  Priority
	// RefreshInterval is the refresh interval of the object; zero if the object is read once.
	RefreshInterval time.Duration
	// ConfirmList requires that two lists agree on what is absent. It is for lists whose missing entries delete data.
	ConfirmList bool
	// MaxAge is the age up to which a cached result is accepted; zero requires a new call.
	MaxAge time.Duration
}

type purposeKey struct{}

// WithPurpose returns a context that carries the purpose of reads made with it.
func WithPurpose(ctx context.Context, p Purpose) context.Context {
	return context.WithValue(ctx, purposeKey{}, p)
}

// PurposeOf returns the purpose of the context; the zero Purpose if the context has none.
func PurposeOf(ctx context.Context) Purpose {
	p, _ := ctx.Value(purposeKey{}).(Purpose)
	return p
}
