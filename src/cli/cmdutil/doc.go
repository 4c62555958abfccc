// Package cmdutil has what the subcommands of kubectl akv2k8s share and does not need a cluster: errors that choose the
// exit code, checks of arguments, completion, and input files.
//
// Floor 4. Flags of a cluster belong in cli/cluster.
package cmdutil
