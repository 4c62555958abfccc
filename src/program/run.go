package program

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/akv2k8s/akv2k8s/src/version"
)

// Exit codes of the programs.
const (
	ExitOK      = 0
	ExitFailure = 1
	// ExitUsage is the exit code for flags, arguments or environment variables that are wrong.
	ExitUsage = 2
)

// UsageError is an error in flags, arguments or environment variables. The program ends with ExitUsage.
type UsageError struct{ Cause error }

// Error implements error.
func (e UsageError) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e UsageError) Unwrap() error { return e.Cause }

// usageErrorf returns a UsageError. format and args are those of fmt.Errorf.
func usageErrorf(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// Config describes a program.
type Config struct {
	// Name is the name of the executable, Summary one sentence about it. Details are further sentences for --help; they
	// can be empty.
	Name, Summary, Details string
	// AddFlags adds the flags of the program without a subcommand.
	AddFlags func(*pflag.FlagSet)
	// Serve runs the program without a subcommand.
	Serve func(*cobra.Command, []string) error
	// Environment has the variables that the program reads.
	Environment *Environment
	// Subcommands are those that other programs do not have.
	Subcommands []*cobra.Command
}

// NewCommand returns the root command of a program, with the subcommands that all programs have.
func NewCommand(c Config) *cobra.Command {
	root := &cobra.Command{Use: c.Name, Short: c.Summary, Long: c.helpText(), RunE: c.Serve, Version: version.String(),
		SilenceErrors: true, SilenceUsage: true, CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageErrorf("%w; run '%s --help' for its flags", err, cmd.CommandPath())
	})
	c.AddFlags(root.Flags())
	root.Flags().Bool("version", false, "print the version and exit") // without it, cobra adds the shorthand -v
	root.AddCommand(c.Subcommands...)
	root.AddCommand(newTrustCommand(), newCheckReadyCommand(), newPrintFlagsCommand(c.Environment))
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(currentName(name))
	})
	checkArguments(root)
	return root
}

// helpText is the text above the subcommands and flags in --help.
func (c Config) helpText() string {
	paragraphs := []string{c.Summary}
	if c.Details != "" {
		paragraphs = append(paragraphs, c.Details)
	}
	var lines strings.Builder
	lines.WriteString("Environment variables:")
	for _, v := range c.Environment.variables {
		fmt.Fprintf(&lines, "\n  %-18s %s", v.name, v.meaning)
	}
	return strings.Join(append(paragraphs, lines.String()), "\n\n")
}

// Run runs the command with these arguments and returns the exit code. It prints an error to the command's standard
// error.
func Run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(acceptSingleDashes(args))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	fmt.Fprintf(root.ErrOrStderr(), "%s: %v\n", root.Name(), err)
	if usage := (UsageError{}); errors.As(err, &usage) {
		return ExitUsage
	}
	return ExitFailure
}

// checkArguments makes the command and its subcommands reject arguments. Without it, cobra ignores those of a
// subcommand, and a command that only has subcommands succeeds without one.
func checkArguments(cmd *cobra.Command) {
	cmd.Args = rejectArguments
	if cmd.RunE == nil {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			return usageErrorf("%s needs a subcommand; %s", cmd.CommandPath(), subcommandAdvice(cmd))
		}
	}
	for _, sub := range cmd.Commands() {
		checkArguments(sub)
	}
}

func rejectArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasAvailableSubCommands():
		return usageErrorf("%s has no subcommand %q; %s", cmd.CommandPath(), args[0], subcommandAdvice(cmd))
	}
	return usageErrorf("%s takes no arguments, but has %q; run '%[1]s --help' for its flags", cmd.CommandPath(),
		args[0])
}

// subcommandAdvice names the subcommands of a command.
func subcommandAdvice(cmd *cobra.Command) string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.CommandPath())
		}
	}
	return "use one of: " + strings.Join(names, ", ")
}

// oldNames are the names of flags in akv2k8s 1.8, with the current ones.
func oldNames() map[string]string {
	return map[string]string{"cloudconfig": "cloud-config", "logging-format": "log-format", "v": "log-level"}
}

// currentName returns the current name of a flag, which can have its old name.
func currentName(name string) string {
	if current, ok := oldNames()[name]; ok {
		return current
	}
	return name
}

// acceptSingleDashes adds the second dash to flags that have one, such as -cloudconfig. akv2k8s 1.8 accepted both. It
// takes a value that begins with a dash and a letter for a flag, too; no flag has such values.
func acceptSingleDashes(args []string) []string {
	all := make([]string, 0, len(args)) // not nil, for which cobra takes the arguments of the process
	for i, arg := range args {
		if arg == "--" {
			return slices.Concat(all, args[i:])
		}
		if len(arg) > 1 && arg[0] == '-' && isLetter(arg[1]) && arg != "-h" {
			arg = "-" + arg
		}
		all = append(all, arg)
	}
	return all
}

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }
