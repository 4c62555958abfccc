package cache

import (
	"context"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Lookup returns the cached result without its value.
func (c *Cache) Lookup(ref keyvault.Ref) (Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.results.get(ref)
	if !ok {
		return Result{}, false
	}
	return known.copyWithoutValue(), true
}

// RecordRefresh returns the cached result without its value, like Lookup. It keeps the result in the cache as that of a
// refreshed object.
func (c *Cache) RecordRefresh(ref keyvault.Ref) (Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.results.get(ref)
	if !ok {
		return Result{}, false
	}
	known.lastRefreshedAt = c.config.Clock()
	return known.copyWithoutValue(), true
}

// ConfirmResult returns the cached result if isConfirmed reports true for it; isConfirmed does not get the value. The
// result then counts as the vault's at the given time, and has the refresh interval of the Purpose.
func (c *Cache) ConfirmResult(ctx context.Context, ref keyvault.Ref, at time.Time,
	isConfirmed func(Result) bool) (Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.results.get(ref)
	if !ok || !isConfirmed(known.copyWithoutValue()) {
		return Result{}, false
	}
	known.confirmedAt, known.RefreshInterval = at, keyvault.PurposeOf(ctx).RefreshInterval
	return known.copyFrom(SourceCache), true
}
