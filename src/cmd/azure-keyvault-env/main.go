// Command azure-keyvault-env resolves the references in its environment and replaces itself with the container's
// program. It uses the auth service, or reads vaults with the pod's own credentials.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/akv2k8s/akv2k8s/src/injector"
	"github.com/akv2k8s/akv2k8s/src/trust"
)

func main() {
	// A container that is stopped while it waits for its values ends immediately. exec resets the signal handlers, so
	// the program gets its signals unchanged.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := injector.Program{Args: os.Args, Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
		NewDirectResolver: newDirectResolver, NewDirectFileSource: newDirectFileSource,
		PrintTrustedCAs: func(out io.Writer) error { return trust.PrintRoots(out, nil, time.Now()) }}.Run(ctx)
	stop()
	os.Exit(code) // the kubelet shows this code; deferred calls would not run
}
