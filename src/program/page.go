package program

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newPrintFlagsCommand returns the hidden subcommand that prints the program's section of docs/reference/flags.md.
func newPrintFlagsCommand(environment *Environment) *cobra.Command {
	return &cobra.Command{Use: "print-flags", Hidden: true, Short: "print the flags as Markdown",
		RunE: func(cmd *cobra.Command, _ []string) error {
			writeFlags(cmd.OutOrStdout(), cmd.Root(), "##")
			writeVariables(cmd.OutOrStdout(), cmd.Root().Name(), environment)
			return nil
		}}
}

// writeFlags writes a section for the command, and one for each of its subcommands.
func writeFlags(out io.Writer, cmd *cobra.Command, heading string) {
	fmt.Fprintf(out, "%s `%s`\n\n%s.\n", heading, cmd.CommandPath(), strings.TrimSuffix(upperFirst(cmd.Short), "."))
	rows := 0
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if rows++; rows == 1 {
			fmt.Fprint(out, "\n| Flag | Default | Meaning |\n|---|---|---|\n")
		}
		fmt.Fprintln(out, flagRow(f))
	})
	fmt.Fprintln(out)
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			writeFlags(out, sub, "###")
		}
	}
}

// flagRow is the row of a flag in a table of Markdown.
func flagRow(f *pflag.Flag) string {
	kind, meaning := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if kind != "" {
		name += "=" + kind
	}
	for old, current := range oldNames() {
		if current == f.Name {
			meaning += "; in 1.8 `-" + old + "`, which is accepted, too"
		}
	}
	value := f.DefValue
	if value != "" {
		value = "`" + value + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s |", name, value, strings.ReplaceAll(meaning, "|", `\|`))
}

// writeVariables writes a table of the environment variables of a program.
func writeVariables(out io.Writer, program string, environment *Environment) {
	fmt.Fprintf(out, "### Environment variables of `%s`\n\n| Variable | Default | Meaning |\n|---|---|---|\n", program)
	for _, v := range environment.variables {
		value := v.otherwise
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(out, "| `%s` | %s | %s |\n", v.name, value, v.meaning)
	}
}

func upperFirst(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
