// Package program has what the Kubernetes programs share: their command line, exit codes, logger, the flags that more
// than one program has, and the server of health checks and metrics.
//
// Floor 5. The injectors must not link it: they have no flags, and each pod would pay for the libraries.
package program
