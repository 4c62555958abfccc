package main

import (
	"context"
	"crypto/fips140"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/broker"
	"github.com/akv2k8s/akv2k8s/src/iplimit"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/keyvault/serviceaccount"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/servingcert"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
	"github.com/akv2k8s/akv2k8s/src/webhook"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// The interfaces of other packages that this program fills.
var (
	_ broker.Vault           = (*vaultclient.Client)(nil)
	_ admission.Handler      = (*webhook.Webhook)(nil)
	_ webhook.ImageInspector = (*ociimage.Images)(nil)
	_ ociimage.TokenExchange = (*ociimage.AzureRegistries)(nil)
)

// maxStaleAge is the maximum age of a cached value that is used while a vault is unavailable.
const maxStaleAge = time.Hour

func runServers(ctx context.Context, s settings, stderr io.Writer) error {
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
		LookupEnv: s.lookupEnv, CacheTTL: maxStaleAge,
		RateLimits: s.limits, Fallbacks: s.fallbacks, Observer: calls})
	if err != nil {
		return err
	}
	p, err := s.newManager(logger)
	if err != nil {
		return err
	}
	if err := p.createSharedParts(vault, logger); err != nil {
		return err
	}
	common, err := s.injectionSettings(vault, extraCAs, logger)
	if err != nil {
		return err
	}
	images, err := s.newImageInspector(extraCAs, vault, p.apiServer)
	if err != nil {
		return err
	}
	p.apiServer.refreshAddresses(ctx) // before the first image is read
	if err := errors.Join(p.addWebhook(images, common), p.addBroker(vault), p.addTelemetry(ctx), p.mgr.Add(p.apiServer),
		metrics.Registry.Register(calls),
		metrics.Registry.Register(telemetry.NewBuildInfo("env-injector"))); err != nil {
		return err
	}
	logger.Info("starting", "authentication", s.authType, "everyNamespace", s.watchAll, "authService", s.authService,
		"fips140", fips140.Enabled())
	return p.mgr.Start(ctx)
}

// createSharedParts creates the parts that the servers share, other than the manager.
func (p *sharedParts) createSharedParts(vault *vaultclient.Client, logger logr.Logger) (err error) {
	live := p.mgr.GetAPIReader()
	if p.identities.AllowServiceAccounts {
		accounts, err := serviceaccount.New(serviceaccount.Config{APIReader: live, TokenClient: p.mgr.GetClient(),
			Clock: time.Now})
		if err != nil {
			return err
		}
		vault.UseServiceAccounts(accounts)
	}
	host, _ := p.lookupEnv("KUBERNETES_SERVICE_HOST")
	p.apiServer = newAPIServerAddresses(live, logger, host)
	if p.rejections, err = iplimit.NewMetrics(metrics.Registry); err != nil {
		return err
	}
	p.v1Handler, err = p.settings.newV1Handler(p.mgr, p.rotator, vault)
	return err
}

// injectionSettings are the injection settings that are the same for every pod.
func (s settings) injectionSettings(vault *vaultclient.Client, extraCAs []byte, logger logr.Logger) (inject.Settings,
	error) {
	init, policy, err := s.initContainerSettings(logger)
	return inject.Settings{Image: s.injectorImage, PullPolicy: policy, InitContainer: init, LogLevel: s.logLevel,
		LogFormat: s.logFormat,
		Direct:    !s.authService, Cloud: vault.Cloud.FormatSetting(), ExtraCAs: string(extraCAs),
		AuthType: s.podAuthType()}, err
}

// initContainerSettings returns the installation's settings of the init container. It logs a warning for each setting
// that is ignored.
func (s settings) initContainerSettings(logger logr.Logger) (inject.InitContainerSettings, corev1.PullPolicy, error) {
	value, warnings, err := s.initContainer.withV1Variables(s.lookupEnv)
	for _, warning := range warnings {
		logger.Info("warning: " + warning)
	}
	policy, wrong := s.initContainerPullPolicy()
	return value.injectSettings(), policy, errors.Join(err, wrong)
}

// cacheByObject returns the types that the manager watches, with their namespaces and selectors.
func (s settings) cacheByObject() map[client.Object]cache.ByObject {
	named := func(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
	resources := cache.ByObject{}
	if !s.watchAll {
		resources.Namespaces = map[string]cache.Config{s.namespace: {}}
	}
	serving := map[string]cache.Config{s.namespace: {FieldSelector: named(s.servingSecretName().Name)}}
	return map[client.Object]cache.ByObject{
		&v2beta1.AzureKeyVaultSecret{}:              resources,
		&corev1.Secret{}:                            {Namespaces: serving},
		&admissionv1.MutatingWebhookConfiguration{}: {Field: named(s.serviceName)},
	}
}

// newManager creates the manager. It watches AzureKeyVaultSecrets, and the program's own Secret and webhook
// configuration.
func (s settings) newManager(logger logr.Logger) (*sharedParts, error) {
	config, err := clientcmd.BuildConfigFromFlags(s.master, s.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w; run in a cluster or give --kubeconfig", err)
	}
	config.QPS = -1 // the API server's priority and fairness limits the requests
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v2beta1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	secret := s.servingSecretName()
	host := s.serviceName + "." + s.namespace + ".svc"
	watcher, err := s.newCertWatcher()
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Logger: logger,
		Metrics: metricsserver.Options{BindAddress: "0"}, // served by telemetry, on the port that probes use
		Cache:   cache.Options{DefaultTransform: cache.TransformStripManagedFields(), ByObject: s.cacheByObject()},
	})
	if err != nil {
		return nil, err
	}
	v1CA, err := s.newV1CA(mgr.GetAPIReader(), mgr.GetClient())
	if err != nil {
		return nil, err
	}
	keeper, err := servingcert.New(servingcert.Config{Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Secret: secret,
		WebhookConfigName: s.serviceName,
		DNSNames:          []string{host, host + ".cluster.local", s.serviceName + "." + s.namespace}, Clock: time.Now,
		Random: rand.Reader, ExtraCAs: v1CA})
	if err != nil {
		return nil, err
	}
	return &sharedParts{settings: s, mgr: mgr, rotator: keeper, certWatcher: watcher}, keeper.SetupWithManager(mgr)
}

// podAuthType is the authentication method of pods that read vaults themselves; empty is the method environment. The
// node's file is not for pods.
func (s settings) podAuthType() string {
	if mode := credential.Mode(s.authType); mode == credential.ModeDefaultChain {
		return s.authType
	}
	return ""
}

// serviceAddress is the host:port of the program's own Service by ClusterIP, which does not change while the Service
// exists. Pods get it so that they need no DNS. Without it they use the DNS name.
type serviceAddress struct {
	live   client.Reader
	name   types.NamespacedName
	port   int
	cached atomic.Pointer[string]
}

func (a *serviceAddress) get(ctx context.Context) string {
	if known := a.cached.Load(); known != nil {
		return *known
	}
	var service corev1.Service
	if err := a.live.Get(ctx, a.name, &service); err != nil || service.Spec.ClusterIP == "" ||
		service.Spec.ClusterIP == corev1.ClusterIPNone {
		return ""
	}
	address := service.Spec.ClusterIP
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	address = fmt.Sprintf("%s:%d", address, a.port)
	a.cached.Store(&address)
	return address
}
