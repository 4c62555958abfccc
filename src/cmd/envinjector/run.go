package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault/gateway"
	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
	"github.com/akv2k8s/akv2k8s/src/trust"
	"github.com/akv2k8s/akv2k8s/src/version"
)

// settings are the flags and variables of the program. The names are the predecessor's where it had them.
type settings struct {
	cloudConfig, extraCAFile       string
	kubeconfig, master             string
	logFormat, logLevel            string
	showVersion, metrics, watchAll bool
	identities                     rule.Identities
	rules                          rule.Rules
	limits                         gateway.Limits
	fallbacks                      gateway.Fallbacks
	authService, legacyAuthService bool
	upgradeTime                    time.Duration
	service                        string
	tlsPort, authPort, httpPort    int
	servicePort                    int
	image, pullPolicy              string
	namespaceLabel                 string
	maxAge, imageTimeout           time.Duration
	registries                     registries
	certificates                   string
	inheritFrom                    []string
	initContainer                  initContainer

	lookup          func(string) (string, bool)
	namespace, auth string
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
	err = s.do(ctx, []string{command, how}, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "envinjector:", err)
		return 1
	}
	return 0
}

// do does what the command says; without one the program serves.
func (s settings) do(ctx context.Context, command []string, stdout, stderr io.Writer) error {
	switch command[0] {
	case "trust":
		return trust.Print(stdout, nil, time.Now())
	case "inherit":
		return inherit(ctx, s, stdout)
	case "ca":
		return renewCA(ctx, s, command[1], stdout)
	}
	return start(ctx, s, stderr)
}

// checkReady is what helm test runs.
func checkReady(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if err := telemetry.CheckReady(ctx, args, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "envinjector:", err)
		return 1
	}
	return 0
}

func parse(args []string, lookup func(string) (string, bool), stderr io.Writer) (settings, error) {
	s := settings{lookup: lookup}
	flags := flag.NewFlagSet("envinjector", flag.ContinueOnError)
	flags.SetOutput(stderr)
	s.addVaultFlags(flags)
	s.addServingFlags(flags)
	s.addInjectionFlags(flags)
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	get := func(name, otherwise string) string {
		if value, ok := s.lookup(name); ok && value != "" {
			return value
		}
		return otherwise
	}
	s.namespace, s.auth = get("RUNTIME_NAMESPACE", "akv2k8s"), get("AUTH_TYPE", "azureCloudConfig")
	return s, s.check()
}

// addVaultFlags adds what says which vaults are read, and as whom.
func (s *settings) addVaultFlags(flags *flag.FlagSet) {
	flags.StringVar(&s.cloudConfig, "cloudconfig", "/etc/kubernetes/azure.json",
		"file that describes the cluster's own identity, for AUTH_TYPE=azureCloudConfig")
	flags.StringVar(&s.extraCAFile, "extra-ca-file", "",
		"PEM file of certificate authorities to believe besides the public ones")
	flags.BoolVar(&s.authService, "auth-service", true,
		"read vaults for pods; false means that pods read for themselves, with credentials of their own")
	flags.BoolVar(&s.identities.Allowed, "identities", false,
		"read as the ServiceAccount that a resource names; false ignores the name")
	flags.Func("default-identity", "NAMESPACE=SERVICEACCOUNT of resources that name none; may be repeated",
		s.identities.AddDefault)
	s.limits.Flags(flags)
	s.fallbacks.Flags(flags)
	flags.Func("vault-rules", "which namespaces may read which vaults, JSON; none means all", s.rules.Set)
	flags.DurationVar(&s.maxAge, "cache-max-age", 10*time.Second, "how old a value may be that a starting pod gets")
}

// addServingFlags adds what says where the program serves, and whom.
func (s *settings) addServingFlags(flags *flag.FlagSet) {
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "kubeconfig to use outside a cluster")
	flags.StringVar(&s.master, "master", "", "address of the API server; overrides the kubeconfig's")
	flags.StringVar(&s.logFormat, "logging-format", "text", "text or json; also what injected pods log in")
	flags.StringVar(&s.logLevel, "v", "info", "info, debug, trace or a number; also what injected pods log")
	flags.BoolVar(&s.showVersion, "version", false, "print the version and exit")
	flags.BoolVar(&s.metrics, "metrics", false, "serve metrics on the HTTP port")
	flags.BoolVar(&s.watchAll, "watch-all-namespaces", true,
		"serve every namespace; false means RUNTIME_NAMESPACE alone")
	flags.BoolVar(&s.legacyAuthService, "legacy-auth-service", false,
		"serve pods that version 1.8 injected, in its own way, until they are recreated")
	flags.DurationVar(&s.upgradeTime, "legacy-upgrade-time", 10*time.Minute,
		"how long the upgrade from that version may have taken; pods that are younger are not served")
	flags.StringVar(&s.service, "service", "akv2k8s-envinjector", "name of the Service that leads here")
	flags.IntVar(&s.servicePort, "service-auth-port", 9443, "port of the Service that leads to -auth-port")
	flags.IntVar(&s.tlsPort, "tls-port", 8443, "where the API server asks")
	flags.IntVar(&s.authPort, "auth-port", 9443, "where pods ask")
	flags.IntVar(&s.httpPort, "http-port", 8080, "where health and metrics are served")
	flags.StringVar(&s.certificates, "webhook-certificates", "",
		"folder of tls.crt and tls.key to show to the API server; empty means one of our own CA")
	flags.Func("from", "Secret of akv2k8s 1.8 with its CA or certificate, for inherit; may be repeated",
		func(name string) error {
			s.inheritFrom = append(s.inheritFrom, name)
			return nil
		})
}

// addInjectionFlags adds what says how pods are changed.
func (s *settings) addInjectionFlags(flags *flag.FlagSet) {
	flags.StringVar(&s.image, "env-image", "", "image of the injector")
	flags.StringVar(&s.pullPolicy, "env-image-pull-policy", "IfNotPresent", "its pull policy")
	flags.StringVar(&s.namespaceLabel, "namespace-label", "azure-key-vault-env-injection=enabled",
		"label of namespaces whose pods are injected")
	flags.DurationVar(&s.imageTimeout, "image-timeout", 20*time.Second,
		"how long looking into an image may take, for a container without a command")
	s.registries.tagAge = 5 * time.Minute
	flags.Func("registries", "which registries may be asked for images, and how, JSON", s.registries.Set)
	flags.Func("init-container", "resources and security context of the init container, JSON", s.initContainer.Set)
}

func (s *settings) check() error {
	if name, value, ok := strings.Cut(s.namespaceLabel, "="); !ok || name == "" || value == "" {
		return errors.New("-namespace-label must be NAME=VALUE")
	}
	for _, port := range []int{s.tlsPort, s.authPort, s.httpPort, s.servicePort} {
		if port < 1 || port > 65535 {
			return fmt.Errorf("%d is no port; use a number from 1 to 65535", port)
		}
	}
	switch {
	case s.legacyAuthService && !s.authService:
		return errors.New("-legacy-auth-service is a part of -auth-service, which is off")
	case s.legacyAuthService && len(s.rules) > 0:
		return errors.New("-legacy-auth-service gives pods a token for every vault, which -vault-rules can't bound; " +
			"leave one of them out")
	case s.upgradeTime < 0:
		return errors.New("-legacy-upgrade-time can't be negative")
	}
	return nil
}
