// Package fallback reads a second vault while the first one is unavailable.
//
// Floor 2. It is small because it is one rule that stands between two other steps: below it each of both vaults has its
// own circuit breaker, and above it both are one object in the cache. Whether a vault is unavailable belongs in
// keyvault/azure and keyvault/breaker.
package fallback
