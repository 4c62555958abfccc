// Package registrytest runs Debian's docker-registry for tests, under names that only the test knows.
//
// The garden: never imported by a shipping program.
package registrytest
