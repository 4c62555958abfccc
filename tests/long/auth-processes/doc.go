// Package authprocesses runs the unmodified programs as processes, once for each method of authentication in each
// cloud, against a real API server and the emulator of Azure, which they reach through a proxy.
//
// It needs a cluster, so it is built with the tag cluster: make long SUITE=auth-processes.
package authprocesses
