package main

import (
	"context"
	"crypto/fips140"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/controller/statushash"
	"github.com/akv2k8s/akv2k8s/src/controller/syncmetrics"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/iplimit"
	"github.com/akv2k8s/akv2k8s/src/keyvault/serviceaccount"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// The interfaces of other packages that this program fills.
var (
	_ controller.Vault            = (*vaultclient.Client)(nil)
	_ vaultclient.Observer        = (*telemetry.VaultMetrics)(nil)
	_ vaultclient.ServiceAccounts = (*serviceaccount.Accounts)(nil)
	_ controller.Hasher           = (*statushash.Key)(nil)
	_ controller.Restarter        = (*rollout.Restarter)(nil)
)

// vaultCacheTime is how long vault objects stay in the cache: a little longer than resources share them.
const vaultCacheTime = 15 * time.Second

// After a crash, another replica leads within 20 s, even on a busy machine: it reads the Lease every 2 s and takes it
// when it has expired. A leader that can't renew its Lease stops before that.
const (
	leaseDuration = 12 * time.Second
	renewDeadline = 8 * time.Second
)

func runController(ctx context.Context, s settings, stderr io.Writer) error {
	logger, err := telemetry.NewLogger(stderr, s.logLevel, s.logFormat)
	if err != nil {
		return err
	}
	ctrl.SetLogger(logger)
	klog.SetLogger(logger) // for the Kubernetes libraries
	telemetry.LimitMemory(s.lookupEnv)
	extraCAs, err := vaultclient.ReadExtraCAs(s.extraCAFile)
	if err != nil {
		return err
	}
	calls := telemetry.NewVaultMetrics(logger.WithName("vaults"))
	vault, err := vaultclient.New(vaultclient.Config{AuthType: s.authType, CloudConfigFile: s.cloudConfig,
		ExtraCAs:  extraCAs,
		LookupEnv: s.lookupEnv, CacheTTL: vaultCacheTime,
		RateLimits: s.limits, Fallbacks: s.fallbacks, Observer: calls})
	if err != nil {
		return err
	}
	mgr, err := s.newManager(logger)
	if err != nil {
		return err
	}
	if err := checkCRDs(ctx, mgr.GetAPIReader(), logger); err != nil {
		return err
	}
	if s.identities.AllowServiceAccounts {
		accounts, err := serviceaccount.New(serviceaccount.Config{APIReader: mgr.GetAPIReader(),
			TokenClient: mgr.GetClient(),
			Clock:       time.Now})
		if err != nil {
			return err
		}
		vault.UseServiceAccounts(accounts)
	}
	if err := s.registerController(ctx, mgr, vault, calls); err != nil {
		return err
	}
	logger.Info("starting", "authentication", s.authType, "everyNamespace", s.watchAll, "fips140", fips140.Enabled())
	return mgr.Start(ctx)
}

// newManager creates the manager. It watches AzureKeyVaultSecrets and the metadata of the outputs.
func (s settings) newManager(logger logr.Logger) (ctrl.Manager, error) {
	config, err := s.restConfig()
	if err != nil {
		return nil, err
	}
	options, err := s.managerOptions(logger)
	if err != nil {
		return nil, err
	}
	return ctrl.NewManager(config, options)
}

// managerOptions are the manager's options: the watched types and the leader election.
func (s settings) managerOptions(logger logr.Logger) (ctrl.Options, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v2beta1.AddToScheme(scheme)); err != nil {
		return ctrl.Options{}, err
	}
	selector, err := labels.Parse(s.objectLabels)
	if err != nil {
		return ctrl.Options{}, fmt.Errorf("parsing OBJECT_LABELS: %w", err)
	}
	ours := labels.SelectorFromSet(labels.Set{wire.LabelManaged: "true"})
	lease, renew := leaseDuration, renewDeadline
	options := ctrl.Options{
		Scheme: scheme, Logger: logger,
		Metrics:        metricsserver.Options{BindAddress: "0"}, // served by telemetry, on the port that probes use
		LeaderElection: true, LeaderElectionID: s.fullname + "-controller", LeaderElectionNamespace: s.namespace,
		LeaderElectionReleaseOnCancel: true, LeaseDuration: &lease, RenewDeadline: &renew,
		Cache: cache.Options{DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&v2beta1.AzureKeyVaultSecret{}: {Label: selector},
			}},
	}
	for _, kind := range output.Kinds() {
		options.Cache.ByObject[kind.NewObject()] = cache.ByObject{Label: ours, Transform: stripMetadata}
	}
	if !s.watchAll {
		options.Cache.DefaultNamespaces = map[string]cache.Config{s.namespace: {}}
	}
	return options, nil
}

