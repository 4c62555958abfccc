// Package get is the subcommand get: a table of AzureKeyVaultSecrets, or the objects themselves.
//
// Floor 6.
package get
