// Package diagnosis is the table of error answers of vaults, Entra ID, the metadata service, image registries, proxies
// and the network. Each row has the kind of the error, the cause and the next step. The adapters explain errors with
// the table, and docs/reference/errors.md is generated from it.
//
// Floor 1, pure. Reading an answer from the network belongs in the adapters.
package diagnosis
