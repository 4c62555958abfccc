// Package reader reads vaults for the controller and the auth service. Concurrent reads of one object share a call,
// recent results are cached, lists detect changes, and a circuit breaker isolates a vault or identity that does not
// respond.
//
// Floor 3. Authorization happens before a read, for each caller. How a vault is called belongs in keyvault/azure; when
// it can be called, in keyvault/ratelimit.
package reader
