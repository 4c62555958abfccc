// Package faults breaks things on purpose: parts of the test bed, and replicas of the product.
//
// It needs a local cluster, so it is built with the tag cluster: make long SUITE=faults.
package faults
