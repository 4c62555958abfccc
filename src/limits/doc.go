// Package limits defines every limit on work that clients, tenants or vaults can cause: bytes, elements, processor
// time, reads of the API server, calls of vaults, log lines and memory. One file per area holds the constants and their
// table; docs/reference/limits.md is generated from the tables.
//
// Floor 0, standard library only. The code that enforces a limit belongs in the package that does the work.
package limits
