// Package exec is the subcommand exec: it runs a command in a container by the injector, with kubectl's streams.
//
// Floor 6.
package exec
