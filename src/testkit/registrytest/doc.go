// Package registrytest runs image registries for tests, with host names that only the test resolves.
//
// Test support: never imported by a shipping program.
package registrytest
