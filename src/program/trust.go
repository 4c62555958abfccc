package program

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/akv2k8s/akv2k8s/src/trust"
)

// newTrustCommand returns the subcommand that prints the public certificate authorities of the program.
func newTrustCommand() *cobra.Command {
	return &cobra.Command{Use: "trust", Short: "print the certificate authorities that the program trusts",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return trust.PrintRoots(cmd.OutOrStdout(), nil, time.Now())
		}}
}
