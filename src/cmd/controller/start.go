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

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
	"github.com/akv2k8s/akv2k8s/src/controller/counters"
	"github.com/akv2k8s/akv2k8s/src/controller/fingerprint"
	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/gate"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/gateway"
	"github.com/akv2k8s/akv2k8s/src/keyvault/reader"
	"github.com/akv2k8s/akv2k8s/src/keyvault/serviceaccount"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// The interfaces of other packages that this program fills.
var (
	_ controller.Vault     = (*gateway.Gateway)(nil)
	_ gateway.Observer     = (*telemetry.Vaults)(nil)
	_ reader.Fetcher       = (*azure.Vaults)(nil)
	_ gateway.Accounts     = (*serviceaccount.Accounts)(nil)
	_ controller.Hasher    = (*fingerprint.Key)(nil)
	_ controller.Restarter = (*rollout.Restarter)(nil)
)

// keep is how long vault objects stay in the cache: a little longer than resources share them.
const keep = 15 * time.Second

// After a crash, another replica leads within 20 s, even on a busy machine: it reads the Lease every 2 s and takes it
// when it has expired. A leader that can't renew its Lease stops before that.
const (
	leaseDuration = 12 * time.Second
	renewDeadline = 8 * time.Second
)

func start(ctx context.Context, s settings, stderr io.Writer) error {
	logger, err := telemetry.NewLogger(stderr, s.logLevel, s.logFormat)
	if err != nil {
		return err
	}
	ctrl.SetLogger(logger)
	klog.SetLogger(logger) // for the Kubernetes libraries
	telemetry.LimitMemory(s.lookup)
	extraCAs, err := gateway.ReadExtraCAs(s.extraCAFile)
	if err != nil {
		return err
	}
	calls := telemetry.NewVaults(logger.WithName("vaults"))
	vault, err := gateway.Load(gateway.Config{Auth: s.auth, CloudConfigFile: s.cloudConfig, ExtraCAs: extraCAs,
		Lookup: s.lookup, Keep: keep,
		Limits: s.limits, Fallbacks: s.fallbacks, Observer: calls})
	if err != nil {
		return err
	}
	mgr, err := s.manager(logger)
	if err != nil {
		return err
	}
	if err := checkCRDs(ctx, mgr.GetAPIReader(), logger); err != nil {
		return err
	}
	if s.identities.Allowed {
		accounts, err := serviceaccount.New(serviceaccount.Config{Live: mgr.GetAPIReader(), Tokens: mgr.GetClient(),
			Clock: time.Now})
		if err != nil {
			return err
		}
		vault.Admit(accounts)
	}
	if err := s.register(ctx, mgr, vault, calls); err != nil {
		return err
	}
	logger.Info("starting", "authentication", s.auth, "everyNamespace", s.watchAll, "fips140", fips140.Enabled())
	return mgr.Start(ctx)
}

// manager creates the manager. It watches AzureKeyVaultSecrets and the metadata of the outputs.
func (s settings) manager(logger logr.Logger) (ctrl.Manager, error) {
	config, err := s.restConfig()
	if err != nil {
		return nil, err
	}
	options, err := s.options(logger)
	if err != nil {
		return nil, err
	}
	return ctrl.NewManager(config, options)
}

// options are the manager's options: the watched types and the leader election.
func (s settings) options(logger logr.Logger) (ctrl.Options, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v2beta1.AddToScheme(scheme)); err != nil {
		return ctrl.Options{}, err
	}
	selector, err := labels.Parse(s.labels)
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
				&corev1.Secret{}:               {Label: ours, Transform: bare},
				&corev1.ConfigMap{}:            {Label: ours, Transform: bare},
			}},
	}
	if !s.watchAll {
		options.Cache.DefaultNamespaces = map[string]cache.Config{s.namespace: {}}
	}
	return options, nil
}

// bare removes everything from an output's metadata that the controller does not read from the cache. It keeps
// the identity, the version, the owners, and the annotations of the resources that share the output.
func bare(object any) (any, error) {
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

func (s settings) register(ctx context.Context, mgr ctrl.Manager, vault *gateway.Gateway,
	calls *telemetry.Vaults) error {
	counted, err := counters.New(metrics.Registry)
	if err != nil {
		return err
	}
	var restarts controller.Restarter
	if s.restarts {
		restarts = &rollout.Restarter{Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Clock: time.Now}
	}
	c, err := controller.New(controller.Config{
		Installation: s.namespace + "/" + s.fullname, Decoding: decodepool.New(decodepool.Config{}),
		Restarts: restarts, RestartWindow: s.restartWindow,
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Vault: vault,
		Events:  mgr.GetEventRecorder("akv2k8s-controller"),
		Metrics: counted, Interval: time.Duration(s.resyncSeconds) * time.Second, ExpiryWarning: s.expiryWarning,
		FetchTimeout: gateway.Patience, Identities: s.identities, Rules: s.rules, Clock: time.Now,
		Hasher: &fingerprint.Key{Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Random: rand.Reader,
			Clock:  time.Now,
			Secret: types.NamespacedName{Namespace: s.namespace, Name: s.fullname + "-status-key"}},
	})
	if err != nil {
		return err
	}
	vault.Notify(c.Changed)
	if err := errors.Join(metrics.Registry.Register(c), metrics.Registry.Register(calls),
		metrics.Registry.Register(telemetry.NewBuildInfo("controller"))); err != nil {
		return err
	}
	if err := s.addHealth(mgr); err != nil {
		return err
	}
	return c.Register(ctx, mgr, s.workers)
}

// addHealth adds the server of health checks and metrics.
func (s settings) addHealth(mgr ctrl.Manager) error {
	health := &telemetry.Health{}
	if s.metrics {
		health.Gatherer = metrics.Registry
	}
	rejected, err := gate.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	door, err := gate.New(gate.Config{Port: "health", Limits: gate.HealthLimits(), Free: telemetry.IsProbe,
		Metrics: rejected, Clock: time.Now,
		Log: mgr.GetLogger().WithName("gate")})
	if err != nil {
		return err
	}
	return mgr.Add(&gate.Server{Address: ":" + s.httpPort, Gate: door, Handler: health.Handler(),
		Patience: limits.AnswerWriteTime})
}
