// Package vaultclient builds the vault client from the configuration of an installation: cloud, credential, trusted
// CAs, and the steps of a read, which New puts in order. The controller and the env-injector share it, so a setting has
// the same effect in both.
//
// Each step is a keyvault.Fetcher that wraps the one before it, except two. The rate limiter is in the transport,
// because it counts requests, and one read can make many. The identities choose among the clients of azure, which all
// share that transport.
//
// Floor 4. The behavior of each step belongs in the package of that step.
package vaultclient
