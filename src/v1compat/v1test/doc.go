// Package v1test simulates akv2k8s 1.8 in tests: its CA and client certificates, and the part of its wrapper that
// calls the auth service. Standard library only, so that it can run in a pod.
package v1test
