// Package ratelimit limits the rate of calls to vaults. It keeps calls below Azure's limits, honors the pauses that a
// vault asks for, slows down after a 429, and admits waiting calls by priority, with namespaces in turn.
//
// Floor 1. The package counts and delays calls; the caller makes them. Caching and sharing of results belong in
// keyvault/cache.
package ratelimit
