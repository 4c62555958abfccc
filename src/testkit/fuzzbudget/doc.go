// Package fuzzbudget limits the time and the allocated bytes that one input of a fuzz target can cost. A parser of
// untrusted input that allocates a gigabyte for a kilobyte is broken, even if its result is correct, and a fuzz target
// without a budget does not detect that.
//
// Test support: never imported by a shipping program.
package fuzzbudget
