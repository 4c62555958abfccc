// Package azuretest runs the Azure emulator inside a test, with TLS and Azure's host names. All connections of its
// client go to the emulator, so no test can reach Azure or the metadata service of the machine.
//
// Test support: never imported by a shipping program.
package azuretest
