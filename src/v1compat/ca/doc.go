// Package ca keeps the API server's trust in replicas of akv2k8s 1.8 during an upgrade. Before the upgrade, a hook
// copies their CA certificate into a Secret. The API server trusts that CA until the last of these replicas has ended.
//
// Floor 3. Our own CA belongs in servingcert.
package ca
