// Package podidentity runs the product beside the real aad-pod-identity: its NMI, in managed mode, redirects the node's
// requests for tokens.
//
// It needs a cluster, so it is built with the tag cluster: make long SUITE=pod-identity.
package podidentity
