// Package refresh is the subcommand refresh: it requests a read of the vault and waits for the result.
//
// Floor 6.
package refresh
