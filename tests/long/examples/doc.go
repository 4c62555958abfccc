// Package examples installs each example as its README says, and looks whether it does what it is an example of.
//
// It needs a cluster, so it is built with the tag cluster: make long SUITE=examples.
package examples
