// Package syncmetrics counts syncs of AzureKeyVaultSecrets and reads of vaults, with the metric names and label values
// of akv2k8s 1.8.
//
// Floor 3. The gauges of each resource belong in controller.
package syncmetrics
