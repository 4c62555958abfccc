package cmdutil

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// Errors that end a command whose output says why.
var (
	// ErrIncomplete is for work that is done, of which something was left out.
	ErrIncomplete = errors.New("something was left out")
	// ErrUnhealthy is for a check that has found a fault.
	ErrUnhealthy = errors.New("a check failed")
)

// UsageError is an error in flags or arguments.
type UsageError struct{ Cause error }

// Error implements error.
func (e UsageError) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e UsageError) Unwrap() error { return e.Cause }

// UsageErrorf returns an error in flags or arguments.
func UsageErrorf(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// ExitError ends a command with the exit code of the program that it ran, without a message.
type ExitError struct{ Code int }

// Error implements error.
func (e ExitError) Error() string { return fmt.Sprintf("the command ended with exit code %d", e.Code) }

// RejectArguments rejects arguments of a subcommand that has flags only.
func RejectArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return UsageErrorf("%s takes no arguments, but has %q; run '%[1]s --help' for its flags",
		cmd.CommandPath(), args[0])
}

// RequireOneName requires the name of a resource as the only argument.
func RequireOneName(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return UsageErrorf("%s needs the name of one AzureKeyVaultSecret, but has %d arguments; run '%[1]s --help'",
		cmd.CommandPath(), len(args))
}
