// Package cluster connects the subcommands of kubectl akv2k8s with a cluster, as kubectl does: the flags that select
// cluster, user and namespace, clients, lists in pages, errors with the next step, and completion of names.
//
// Floor 5. It connects with the rights of the user. Checks of a cluster belong in doctor.
package cluster
