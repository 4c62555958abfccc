// Package limits lists every bound on work that strangers, tenants or vaults can cause: bytes, elements, processor
// time, reads of the API server, calls of vaults, log lines, and memory kept. One file per area holds the constants and
// the table that documents them; docs/reference/limits.md is generated from the tables.
//
// Floor 0, standard library only. The code that enforces a bound belongs in the package that does the work.
package limits
