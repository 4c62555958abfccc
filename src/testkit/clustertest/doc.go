// Package clustertest is a cluster without a server, for tests of commands: the objects of the chart as Helm renders
// it, in a fake client whose API server reviews access by the rendered roles, and answers dry runs of pods as the
// webhook does.
//
// Test support: never imported by a shipping program.
package clustertest
