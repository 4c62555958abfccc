// Package diagnosis is the table of what vaults, Entra ID, the metadata service, the network and what stands between
// may answer: for each answer the kind of the error, the cause and the next step. The adapters explain errors with it,
// and docs/reference/errors.md is generated from it.
//
// Floor 1, pure. Reading an answer off the wire belongs in the adapters.
package diagnosis
