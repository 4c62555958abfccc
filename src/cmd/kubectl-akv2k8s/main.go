// Command kubectl-akv2k8s is the command line of akv2k8s, a plugin of kubectl.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/akv2k8s/akv2k8s/src/cli"
)

func main() {
	// An interrupt cancels the command, so that it can finish what it writes.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr})
	stop()
	os.Exit(code) // scripts use this code; deferred calls would not run
}
