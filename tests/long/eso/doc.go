// Package eso compares External Secrets Operator with akv2k8s: the controller of each reads the same emulated vault,
// one with ExternalSecrets and one with what kubectl akv2k8s convert makes of them, and both must write equal Secrets.
//
// Both controllers are real, and run without a cluster, on API servers in memory. External Secrets Operator is in
// tests/eso, a module of its own with several hundred dependencies, so the test runs by name only: make long SUITE=eso.
package eso
