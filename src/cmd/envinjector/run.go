package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
	"github.com/akv2k8s/akv2k8s/src/trust"
	"github.com/akv2k8s/akv2k8s/src/version"
)

// settings are the flags and environment variables of the program. Those that v1 had keep their names.
type settings struct {
	cloudConfig, extraCAFile            string
	kubeconfig, master                  string
	logFormat, logLevel                 string
	showVersion, serveMetrics, watchAll bool
	identities                          rule.IdentityPolicy
	rules                               rule.AccessRules
	limits                              vaultclient.RateLimits
	fallbacks                           vaultclient.VaultFallbacks
	authService, v1AuthService          bool
	v1UpgradeTime                       time.Duration
	serviceName                         string
	tlsPort, authPort, httpPort         int
	servicePort                         int
	injectorImage, pullPolicy           string
	namespaceLabel                      string
	cacheMaxAge, imageTimeout           time.Duration
	registries                          registrySettings
	certificateFolder                   string
	v1CASecrets                         []string
	initContainer                       initContainerValue

	lookupEnv           func(string) (string, bool)
	namespace, authType string
}

func run(ctx context.Context, args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) int {
	command, how := "", ""
	if len(args) > 0 && args[0] == "check-ready" {
		return checkReady(ctx, args[1:], stdout, stderr)
	}
	switch {
	case len(args) > 0 && (args[0] == "trust" || args[0] == "inherit"):
		command, args = args[0], args[1:]
	case len(args) > 1 && args[0] == "ca":
		command, how, args = "ca", args[1], args[2:]
	}
	s, err := parse(args, lookup, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "envinjector:", err)
		return 2
	case s.showVersion:
		fmt.Fprintln(stdout, version.String())
		return 0
	}
	err = s.runCommand(ctx, []string{command, how}, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "envinjector:", err)
		return 1
	}
	return 0
}

// runCommand runs the command. Without a command, the program serves.
func (s settings) runCommand(ctx context.Context, command []string, stdout, stderr io.Writer) error {
	switch command[0] {
	case "trust":
		return trust.PrintRoots(stdout, nil, time.Now())
	case "inherit":
		return migrateV1CA(ctx, s, stdout)
	case "ca":
		return renewCA(ctx, s, command[1], stdout)
	}
	return runServers(ctx, s, stderr)
}

// checkReady runs the command that helm test uses.
func checkReady(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if err := telemetry.CheckReady(ctx, args, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "envinjector:", err)
		return 1
	}
	return 0
}

func parse(args []string, lookup func(string) (string, bool), stderr io.Writer) (settings, error) {
	s := settings{lookupEnv: lookup}
	flags := flag.NewFlagSet("envinjector", flag.ContinueOnError)
	flags.SetOutput(stderr)
	s.addVaultFlags(flags)
	s.addServingFlags(flags)
	s.addInjectionFlags(flags)
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	get := func(name, otherwise string) string {
		if value, ok := s.lookupEnv(name); ok && value != "" {
			return value
		}
		return otherwise
	}
	s.namespace, s.authType = get("RUNTIME_NAMESPACE", "akv2k8s"), get("AUTH_TYPE", "azureCloudConfig")
	return s, s.checkFlags()
}

// addVaultFlags adds the flags for reading vaults and for identities.
func (s *settings) addVaultFlags(flags *flag.FlagSet) {
	flags.StringVar(&s.cloudConfig, "cloudconfig", "/etc/kubernetes/azure.json",
		"file that describes the cluster's own identity, for AUTH_TYPE=azureCloudConfig")
	flags.StringVar(&s.extraCAFile, "extra-ca-file", "",
		"PEM file of certificate authorities to trust in addition to the public ones")
	flags.BoolVar(&s.authService, "auth-service", true,
		"read vaults for pods; if false, pods read vaults with their own credentials")
	flags.BoolVar(&s.identities.AllowServiceAccounts, "identities", false,
		"read vaults as the ServiceAccount that a resource names; if false, the name is ignored")
	flags.Func("default-identity", "NAMESPACE=SERVICEACCOUNT for resources that name none; can be repeated",
		s.identities.AddDefaultAccount)
	s.limits.AddFlags(flags)
	s.fallbacks.AddFlags(flags)
	flags.Func("vault-rules", "JSON list of the vaults that namespaces may read; without it, all", s.rules.Set)
	flags.DurationVar(&s.cacheMaxAge, "cache-max-age", 10*time.Second,
		"maximum age of a cached value for a starting pod")
}

