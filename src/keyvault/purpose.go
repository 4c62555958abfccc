package keyvault

import (
	"context"
	"time"
)

// Priority says who comes first where the calls of a vault are bounded.
type Priority int

// The priorities, the least first.
const (
	// Refresh looks whether what is there is still right.
	Refresh Priority = iota
	// FirstSync brings what is not there yet.
	FirstSync
	// PodStart is what a container waits for.
	PodStart
)

// String is the priority in words, as metrics have it.
func (p Priority) String() string { return [...]string{"refresh", "first-sync", "pod-start"}[p] }

// Purpose says what an object is read for. The zero Purpose is a refresh that nobody repeats.
type Purpose struct {
	// Namespace whose turn it is; namespaces take turns at a vault.
	Namespace string
	Priority  Priority
	// Every is how often the object is looked at again; zero if it is not.
	Every time.Duration
}

type purposeKey struct{}

// For says what reads with this context are for.
func For(ctx context.Context, p Purpose) context.Context {
	return context.WithValue(ctx, purposeKey{}, p)
}

// PurposeOf is what For said.
func PurposeOf(ctx context.Context) Purpose {
	p, _ := ctx.Value(purposeKey{}).(Purpose)
	return p
}
