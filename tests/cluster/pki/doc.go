// Package pki makes the certificates, keys and kubeconfigs of a local cluster.
package pki
