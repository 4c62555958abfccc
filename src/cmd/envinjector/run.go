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
	authService                    bool
	service                        string
	tlsPort, authPort, httpPort    int
	servicePort                    int
	image, pullPolicy              string
	namespaceLabel                 string
	maxAge, imageTimeout           time.Duration
	registries                     registries

	lookup          func(string) (string, bool)
	namespace, auth string
}

func run(ctx context.Context, args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) int {
	command, how := "", ""
	switch {
	case len(args) > 0 && args[0] == "trust":
		command, args = "trust", args[1:]
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
	switch command {
	case "trust":
		err = trust.Print(stdout, nil, time.Now())
	case "ca":
		err = renewCA(ctx, s, how, stdout)
	default:
		err = start(ctx, s, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "envinjector:", err)
		return 1
	}
	return 0
}

func parse(args []string, lookup func(string) (string, bool), stderr io.Writer) (settings, error) {
	s := settings{lookup: lookup}
	flags := flag.NewFlagSet("envinjector", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.cloudConfig, "cloudconfig", "/etc/kubernetes/azure.json", "file that describes the cluster's own identity, for AUTH_TYPE=azureCloudConfig")
	flags.StringVar(&s.extraCAFile, "extra-ca-file", "", "PEM file of certificate authorities to believe besides the public ones")
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "kubeconfig to use outside a cluster")
	flags.StringVar(&s.master, "master", "", "address of the API server; overrides the kubeconfig's")
	flags.StringVar(&s.logFormat, "logging-format", "text", "text or json; also what injected pods log in")
	flags.StringVar(&s.logLevel, "v", "info", "info, debug, trace or a number; also what injected pods log")
	flags.BoolVar(&s.showVersion, "version", false, "print the version and exit")
	flags.BoolVar(&s.metrics, "metrics", false, "serve metrics on the HTTP port")
	flags.BoolVar(&s.watchAll, "watch-all-namespaces", true, "serve every namespace; false means RUNTIME_NAMESPACE alone")
	flags.BoolVar(&s.authService, "auth-service", true, "read vaults for pods; false means that pods read for themselves, with credentials of their own")
	flags.BoolVar(&s.identities.Allowed, "identities", false, "read as the ServiceAccount that a resource names; false ignores the name")
	flags.Func("default-identity", "NAMESPACE=SERVICEACCOUNT of resources that name none; may be repeated", s.identities.AddDefault)
	s.limits.Flags(flags)
	s.fallbacks.Flags(flags)
	flags.Func("vault-rules", "which namespaces may read which vaults, JSON; none means all", s.rules.Set)
	flags.StringVar(&s.service, "service", "akv2k8s-envinjector", "name of the Service that leads here")
	flags.IntVar(&s.servicePort, "service-auth-port", 9443, "port of the Service that leads to -auth-port")
	flags.IntVar(&s.tlsPort, "tls-port", 8443, "where the API server asks")
	flags.IntVar(&s.authPort, "auth-port", 9443, "where pods ask")
	flags.IntVar(&s.httpPort, "http-port", 8080, "where health and metrics are served")
	flags.StringVar(&s.image, "env-image", "", "image of the injector")
	flags.StringVar(&s.pullPolicy, "env-image-pull-policy", "IfNotPresent", "its pull policy")
	flags.StringVar(&s.namespaceLabel, "namespace-label", "azure-key-vault-env-injection=enabled", "label of namespaces whose pods are injected")
	flags.DurationVar(&s.maxAge, "cache-max-age", 10*time.Second, "how old a value may be that a starting pod gets")
	flags.DurationVar(&s.imageTimeout, "image-timeout", 20*time.Second, "how long looking into an image may take, for a container without a command")
	s.registries.tagAge = 5 * time.Minute
	flags.Func("registries", "which registries may be asked for images, and how, JSON", s.registries.Set)
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

func (s *settings) check() error {
	if name, value, ok := strings.Cut(s.namespaceLabel, "="); !ok || name == "" || value == "" {
		return errors.New("-namespace-label must be NAME=VALUE")
	}
	for _, port := range []int{s.tlsPort, s.authPort, s.httpPort, s.servicePort} {
		if port < 1 || port > 65535 {
			return fmt.Errorf("%d is no port; use a number from 1 to 65535", port)
		}
	}
	return nil
}
