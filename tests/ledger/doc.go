// Command ledger compares what the documentation promises with what was tested. A comment in a page gives each promise
// an id, a file in docs/proofs names the tests of each id, and each of these tests must have passed in the run. The
// page docs/proofs/index.md shows the promises with their tests; subcommand index writes it.
package main
