package main

import (
	"context"
	"crypto/fips140"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
	"github.com/akv2k8s/akv2k8s/src/controller/crdupgrade"
	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/controller/statushash"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/controller/syncmetrics"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/iplimit"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/reader"
	"github.com/akv2k8s/akv2k8s/src/keyvault/serviceaccount"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/program"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// The interfaces of other packages that this program fills.
var (
	_ controller.Vault            = (*vaultclient.Client)(nil)
	_ vaultclient.Observer        = (*telemetry.VaultMetrics)(nil)
	_ reader.Fetcher              = (*azure.Fetcher)(nil)
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

func (s *settings) runController(ctx context.Context, stderr io.Writer) error {
	logger, err := s.NewLogger(stderr)
	if err != nil {
		return err
	}
	telemetry.LimitMemory(s.Environment.Lookup)
	vaults, err := s.NewVaults(logger, vaultCacheTime)
	if err != nil {
		return err
	}
	mgr, err := s.newManager(logger)
	if err != nil {
		return err
	}
	if err := crdupgrade.CheckSchemaIfReadable(ctx, mgr.GetAPIReader(), logger); err != nil {
		return err
	}
	if err := s.UseServiceAccounts(vaults.Client, mgr); err != nil {
		return err
	}
	if err := s.registerController(ctx, mgr, vaults); err != nil {
		return err
	}
	logger.Info("starting", "authentication", s.AuthType, "everyNamespace", s.WatchAll, "fips140", fips140.Enabled())
	return mgr.Start(ctx)
}

// newManager creates the manager. It watches AzureKeyVaultSecrets and the metadata of the outputs.
func (s *settings) newManager(logger logr.Logger) (ctrl.Manager, error) {
	config, err := s.RESTConfig()
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
func (s *settings) managerOptions(logger logr.Logger) (ctrl.Options, error) {
	options, err := s.ManagerOptions(logger)
	if err != nil {
		return options, err
	}
	selector, err := labels.Parse(s.objectLabels)
	if err != nil {
		return options, fmt.Errorf("parsing OBJECT_LABELS: %w", err)
	}
	lease, renew := leaseDuration, renewDeadline
	options.LeaderElection, options.LeaderElectionReleaseOnCancel = true, true
	options.LeaderElectionID, options.LeaderElectionNamespace = s.fullname+"-controller", s.Namespace
	options.LeaseDuration, options.RenewDeadline = &lease, &renew
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{wire.LabelManaged: "true"}),
		Transform: store.StripMetadata}
	options.Cache.ByObject = map[client.Object]cache.ByObject{
		&v2beta1.AzureKeyVaultSecret{}: {Label: selector}, &corev1.Secret{}: ours, &corev1.ConfigMap{}: ours}
	if !s.WatchAll {
		options.Cache.DefaultNamespaces = map[string]cache.Config{s.Namespace: {}}
	}
	return options, nil
}

// registerController adds the controller, and the server of health checks and metrics.
func (s *settings) registerController(ctx context.Context, mgr ctrl.Manager, vaults *program.Vaults) error {
	counted, err := syncmetrics.New(metrics.Registry)
	if err != nil {
		return err
	}
	var restarts controller.Restarter
	if s.restartWorkloads {
		restarts = &rollout.Restarter{APIReader: mgr.GetAPIReader(), Writer: mgr.GetClient(), Clock: time.Now}
	}
	c, err := controller.New(controller.Config{
		Installation: s.Namespace + "/" + s.fullname, DecodePool: decodepool.New(decodepool.Config{}),
		Restarter: restarts, RestartDelay: s.restartWindow,
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Vault: vaults.Client,
		Events:  mgr.GetEventRecorder("akv2k8s-controller"),
		Metrics: counted, RefreshInterval: time.Duration(s.resyncSeconds) * time.Second, ExpiryWarning: s.expiryWarning,
		FetchTimeout: vaultclient.MinReadTimeout, Identities: s.Identities, VaultRules: s.Rules, Clock: time.Now,
		Hasher: &statushash.Key{APIReader: mgr.GetAPIReader(), Writer: mgr.GetClient(), Random: rand.Reader,
			Clock:      time.Now,
			SecretName: types.NamespacedName{Namespace: s.Namespace, Name: s.fullname + "-status-key"}},
	})
	if err != nil {
		return err
	}
	vaults.Client.OnChange(c.OnObjectChanged)
	if err := errors.Join(metrics.Registry.Register(c), metrics.Registry.Register(vaults.Metrics),
		metrics.Registry.Register(telemetry.NewBuildInfo("controller"))); err != nil {
		return err
	}
	if err := s.addHealth(mgr); err != nil {
		return err
	}
	return c.SetupWithManager(ctx, mgr, s.workers)
}

// addHealth adds the server of health checks and metrics.
func (s *settings) addHealth(mgr ctrl.Manager) error {
	health := &telemetry.Health{}
	if s.serveMetrics {
		health.Gatherer = metrics.Registry
	}
	rejected, err := iplimit.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	server, err := program.NewHealthServer(s.port, health.Handler(), rejected, mgr.GetLogger())
	if err != nil {
		return err
	}
	return mgr.Add(server)
}
