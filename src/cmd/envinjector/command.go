package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/akv2k8s/akv2k8s/src/envinjector"
	"github.com/akv2k8s/akv2k8s/src/program"
)

func run(ctx context.Context, args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) int {
	root := newCommand(envinjector.NewSettings(lookup))
	root.SetOut(stdout)
	root.SetErr(stderr)
	return program.Run(ctx, root, args)
}

// newCommand returns the program with its subcommands.
func newCommand(s *envinjector.Settings) *cobra.Command {
	return program.NewCommand(program.Config{Name: "envinjector",
		Summary:     "Inject pods with Azure Key Vault values, and serve these values to the pods.",
		Details:     "The level and format of the log are also those of injected pods.",
		Environment: &s.Environment,
		AddFlags:    s.AddFlags,
		Subcommands: []*cobra.Command{newCACommand(s), newMigrateV1CACommand(s, "migrate-v1-ca"),
			newMigrateV1CACommand(s, oldMigrateV1CA)},
		Serve: func(cmd *cobra.Command, _ []string) error {
			if err := s.CheckFlags(); err != nil {
				return program.UsageError{Cause: err}
			}
			return envinjector.Serve(cmd.Context(), *s, cmd.ErrOrStderr())
		}})
}

// newCACommand returns the subcommand ca with its own subcommands.
func newCACommand(s *envinjector.Settings) *cobra.Command {
	ca := &cobra.Command{Use: "ca", Short: "renew the certificate authority of the auth service"}
	s.AddSecretFlags(ca.PersistentFlags())
	ca.AddCommand(&cobra.Command{Use: "rotate", Short: "create the next CA, cross-signed by the current one",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return envinjector.RotateCA(cmd.Context(), *s, cmd.OutOrStdout())
		}}, &cobra.Command{Use: "replace", Short: "create a new CA; injected pods must be recreated",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return envinjector.ReplaceCA(cmd.Context(), *s, cmd.OutOrStdout())
		}})
	return ca
}

// oldMigrateV1CA is the name of the subcommand migrate-v1-ca in charts of earlier builds.
const oldMigrateV1CA = "inherit"

// newMigrateV1CACommand returns the subcommand migrate-v1-ca under one of its names.
func newMigrateV1CACommand(s *envinjector.Settings, name string) *cobra.Command {
	cmd := &cobra.Command{Use: name, Hidden: name == oldMigrateV1CA,
		Short: "copy the CA certificate of akv2k8s 1.8 before an upgrade; the chart's hook runs it",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return envinjector.MigrateV1CA(cmd.Context(), *s, cmd.OutOrStdout())
		}}
	s.AddMigrationFlags(cmd.Flags())
	return cmd
}
