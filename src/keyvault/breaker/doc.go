// Package breaker stops calls to a vault that does not answer. It has a circuit breaker and a limited number of slots
// for each pair of vault and identity, so a vault or identity that does not respond delays only its own calls.
//
// A call waits for a slot here and then, for each of its requests, for the rate limiter. These are two queues because
// they count different things: a slot is held while the identity signs in, which the rate limiter does not see, and a
// list makes many requests with one slot. A slot is for one identity and priority and knows the namespaces that wait;
// the rate limiter serves all identities of a vault.
//
// Floor 2. The rate of requests belongs in keyvault/ratelimit, the second vault in keyvault/fallback.
package breaker
