// Package predecessor plays akv2k8s 1.8: the CA and the client certificates that it made, and the part of its wrapper
// that asked the auth service, by the facts of its protocol. Standard library only, so that it can run in a pod.
package predecessor
