// Command run runs the tiers of the tests, prints each step's time against its budget, and ends with one line of
// counts.
package main
