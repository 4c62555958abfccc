// Command azure-keyvault-env-thin is azure-keyvault-env for pods whose containers all use the auth service. Without
// Azure's SDK it is smaller to copy and faster to start. The webhook chooses between the two.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/akv2k8s/akv2k8s/src/injector"
)

func main() {
	// A container that is stopped while it waits for its values ends immediately. exec resets the signal handlers, so
	// the program gets its signals unchanged.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := injector.Program{Args: os.Args, Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}.Run(ctx)
	stop()
	os.Exit(code) // the kubelet shows this code; deferred calls would not run
}
