// Package cli is the command line kubectl akv2k8s, with kubectl's conventions: flags, output to standard output,
// messages to standard error, and completion. A subcommand is a package below cli/command, and a line in subcommands.
//
// Floor 7: it assembles the subcommands, which connect the packages that do the work with files and streams.
package cli
