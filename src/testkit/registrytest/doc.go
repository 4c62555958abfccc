// Package registrytest runs image registries for tests, under names that only the test knows.
//
// The garden: never imported by a shipping program.
package registrytest
