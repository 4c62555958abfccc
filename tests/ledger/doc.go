// Command ledger compares what the reference promises with what was tested: each row of a table under docs/reference
// names the tests that prove it, and each of these must have passed in the run.
package main