// stripMetadata removes everything from an output's metadata that the controller does not read from the cache. It keeps
// the identity, the version, the owners, and the annotations of the resources that share the output.
func stripMetadata(object any) (any, error) {
	if o, err := meta.Accessor(object); err == nil { // a tombstone has none
		o.SetManagedFields(nil)
		o.SetLabels(nil)
		kept := maps.Clone(o.GetAnnotations())
		maps.DeleteFunc(kept, func(key, _ string) bool { return !strings.HasPrefix(key, wire.AnnotationKeysPrefix) })
		if len(kept) == 0 {
			kept = nil
		}
		o.SetAnnotations(kept)
	}
	return object, nil
}

func (s settings) restConfig() (*rest.Config, error) {
	if s.kubeconfig == "" && s.master == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("finding the API server: %w; run in a cluster or give --kubeconfig", err)
		}
		config.QPS = -1 // the API server's priority and fairness limits the requests
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags(s.master, s.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS = -1
	return config, nil
}

func (s settings) registerController(ctx context.Context, mgr ctrl.Manager, vault *vaultclient.Client,
	calls *telemetry.VaultMetrics) error {
	counted, err := syncmetrics.New(metrics.Registry)
	if err != nil {
		return err
	}
	var restarts controller.Restarter
	if s.restartWorkloads {
		restarts = &rollout.Restarter{APIReader: mgr.GetAPIReader(), Writer: mgr.GetClient(), Clock: time.Now}
	}
	c, err := controller.New(controller.Config{
		Installation: s.namespace + "/" + s.fullname, DecodePool: decodepool.New(decodepool.Config{}),
		Restarter: restarts, RestartDelay: s.restartWindow,
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Vault: vault,
		Events:  mgr.GetEventRecorder("akv2k8s-controller"),
		Metrics: counted, RefreshInterval: time.Duration(s.resyncSeconds) * time.Second, ExpiryWarning: s.expiryWarning,
		FetchTimeout: vaultclient.MinReadTimeout, Identities: s.identities, VaultRules: s.rules, Clock: time.Now,
		Hasher: &statushash.Key{APIReader: mgr.GetAPIReader(), Writer: mgr.GetClient(), Random: rand.Reader,
			Clock:      time.Now,
			SecretName: types.NamespacedName{Namespace: s.namespace, Name: s.fullname + "-status-key"}},
	})
	if err != nil {
		return err
	}
	vault.OnChange(c.OnObjectChanged)
	if err := errors.Join(metrics.Registry.Register(c), metrics.Registry.Register(calls),
		metrics.Registry.Register(telemetry.NewBuildInfo("controller"))); err != nil {
		return err
	}
	if err := s.addHealth(mgr); err != nil {
		return err
	}
	return c.SetupWithManager(ctx, mgr, s.workers)
}

// addHealth adds the server of health checks and metrics.
func (s settings) addHealth(mgr ctrl.Manager) error {
	health := &telemetry.Health{}
	if s.serveMetrics {
		health.Gatherer = metrics.Registry
	}
	rejected, err := iplimit.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	door, err := iplimit.New(iplimit.Config{Port: "health", Limits: iplimit.HealthLimits(), IsExempt: telemetry.IsProbe,
		Metrics: rejected, Clock: time.Now,
		Log: mgr.GetLogger().WithName("gate")})
	if err != nil {
		return err
	}
	return mgr.Add(&iplimit.Server{Address: ":" + s.httpPort, Limiter: door, Handler: health.Handler(),
		RequestTimeout: limits.AnswerWriteTime})
}
