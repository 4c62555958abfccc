package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
	"github.com/akv2k8s/akv2k8s/src/trust"
	"github.com/akv2k8s/akv2k8s/src/version"
)

// settings are the flags and environment variables of the program. Those that v1 had keep their names.
type settings struct {
	cloudConfig, kubeconfig, master  string
	watchAll                         bool
	identities                       rule.IdentityPolicy
	rules                            rule.AccessRules
	limits                           vaultclient.RateLimits
	fallbacks                        vaultclient.VaultFallbacks
	resyncSeconds, kubeResyncSeconds int
	logFormat, logLevel              string
	showVersion                      bool
	fullname, extraCAFile            string
	workers                          int
	expiryWarning                    time.Duration
	restartWorkloads                 bool
	restartWindow                    time.Duration

	lookupEnv                         func(string) (string, bool)
	namespace, authType, objectLabels string
	httpPort                          string
	serveMetrics                      bool
}

func run(ctx context.Context, args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 && args[0] == "check-ready" {
		return checkReady(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && (args[0] == "trust" || args[0] == "apply-crds") {
		command, args = args[0], args[1:]
	}
	s, err := parse(args, lookup, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "controller:", err)
		return 2
	case s.showVersion:
		fmt.Fprintln(stdout, version.String())
		return 0
	}
	switch command {
	case "trust":
		err = trust.PrintRoots(stdout, nil, time.Now())
	case "apply-crds":
		err = applyCRDs(ctx, s, stdout)
	default:
		err = runController(ctx, s, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "controller:", err)
		return 1
	}
	return 0
}

// checkReady runs the command that helm test uses.
func checkReady(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if err := telemetry.CheckReady(ctx, args, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "controller:", err)
		return 1
	}
	return 0
}

func parse(args []string, lookup func(string) (string, bool), stderr io.Writer) (settings, error) {
	s := settings{lookupEnv: lookup}
	flags := flag.NewFlagSet("controller", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.cloudConfig, "cloudconfig", "/etc/kubernetes/azure.json",
		"file that describes the cluster's own identity, for AUTH_TYPE=azureCloudConfig")
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "kubeconfig to use outside a cluster")
	flags.StringVar(&s.master, "master", "", "address of the API server; overrides the kubeconfig's")
	flags.BoolVar(&s.watchAll, "watch-all-namespaces", true,
		"watch all namespaces; if false, only RUNTIME_NAMESPACE")
	flags.IntVar(&s.resyncSeconds, "azure-resync-period", 30, "seconds between two refreshes of a vault object")
	flags.IntVar(&s.kubeResyncSeconds, "kube-resync-period", 30,
		"has no effect, accepted for compatibility with 1.8; changes are watched")
	flags.StringVar(&s.logFormat, "logging-format", "text", "text or json")
	flags.StringVar(&s.logLevel, "v", "info", "info, debug, trace or a number")
	flags.BoolVar(&s.showVersion, "version", false, "print the version and exit")
	flags.StringVar(&s.fullname, "fullname", "akv2k8s", "name of the installation, and prefix of its objects")
	flags.StringVar(&s.extraCAFile, "extra-ca-file", "",
		"PEM file of certificate authorities to trust in addition to the public ones")
	flags.BoolVar(&s.identities.AllowServiceAccounts, "identities", false,
		"read vaults as the ServiceAccount that a resource names; if false, the name is ignored")
	flags.Func("default-identity", "NAMESPACE=SERVICEACCOUNT for resources that name none; can be repeated",
		s.identities.AddDefaultAccount)
	s.limits.AddFlags(flags)
	s.fallbacks.AddFlags(flags)
	flags.Func("vault-rules", "JSON list of the vaults that namespaces may read; without it, all", s.rules.Set)
	flags.IntVar(&s.workers, "workers", 8, "number of resources that are reconciled at the same time")
	flags.DurationVar(&s.expiryWarning, "expiry-warning", 30*24*time.Hour,
		"how long before a vault object expires its resources get the condition ExpiringSoon")
	flags.BoolVar(&s.restartWorkloads, "rollout-restart", false, "restart workloads if resources request it")
	flags.DurationVar(&s.restartWindow, "rollout-restart-window", 30*time.Second,
		"time to wait for further changes before workloads are restarted")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	return s, s.readEnvironment()
}

func (s *settings) readEnvironment() error {
	get := func(name, otherwise string) string {
		if value, ok := s.lookupEnv(name); ok && value != "" {
			return value
		}
		return otherwise
	}
	s.namespace = get("RUNTIME_NAMESPACE", "akv2k8s")
	s.authType = get("AUTH_TYPE", "azureCloudConfig")
	s.objectLabels = get("OBJECT_LABELS", "")
	s.httpPort = get("HTTP_PORT", "9000")
	var err error
	if s.serveMetrics, err = strconv.ParseBool(get("METRICS_ENABLED", "false")); err != nil {
		return errors.New("METRICS_ENABLED must be true or false")
	}
	if port, err := strconv.Atoi(s.httpPort); err != nil || port < 1 || port > 65535 {
		return fmt.Errorf("HTTP_PORT %q is not a port; use a number from 1 to 65535", s.httpPort)
	}
	if s.workers < 1 {
		return errors.New("--workers must be at least 1; see the value controller.concurrency")
	}
	if s.restartWindow < 0 || s.restartWindow > time.Hour {
		return errors.New("--rollout-restart-window must be from 0 to 1h; see the value " +
			"controller.rolloutRestart.window")
	}
	if s.expiryWarning < 0 {
		return errors.New("--expiry-warning must not be negative; see the value controller.expiryWarning")
	}
	return nil
}
