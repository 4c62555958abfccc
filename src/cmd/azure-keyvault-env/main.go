// Command azure-keyvault-env resolves the references in its environment, with the auth service or by itself, and
// becomes the program that it is given.
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
	// A container that is stopped while it waits for its values ends at once. The program that follows has signals as
	// they were: exec resets them.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := injector.Program{Args: os.Args, Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
		Direct: newDirect,
		Trust:  func(out io.Writer) error { return trust.Print(out, nil, time.Now()) }}.Run(ctx)
	stop()
	os.Exit(code) // what the kubelet shows; deferred calls would not run
}
