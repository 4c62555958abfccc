// Command azure-keyvault-env-thin is azure-keyvault-env for pods whose containers all ask the auth service: without
// Azure's SDK it is smaller to copy and faster to start. The webhook chooses.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/akv2k8s/akv2k8s/src/injector"
)

func main() {
	// A container that is stopped while it waits for its values ends at once. The program that follows has signals as
	// they were: exec resets them.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := injector.Program{Args: os.Args, Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}.Run(ctx)
	stop()
	os.Exit(code) // what the kubelet shows; deferred calls would not run
}
