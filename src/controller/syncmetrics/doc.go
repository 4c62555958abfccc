// Package syncmetrics counts syncs of AzureKeyVaultSecrets, reads of vaults and restarts of workloads. The first two
// have the metric names and label values of akv2k8s 1.8.
//
// Floor 3. The gauges of each resource belong in controller.
package syncmetrics
