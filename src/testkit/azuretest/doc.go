// Package azuretest runs the emulator of Azure for tests of one process: real TLS, real names, and a client whose
// connections all end here, so that no test can reach Azure or the machine's own metadata service.
package azuretest
