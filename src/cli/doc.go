// Package cli is the command line kubectl akv2k8s, with kubectl's conventions: flags, output to standard output,
// messages to standard error, and completion. A subcommand is a file with a function, and a line in subcommands.
//
// Floor 6: it connects the packages that do the work with files and streams.
package cli
