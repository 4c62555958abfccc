package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
)

const usage = `usage: go run ./tests/cluster COMMAND [--name NAME]

  up          make the cluster run; on a running one it changes nothing
  down        remove it and every trace
  status      say what there is
  load        build the images of the product and of the test bed, and load them
  kubeconfig  print the path of the administrator's kubeconfig
  tool        build a tool of tests/tools, such as helm, and print its path (tool NAME)

CLUSTER=kind|current|local chooses the kind of cluster, KUBERNETES=1.30|1.37 the version of a local one.
`

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	name := flags.String("name", "dev", "name of the cluster; clusters of different names don't meet")
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	if err := command(ctx, args[0], bed.Config{Name: *name, Getenv: getenv, Progress: stderr}, flags.Arg(0),
		stdout); err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 1
	}
	return 0
}

func tool(ctx context.Context, config bed.Config, name string, stdout io.Writer) error {
	cache, err := config.Cache()
	if err != nil {
		return err
	}
	program, err := build.Builder{Root: config.Root, Cache: cache, Progress: config.Progress}.Tool(ctx, name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, program)
	return err
}

func command(ctx context.Context, what string, config bed.Config, rest string, stdout io.Writer) error {
	folder, err := os.Getwd()
	if err != nil {
		return err
	}
	if config.Root, err = bed.Root(folder); err != nil {
		return err
	}
	if what == "tool" {
		return tool(ctx, config, rest, stdout)
	}
	if what == "kubeconfig" || what == "status" {
		config.Progress = io.Discard
	}
	cluster, err := bed.Open(ctx, config)
	if err != nil {
		return err
	}
	switch what {
	case "up":
		return cluster.Up(ctx)
	case "down":
		return cluster.Down(ctx)
	case "load":
		_, err = bed.LoadProduct(ctx, config, cluster)
	case "status":
		_, err = fmt.Fprintln(stdout, cluster.Status(ctx))
	case "kubeconfig":
		_, err = fmt.Fprintln(stdout, cluster.Kubeconfig())
	default:
		err = fmt.Errorf("the command %q is not known\n%s", what, usage)
	}
	return err
}
