// Package vaultclient builds the vault client from the configuration of an installation: cloud, credential, trusted
// CAs, rate limiter and reader. The controller and the env-injector share it, so a setting has the same effect in both.
//
// Floor 4. The behavior of each part belongs in the package of that part.
package vaultclient
