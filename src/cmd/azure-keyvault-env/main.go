// Command azure-keyvault-env resolves the references in its environment, with the auth service or by itself, and becomes the program that it is given.
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
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := injector.Program{Args: os.Args, Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Direct: newDirect,
		Trust: func(out io.Writer) error { return trust.Print(out, nil, time.Now()) }}.Run(ctx)
	stop()
	os.Exit(code)
}