// addServingFlags adds the flags for ports, certificates, logs and clients.
func (s *settings) addServingFlags(flags *flag.FlagSet) {
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "kubeconfig to use outside a cluster")
	flags.StringVar(&s.master, "master", "", "address of the API server; overrides the kubeconfig's")
	flags.StringVar(&s.logFormat, "logging-format", "text", "text or json; also for injected pods")
	flags.StringVar(&s.logLevel, "v", "info", "info, debug, trace or a number; also for injected pods")
	flags.BoolVar(&s.showVersion, "version", false, "print the version and exit")
	flags.BoolVar(&s.serveMetrics, "metrics", false, "serve metrics on the HTTP port")
	flags.BoolVar(&s.watchAll, "watch-all-namespaces", true,
		"serve all namespaces; if false, only RUNTIME_NAMESPACE")
	flags.BoolVar(&s.v1AuthService, "legacy-auth-service", false,
		"serve pods that akv2k8s 1.8 injected, with its protocol, until they are recreated")
	flags.DurationVar(&s.v1UpgradeTime, "legacy-upgrade-time", 10*time.Minute,
		"maximum duration of the upgrade from 1.8; pods that were created later are not served")
	flags.StringVar(&s.serviceName, "service", "akv2k8s-envinjector", "name of the Service of this program")
	flags.IntVar(&s.servicePort, "service-auth-port", 9443, "port of the Service for -auth-port")
	flags.IntVar(&s.tlsPort, "tls-port", 8443, "port for admission requests")
	flags.IntVar(&s.authPort, "auth-port", 9443, "port for requests from pods")
	flags.IntVar(&s.httpPort, "http-port", 8080, "port for health checks and metrics")
	flags.StringVar(&s.certificateFolder, "webhook-certificates", "",
		"folder of tls.crt and tls.key of the webhook; if empty, the program's own CA issues the certificate")
	flags.Func("from", "Secret of akv2k8s 1.8 with its CA or certificate, for inherit; can be repeated",
		func(name string) error {
			s.v1CASecrets = append(s.v1CASecrets, name)
			return nil
		})
}

// addInjectionFlags adds the flags for the injection of pods.
func (s *settings) addInjectionFlags(flags *flag.FlagSet) {
	flags.StringVar(&s.injectorImage, "env-image", "", "image of the injector")
	flags.StringVar(&s.pullPolicy, "env-image-pull-policy", "IfNotPresent", "pull policy of -env-image")
	flags.StringVar(&s.namespaceLabel, "namespace-label", "azure-key-vault-env-injection=enabled",
		"NAME=VALUE of the label of namespaces whose pods are injected")
	flags.DurationVar(&s.imageTimeout, "image-timeout", 20*time.Second,
		"maximum time to read the command of an image from its registry, for a container without a command")
	s.registries.tagAge = 5 * time.Minute
	flags.Func("registries", "JSON settings for reading images from registries", s.registries.Set)
	flags.Func("init-container", "JSON resources and security context of the init container", s.initContainer.Set)
}

func (s *settings) checkFlags() error {
	if name, value, ok := strings.Cut(s.namespaceLabel, "="); !ok || name == "" || value == "" {
		return errors.New("-namespace-label must be NAME=VALUE")
	}
	for _, port := range []int{s.tlsPort, s.authPort, s.httpPort, s.servicePort} {
		if port < 1 || port > 65535 {
			return fmt.Errorf("port %d is invalid; use a number from 1 to 65535", port)
		}
	}
	switch {
	case s.v1AuthService && !s.authService:
		return errors.New("-legacy-auth-service needs -auth-service, which is off")
	case s.v1AuthService && len(s.rules) > 0:
		return errors.New("-legacy-auth-service gives pods a token for every vault, which -vault-rules can't limit; " +
			"remove one of them")
	case s.v1UpgradeTime < 0:
		return errors.New("-legacy-upgrade-time can't be negative")
	}
	return nil
}
