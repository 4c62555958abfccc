// Package counters counts syncs and looks at vaults, by the names and label values of akv2k8s 1.8.
//
// Floor 3. What is known of each resource, and shown as gauges, is in controller.
package counters
