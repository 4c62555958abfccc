// Package e2e watches the product on a real cluster, as users install it. Its witnesses are outside the product: the
// API server's audit log and metrics, the emulator's counters, the logs of pods.
//
// It needs a cluster, so it is built with the tag cluster: make e2e.
package e2e
