package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/akv2k8s/akv2k8s/src/controller/crdupgrade"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/program"
)

// settings are the flags and environment variables of the program.
type settings struct {
	program.Settings
	resyncSeconds    int
	fullname         string
	workers          int
	expiryWarning    time.Duration
	restartWorkloads bool
	restartWindow    time.Duration
	maxRestarts      int
	argoRollouts     bool
	watchInjected    bool

	objectLabels, metricsEnabled, httpPort string
	// serveMetrics and port are metricsEnabled and httpPort, parsed.
	serveMetrics bool
	port         int
}

func run(ctx context.Context, args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) int {
	root := newCommand(newSettings(lookup))
	root.SetOut(stdout)
	root.SetErr(stderr)
	return program.Run(ctx, root, args)
}

// newSettings returns settings with the values of the environment variables.
func newSettings(lookup func(string) (string, bool)) *settings {
	s := &settings{Settings: program.NewSettings(lookup)}
	s.objectLabels = s.Environment.Read("OBJECT_LABELS", "",
		"selector of the AzureKeyVaultSecrets to sync; if empty, all")
	s.httpPort = s.Environment.Read("HTTP_PORT", "9000", "port for health checks and metrics")
	s.metricsEnabled = s.Environment.Read("METRICS_ENABLED", "false", "true serves metrics on HTTP_PORT")
	return s
}

// newCommand returns the program with its subcommands.
func newCommand(s *settings) *cobra.Command {
	applyCRDs := &cobra.Command{Use: "apply-crds",
		Short: "create or update the CustomResourceDefinition; the chart's hook runs it",
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := s.RESTConfig()
			if err != nil {
				return err
			}
			return crdupgrade.ApplyAndPrint(cmd.Context(), config, cmd.OutOrStdout())
		}}
	s.AddClusterFlags(applyCRDs.Flags())
	return program.NewCommand(program.Config{Name: "controller",
		Summary:     "Sync Secrets and ConfigMaps with Azure Key Vault.",
		Environment: &s.Environment,
		AddFlags:    s.addFlags,
		Subcommands: []*cobra.Command{applyCRDs, newCheckAzureCommand(s)},
		Serve: func(cmd *cobra.Command, _ []string) error {
			if err := s.checkValues(); err != nil {
				return program.UsageError{Cause: err}
			}
			return s.runController(cmd.Context(), cmd.ErrOrStderr())
		}})
}

// addFlags adds the flags of the program without a subcommand.
func (s *settings) addFlags(flags *pflag.FlagSet) {
	s.AddClusterFlags(flags)
	s.AddFlags(flags)
	flags.IntVar(&s.resyncSeconds, "azure-resync-period", 30, "`SECONDS` between two refreshes of a vault object")
	flags.Int("kube-resync-period", 30, "has no effect, accepted for compatibility with 1.8; changes are watched")
	flags.StringVar(&s.fullname, "fullname", "akv2k8s", "`NAME` of the installation, and prefix of its objects")
	flags.IntVar(&s.workers, "workers", 8, "number of resources that are reconciled at the same time")
	flags.DurationVar(&s.expiryWarning, "expiry-warning", 30*24*time.Hour,
		"how long before a vault object expires its resources get the condition ExpiringSoon")
	flags.BoolVar(&s.restartWorkloads, "rollout-restart", false, "restart workloads if resources request it")
	flags.DurationVar(&s.restartWindow, "rollout-restart-window", 30*time.Second,
		"time to wait for further changes before workloads are restarted")
	flags.IntVar(&s.maxRestarts, "rollout-restart-max-concurrent", limits.RestartsAtOnce,
		"number of restarted workloads whose pods are replaced at the same time")
	flags.BoolVar(&s.argoRollouts, "rollout-restart-argo-rollouts", false, "restart Rollouts of Argo too")
	flags.BoolVar(&s.watchInjected, "watch-injected", false,
		"refresh resources without outputs too, which only pods use")
}

// checkValues returns an error if a flag or environment variable has a value that can't work.
func (s *settings) checkValues() (err error) {
	if s.serveMetrics, err = strconv.ParseBool(s.metricsEnabled); err != nil {
		return errors.New("METRICS_ENABLED must be true or false")
	}
	if s.port, err = strconv.Atoi(s.httpPort); err != nil || s.port < 1 || s.port > 65535 {
		return fmt.Errorf("HTTP_PORT %q is not a port; use a number from 1 to 65535", s.httpPort)
	}
	if s.workers < 1 {
		return errors.New("--workers must be at least 1; see the value controller.concurrency")
	}
	if s.restartWindow < 0 || s.restartWindow > time.Hour {
		return errors.New("--rollout-restart-window must be from 0 to 1h; see the value " +
			"controller.rolloutRestart.window")
	}
	if s.maxRestarts < 1 {
		return errors.New("--rollout-restart-max-concurrent must be at least 1; see the value " +
			"controller.rolloutRestart.maxConcurrent")
	}
	if s.expiryWarning < 0 {
		return errors.New("--expiry-warning must not be negative; see the value controller.expiryWarning")
	}
	return nil
}
