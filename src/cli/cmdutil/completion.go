package cmdutil

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// RegisterCompletion sets the completion of a flag that the command has.
func RegisterCompletion(cmd *cobra.Command, flag string, complete Completer) {
	_ = cmd.RegisterFlagCompletionFunc(flag, complete) // fails only for a flag that does not exist
}

// WithPrefix returns the names that begin with a text.
func WithPrefix(names []string, typed string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, typed) })
}

// Completer completes arguments or the value of a flag.
type Completer = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// FirstArgument completes the first argument, and offers nothing for others.
func FirstArgument(complete Completer) Completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, typed)
	}
}
