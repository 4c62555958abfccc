package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/akv2k8s/akv2k8s/src/cli/cmdutil"
	"github.com/akv2k8s/akv2k8s/src/cli/command/convert"
	"github.com/akv2k8s/akv2k8s/src/cli/command/doctor"
	"github.com/akv2k8s/akv2k8s/src/cli/command/exec"
	"github.com/akv2k8s/akv2k8s/src/cli/command/explain"
	"github.com/akv2k8s/akv2k8s/src/cli/command/get"
	"github.com/akv2k8s/akv2k8s/src/cli/command/refresh"
	"github.com/akv2k8s/akv2k8s/src/version"
)

// Exit codes.
const (
	ExitOK      = 0
	ExitFailure = 1
	// ExitUsage is the exit code for flags and arguments that are wrong.
	ExitUsage = 2
	// ExitIncomplete is the exit code if the work is done, but something was left out.
	ExitIncomplete = 3
)

// subcommands is the registry of the subcommands.
func subcommands() []func(genericiooptions.IOStreams) *cobra.Command {
	return []func(genericiooptions.IOStreams) *cobra.Command{
		convert.NewCommand,
		get.NewCommand,
		refresh.NewCommand,
		exec.NewCommand,
		explain.NewCommand,
		doctor.NewCommand,
	}
}

// NewCommand returns the command with its subcommands. kubectl runs it as a plugin, so its name is kubectl akv2k8s.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	printVersion := false
	root := &cobra.Command{Use: "kubectl-akv2k8s",
		Short: "Work with akv2k8s from the command line",
		Long: "Work with akv2k8s, which brings Azure Key Vault to Kubernetes.\n\n" +
			"Exit codes: 0 for success, 1 for a failure, 2 for a wrong flag or argument, 3 if something was left out.\n" +
			"exec has the exit code of the command that it runs.",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl akv2k8s"},
		SilenceErrors: true, SilenceUsage: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return cmdutil.UsageErrorf("unknown command %q; run '%s --help'", args[0], cmd.CommandPath())
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if printVersion {
				_, err := fmt.Fprintln(streams.Out, version.String())
				return err
			}
			return cmd.Help()
		}}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cmdutil.UsageErrorf("%w; run '%s --help' for its flags", err, cmd.CommandPath())
	})
	// cobra's own flag would need a template: see newPrinter of package command/get.
	root.Flags().BoolVar(&printVersion, "version", false, "Print the version and exit.")
	for _, newSubcommand := range subcommands() {
		root.AddCommand(newSubcommand(streams))
	}
	return root
}

// Run runs the command with these arguments and returns the exit code.
func Run(ctx context.Context, args []string, streams genericiooptions.IOStreams) int {
	root := NewCommand(streams)
	root.SetArgs(append([]string{}, args...)) // not nil, for which cobra takes the arguments of the process
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, cmdutil.ErrIncomplete):
		return ExitIncomplete
	case errors.Is(err, cmdutil.ErrUnhealthy):
		return ExitFailure
	}
	if exit := (cmdutil.ExitError{}); errors.As(err, &exit) {
		return exit.Code
	}
	fmt.Fprintf(streams.ErrOut, "error: %v\n", err)
	if usage := (cmdutil.UsageError{}); errors.As(err, &usage) {
		return ExitUsage
	}
	return ExitFailure
}
