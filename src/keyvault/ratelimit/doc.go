// Package ratelimit limits the rate of calls to vaults. It keeps calls below Azure's limits, honors the pauses that a
// vault asks for, slows down after a 429, and admits waiting calls by priority, with namespaces in turn.
//
// It has its own token bucket and queue, because golang.org/x/time/rate serves waiters in the order of their arrival,
// and its rate does not recover gradually.
//
// Floor 1. The package counts and delays calls; the caller makes them. Caching and sharing of results belong in
// keyvault/cache.
package ratelimit
