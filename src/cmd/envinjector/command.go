package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/akv2k8s/akv2k8s/src/program"
	"github.com/akv2k8s/akv2k8s/src/servingcert"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// settings are the flags and environment variables of the program.
type settings struct {
	program.Settings
	serveMetrics               bool
	authService, v1AuthService bool
	v1UpgradeTime              time.Duration
	serviceName                string
	tlsPort, authPort          int
	httpPort, servicePort      int
	injectorImage, pullPolicy  string
	namespaceLabel             string
	cacheMaxAge, imageTimeout  time.Duration
	registries                 ociimage.Settings
	certificateFolder          string
	v1CASecrets                []string
	initContainer              initContainerValue
	// clientCA is the PEM of the client certificate authority of the API server; it can be empty.
	clientCA string
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
	s.clientCA = s.Environment.Read("WEBHOOK_CLIENT_CA", "",
		"PEM of the authority of the API server's client certificate; if set, the webhook requires that certificate")
	return s
}

// newCommand returns the program with its subcommands.
func newCommand(s *settings) *cobra.Command {
	return program.NewCommand(program.Config{Name: "envinjector",
		Summary:     "Inject pods with Azure Key Vault values, and serve these values to the pods.",
		Details:     "The level and format of the log are also those of injected pods.",
		Environment: &s.Environment,
		AddFlags:    s.addFlags,
		Subcommands: []*cobra.Command{newCACommand(s), newMigrateV1CACommand(s, "migrate-v1-ca"),
			newMigrateV1CACommand(s, oldMigrateV1CA)},
		Serve: func(cmd *cobra.Command, _ []string) error {
			if err := s.checkFlags(); err != nil {
				return program.UsageError{Cause: err}
			}
			return runServers(cmd.Context(), *s, cmd.ErrOrStderr())
		}})
}

// newCACommand returns the subcommand ca with its own subcommands.
func newCACommand(s *settings) *cobra.Command {
	ca := &cobra.Command{Use: "ca", Short: "renew the certificate authority of the auth service"}
	s.addSecretFlags(ca.PersistentFlags())
	ca.AddCommand(&cobra.Command{Use: "rotate", Short: "create the next CA, cross-signed by the current one",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return renewCA(cmd.Context(), *s, (*servingcert.Rotator).RotateCA, cmd.OutOrStdout())
		}}, &cobra.Command{Use: "replace", Short: "create a new CA; injected pods must be recreated",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return renewCA(cmd.Context(), *s, (*servingcert.Rotator).ReplaceCA, cmd.OutOrStdout())
		}})
	return ca
}

// oldMigrateV1CA is the name of the subcommand migrate-v1-ca in charts of earlier builds.
const oldMigrateV1CA = "inherit"

// newMigrateV1CACommand returns the subcommand migrate-v1-ca under one of its names.
func newMigrateV1CACommand(s *settings, name string) *cobra.Command {
	cmd := &cobra.Command{Use: name, Hidden: name == oldMigrateV1CA,
		Short: "copy the CA certificate of akv2k8s 1.8 before an upgrade; the chart's hook runs it",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return migrateV1CA(cmd.Context(), *s, cmd.OutOrStdout())
		}}
	s.addSecretFlags(cmd.Flags())
	cmd.Flags().Func("from", "`SECRET` of akv2k8s 1.8 with its CA or certificate; can be repeated",
		func(name string) error {
			s.v1CASecrets = append(s.v1CASecrets, name)
			return nil
		})
	return cmd
}

// addSecretFlags adds the flags of programs and subcommands that use the Secret of the CA.
func (s *settings) addSecretFlags(flags *pflag.FlagSet) {
	s.AddClusterFlags(flags)
	flags.StringVar(&s.serviceName, "service", "akv2k8s-envinjector", "`NAME` of the Service of this program")
}

// addFlags adds the flags of the program without a subcommand.
func (s *settings) addFlags(flags *pflag.FlagSet) {
	s.addSecretFlags(flags)
	s.AddFlags(flags)
	s.addServingFlags(flags)
	s.addInjectionFlags(flags)
}

// addServingFlags adds the flags for ports, certificates and pods that read.
func (s *settings) addServingFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&s.authService, "auth-service", true,
		"read vaults for pods; if false, pods read vaults with their own credentials")
	flags.DurationVar(&s.cacheMaxAge, "cache-max-age", 10*time.Second,
		"maximum age of a cached value for a starting pod")
	flags.BoolVar(&s.serveMetrics, "metrics", false, "serve metrics on the HTTP port")
	flags.BoolVar(&s.v1AuthService, "legacy-auth-service", false,
		"serve pods that akv2k8s 1.8 injected, with its protocol, until they are recreated")
	flags.DurationVar(&s.v1UpgradeTime, "legacy-upgrade-time", 10*time.Minute,
		"maximum duration of the upgrade from 1.8; pods that were created later are not served")
	flags.IntVar(&s.servicePort, "service-auth-port", 9443, "port of the Service for --auth-port")
	flags.IntVar(&s.tlsPort, "tls-port", 8443, "port for admission requests")
	flags.IntVar(&s.authPort, "auth-port", 9443, "port for requests from pods")
	flags.IntVar(&s.httpPort, "http-port", 8080, "port for health checks and metrics")
	flags.StringVar(&s.certificateFolder, "webhook-certificates", "",
		"`FOLDER` of tls.crt and tls.key of the webhook; if empty, the program's own CA issues the certificate")
}

// addInjectionFlags adds the flags for the injection of pods.
func (s *settings) addInjectionFlags(flags *pflag.FlagSet) {
	flags.StringVar(&s.injectorImage, "env-image", "", "`IMAGE` of the injector")
	flags.StringVar(&s.pullPolicy, "env-image-pull-policy", "IfNotPresent", "`POLICY` to pull --env-image")
	flags.StringVar(&s.namespaceLabel, "namespace-label", "azure-key-vault-env-injection=enabled",
		"`NAME=VALUE` of the label of namespaces whose pods are injected")
	flags.DurationVar(&s.imageTimeout, "image-timeout", 20*time.Second,
		"maximum time to read the command of an image from its registry, for a container without a command")
	s.registries.TagAge = 5 * time.Minute
	flags.Func("registries", "`JSON` settings for reading images from registries", s.registries.Set)
	flags.Func("init-container", "`JSON` resources and security context of the init container", s.initContainer.Set)
}

// checkFlags returns an error if a flag has a value that can't work.
func (s *settings) checkFlags() error {
	if name, value, ok := strings.Cut(s.namespaceLabel, "="); !ok || name == "" || value == "" {
		return errors.New("--namespace-label must be NAME=VALUE")
	}
	for _, port := range []int{s.tlsPort, s.authPort, s.httpPort, s.servicePort} {
		if port < 1 || port > 65535 {
			return fmt.Errorf("port %d is invalid; use a number from 1 to 65535", port)
		}
	}
	switch {
	case s.v1AuthService && !s.authService:
		return errors.New("--legacy-auth-service needs --auth-service, which is off")
	case s.v1AuthService && len(s.Rules) > 0:
		return errors.New("--legacy-auth-service gives pods a token for every vault, which --vault-rules can't " +
			"limit; remove one of them")
	case s.v1UpgradeTime < 0:
		return errors.New("--legacy-upgrade-time can't be negative")
	}
	return nil
}
