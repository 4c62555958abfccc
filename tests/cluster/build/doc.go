// Package build makes the programs of the local cluster from source modules, and installs the Debian packages that it
// needs. What was built is cached outside the repository, by the hash of what it was built from.
package build
