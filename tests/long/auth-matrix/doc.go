// Package authmatrix installs the product once for each method of authentication, and proves that controller and
// env-injector read with the identity that was meant and no other.
//
// It needs a cluster, so it is built with the tag cluster: make long SUITE=auth-matrix.
package authmatrix
