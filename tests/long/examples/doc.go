// Package examples runs the commands of each example's README on a cluster, and looks whether the example does what it
// is an example of.
//
// How commands are run and output is compared is said in the packages readme and walk. A section whose commands need
// what is not here (Argo CD, Flux) is logged as NOT RUN with the reason, and so is an example that another suite runs.
//
// The tests of the READMEs that need no cluster run with make check; they run the commands for Azure too. The others
// are built with the tag cluster: make long SUITE=examples.
package examples
