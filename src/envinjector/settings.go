package envinjector

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/akv2k8s/akv2k8s/src/program"
	"github.com/akv2k8s/akv2k8s/src/webhook/delivery"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// Settings are the flags and environment variables of the program.
type Settings struct {
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
	// delivery is how the injector gets into pods by default. watchNodes says that the program may watch nodes.
	delivery   delivery.Mode
	watchNodes bool
	// injectProbes says that exec probes and hooks of injected containers get values by default.
	injectProbes bool
	// clientCA is the PEM of the client certificate authority of the API server; it can be empty.
	clientCA string
}

// NewSettings returns settings with the values of the environment variables.
func NewSettings(lookup func(string) (string, bool)) *Settings {
	s := &Settings{Settings: program.NewSettings(lookup)}
	s.clientCA = s.Environment.Read("WEBHOOK_CLIENT_CA", "",
		"PEM of the authority of the API server's client certificate; if set, the webhook requires that certificate")
	return s
}

// AddSecretFlags adds the flags that find the Secret of the CA.
func (s *Settings) AddSecretFlags(flags *pflag.FlagSet) {
	s.AddClusterFlags(flags)
	flags.StringVar(&s.serviceName, "service", "akv2k8s-envinjector", "`NAME` of the Service of this program")
}

// AddMigrationFlags adds the flags of the subcommand migrate-v1-ca.
func (s *Settings) AddMigrationFlags(flags *pflag.FlagSet) {
	s.AddSecretFlags(flags)
	flags.Func("from", "`SECRET` of akv2k8s 1.8 with its CA or certificate; can be repeated", func(name string) error {
		s.v1CASecrets = append(s.v1CASecrets, name)
		return nil
	})
}

// AddFlags adds the flags of the program without a subcommand.
func (s *Settings) AddFlags(flags *pflag.FlagSet) {
	s.AddSecretFlags(flags)
	s.Settings.AddFlags(flags)
	s.addServingFlags(flags)
	s.addInjectionFlags(flags)
}

// addServingFlags adds the flags for ports, certificates and pods that read.
func (s *Settings) addServingFlags(flags *pflag.FlagSet) {
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
func (s *Settings) addInjectionFlags(flags *pflag.FlagSet) {
	flags.StringVar(&s.injectorImage, "env-image", "", "`IMAGE` of the injector")
	flags.StringVar(&s.pullPolicy, "env-image-pull-policy", "IfNotPresent", "`POLICY` to pull --env-image")
	flags.StringVar(&s.namespaceLabel, "namespace-label", "azure-key-vault-env-injection=enabled",
		"`NAME=VALUE` of the label of namespaces whose pods are injected")
	flags.DurationVar(&s.imageTimeout, "image-timeout", 20*time.Second,
		"maximum time to read the command of an image from its registry, for a container without a command")
	s.registries.TagAge = 5 * time.Minute
	flags.Func("registries", "`JSON` settings for reading images from registries", s.registries.Set)
	s.delivery = delivery.ModeAuto
	flags.Func("delivery", "how the injector gets into pods: by `MODE` auto, image or init (default auto)",
		func(text string) (err error) { s.delivery, err = delivery.ParseMode(text); return err })
	flags.BoolVar(&s.watchNodes, "watch-nodes", false,
		"watch nodes, so that --delivery=auto knows whether they mount image volumes")
	flags.BoolVar(&s.injectProbes, "inject-probes", false,
		"start exec probes and lifecycle hooks of injected containers with values")
	flags.Func("init-container", "`JSON` resources and security context of the init container", s.initContainer.Set)
}

// CheckFlags returns an error if a flag has a value that can't work.
func (s *Settings) CheckFlags() error {
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
