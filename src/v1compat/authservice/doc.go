// Package authservice serves the auth protocol of akv2k8s 1.8 to pods that 1.8 injected, when one of their containers
// restarts. By default it only answers that the pod must be recreated, and it holds no secrets. If the protocol is
// enabled, it is served unchanged, but only to pods that 1.8 injected before the upgrade.
//
// Floor 3. The current protocol belongs in package broker.
package authservice
