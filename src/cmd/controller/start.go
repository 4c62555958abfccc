package main

import (
	"context"
	"crypto/fips140"
	"crypto/rand"
	"errors"
	"io"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/akv2k8s/akv2k8s/src/controller"
	"github.com/akv2k8s/akv2k8s/src/controller/crdupgrade"
	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/controller/statushash"
	"github.com/akv2k8s/akv2k8s/src/controller/syncmetrics"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/iplimit"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/program"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
)

// The interfaces of other packages that this program fills.
var (
	_ controller.Vault     = (*vaultclient.Client)(nil)
	_ controller.Hasher    = (*statushash.Key)(nil)
	_ controller.Restarter = (*rollout.Restarter)(nil)
)

// vaultCacheTime is how long vault objects stay in the cache: a little longer than resources share them.
const vaultCacheTime = 15 * time.Second

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
	logger.Info("starting", logkey.Authentication, s.AuthType, logkey.EveryNamespace, s.WatchAll, logkey.FIPS140,
		fips140.Enabled())
	return mgr.Start(ctx)
}

// newManager creates the manager. It watches AzureKeyVaultSecrets and the metadata of the outputs.
func (s *settings) newManager(logger logr.Logger) (ctrl.Manager, error) {
	config, err := s.RESTConfig()
	if err != nil {
		return nil, err
	}
	options, err := s.ManagerOptions(logger)
	if err != nil {
		return nil, err
	}
	if err := controller.AddManagerOptions(&options, controller.ManagerConfig{Namespace: s.Namespace,
		Fullname: s.fullname, WatchAll: s.WatchAll, ObjectLabels: s.objectLabels}); err != nil {
		return nil, err
	}
	return ctrl.NewManager(config, options)
}

// registerController adds the controller, and the server of health checks and metrics.
func (s *settings) registerController(ctx context.Context, mgr ctrl.Manager, vaults *program.Vaults) error {
	counted, err := syncmetrics.New(metrics.Registry)
	if err != nil {
		return err
	}
	restarts, err := s.newRestarter(mgr, counted)
	if err != nil {
		return err
	}
	c, err := controller.New(controller.Config{
		Installation: s.Namespace + "/" + s.fullname, DecodePool: decodepool.New(decodepool.Config{}),
		Restarter: restarts, RestartDelay: s.restartWindow, WatchInjected: s.watchInjected,
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
	rejected, err := iplimit.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	if err := program.AddHealthServer(mgr, program.HealthServer{Port: s.port, ServeMetrics: s.serveMetrics,
		Rejected: rejected}); err != nil {
		return err
	}
	return c.SetupWithManager(ctx, mgr, s.workers)
}

// newRestarter returns nil if the installation does not restart workloads.
func (s *settings) newRestarter(mgr ctrl.Manager, counted *syncmetrics.Counters) (controller.Restarter, error) {
	if !s.restartWorkloads {
		return nil, nil
	}
	return rollout.New(rollout.Config{APIReader: mgr.GetAPIReader(), Writer: mgr.GetClient(), Clock: time.Now,
		MaxConcurrent: s.maxRestarts, ArgoRollouts: s.argoRollouts, Count: counted.CountRestart})
}
