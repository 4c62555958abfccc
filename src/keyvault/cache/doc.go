// Package cache shares calls of vaults. Concurrent reads of one object join one in-flight call, and later reads that
// accept its age get the cached result.
//
// It has its own cache, because a library neither limits the bytes nor overwrites a value that it evicts, and its own
// in-flight calls, because one of singleflight does not end when its last waiter leaves.
//
// Floor 2. Authorization happens before a read, for each caller. Which results a list keeps in use belongs in
// keyvault/refresh, and how a vault is called in the Fetcher that the cache wraps.
package cache
