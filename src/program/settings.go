package program

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
	"github.com/akv2k8s/akv2k8s/src/keyvault/serviceaccount"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
)

// The interfaces of vaultclient that the programs fill.
var (
	_ vaultclient.Observer        = (*telemetry.VaultMetrics)(nil)
	_ vaultclient.ServiceAccounts = (*serviceaccount.Accounts)(nil)
)

// Settings are the flags and environment variables that the controller and the env-injector have. Those of akv2k8s 1.8
// keep their names, or have them as old names.
type Settings struct {
	Environment Environment
	// Namespace is the one of the installation. If WatchAll is false, the program uses no other one.
	Namespace string
	WatchAll  bool
	// Kubeconfig and Master find the API server outside a cluster.
	Kubeconfig, Master  string
	LogLevel, LogFormat string
	// AuthType and CloudConfigFile select the credential of the installation.
	AuthType, CloudConfigFile string
	ExtraCAFile               string
	Identities                rule.IdentityPolicy
	Rules                     rule.AccessRules
	RateLimits                vaultclient.RateLimits
	Fallbacks                 vaultclient.VaultFallbacks
	// PprofAddress is the address of the profiles; empty disables them.
	PprofAddress string
}

// NewSettings returns settings with the values of the environment variables.
func NewSettings(lookup func(string) (string, bool)) Settings {
	s := Settings{Environment: Environment{Lookup: lookup}}
	s.Namespace = s.Environment.Read("RUNTIME_NAMESPACE", "akv2k8s", "namespace of the installation")
	s.AuthType = s.Environment.Read("AUTH_TYPE", "azureCloudConfig",
		"how to authenticate to Azure: azureCloudConfig, environment or environment-azidentity")
	return s
}

// AddClusterFlags adds the flags of programs and subcommands that use the API server.
func (s *Settings) AddClusterFlags(flags *pflag.FlagSet) {
	flags.StringVar(&s.Kubeconfig, "kubeconfig", "", "`FILE` with the kubeconfig to use outside a cluster")
	flags.StringVar(&s.Master, "master", "", "`URL` of the API server; overrides the kubeconfig's")
}

// AddFlags adds all other flags that the controller and the env-injector share.
func (s *Settings) AddFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&s.WatchAll, "watch-all-namespaces", true, "serve all namespaces; if false, only RUNTIME_NAMESPACE")
	flags.StringVar(&s.LogLevel, "log-level", "info", "info, debug, trace or a number from 0 to 10")
	flags.StringVar(&s.LogFormat, "log-format", "text", "text or json")
	flags.StringVar(&s.CloudConfigFile, "cloud-config", "/etc/kubernetes/azure.json",
		"`FILE` that describes the cluster's own identity, for AUTH_TYPE=azureCloudConfig")
	flags.StringVar(&s.ExtraCAFile, "extra-ca-file", "",
		"PEM `FILE` of certificate authorities to trust in addition to the public ones")
	flags.BoolVar(&s.Identities.AllowServiceAccounts, "identities", false,
		"read vaults as the ServiceAccount that a resource names; if false, the name is ignored")
	flags.Func("default-identity", "`NAMESPACE=SERVICEACCOUNT` for resources that name none; can be repeated",
		s.Identities.AddDefaultAccount)
	flags.IntVar(&s.RateLimits.Vault, "vault-limit", vaultclient.DefaultVaultLimit,
		"maximum calls to one vault in ten seconds, by all readers together")
	flags.IntVar(&s.RateLimits.Subscription, "subscription-limit", vaultclient.DefaultSubscriptionLimit,
		"maximum calls to all vaults in ten seconds, by all readers together")
	flags.IntVar(&s.RateLimits.Readers, "readers", 1, "number of processes of this installation that read vaults")
	flags.Func("vault-fallback", "`VAULT=FALLBACK`: read FALLBACK while VAULT is unavailable; can be repeated",
		s.Fallbacks.Add)
	flags.Func("vault-rules", "`JSON` list of the vaults that namespaces may read; without it, all", s.Rules.Set)
	flags.Func("pprof-address", "`[HOST]:PORT` to serve Go's profiles at, on localhost if HOST is missing; "+
		"if empty, they are not served", s.setPprofAddress)
}

// setPprofAddress parses the flag. Profiles show the memory of the program, so the address is that of localhost unless
// the user names another one.
func (s *Settings) setPprofAddress(text string) error {
	if text == "" {
		s.PprofAddress = ""
		return nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "" {
		return errors.New("write [HOST]:PORT, for example :6060")
	}
	if host == "" {
		host = "localhost"
	}
	s.PprofAddress = net.JoinHostPort(host, port)
	return nil
}

// NewLogger returns the program's logger, which the libraries use, too.
func (s *Settings) NewLogger(stderr io.Writer) (logr.Logger, error) {
	logger, err := telemetry.NewLogger(stderr, s.LogLevel, s.LogFormat)
	if err != nil {
		return logger, err
	}
	ctrl.SetLogger(logger)
	klog.SetLogger(logger) // for the Kubernetes libraries
	return logger, nil
}

// RESTConfig returns the configuration of clients of the API server.
func (s *Settings) RESTConfig() (config *rest.Config, err error) {
	if s.Kubeconfig == "" && s.Master == "" {
		config, err = rest.InClusterConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags(s.Master, s.Kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w; run in a cluster or give --kubeconfig", err)
	}
	config.QPS = -1 // the API server's priority and fairness limits the requests
	return config, nil
}

// Vaults are the vaults as the installation reads them.
type Vaults struct {
	Client *vaultclient.Client
	// ExtraCAs are the certificate authorities of --extra-ca-file, PEM.
	ExtraCAs []byte
	Metrics  *telemetry.VaultMetrics
}

// NewVaults returns a client of the vaults that caches values for cacheTTL.
func (s *Settings) NewVaults(logger logr.Logger, cacheTTL time.Duration) (*Vaults, error) {
	extraCAs, err := vaultclient.ReadExtraCAs(s.ExtraCAFile)
	if err != nil {
		return nil, err
	}
	calls := telemetry.NewVaultMetrics(logger.WithName("vaults"))
	client, err := vaultclient.New(vaultclient.Config{AuthType: s.AuthType, CloudConfigFile: s.CloudConfigFile,
		ExtraCAs: extraCAs, LookupEnv: s.Environment.Lookup, CacheTTL: cacheTTL,
		RateLimits: s.RateLimits, Fallbacks: s.Fallbacks, Observer: calls})
	return &Vaults{Client: client, ExtraCAs: extraCAs, Metrics: calls}, err
}

// UseServiceAccounts makes the client of the vaults read as ServiceAccounts, if the flags allow it.
func (s *Settings) UseServiceAccounts(vault *vaultclient.Client, mgr ctrl.Manager) error {
	if !s.Identities.AllowServiceAccounts {
		return nil
	}
	accounts, err := serviceaccount.New(serviceaccount.Config{APIReader: mgr.GetAPIReader(),
		TokenClient: mgr.GetClient(), Clock: time.Now})
	if err != nil {
		return err
	}
	vault.UseServiceAccounts(accounts)
	return nil
}
