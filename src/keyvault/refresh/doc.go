// Package refresh detects the changes of refreshed objects with fewer calls. If a list of the vault shows that an
// object did not change, the cached result counts as recent; otherwise, and where a list costs more than it saves, the
// object is read.
//
// It is the outermost step of a read, so it reports each read to the Observer. It wraps a *cache.Cache and not any
// Fetcher, because it compares lists with the times of cached results.
//
// Floor 3. When an object is refreshed belongs in controller/schedule, how its result is kept in keyvault/cache.
package refresh
