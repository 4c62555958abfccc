// Package examples reads the READMEs of the examples, and runs their commands for Azure without a cluster. The suite
// tests/long/examples runs all of their commands on one.
package examples
