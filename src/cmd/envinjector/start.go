package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	rtwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/broker"
	"github.com/akv2k8s/akv2k8s/src/broker/legacy"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/keyvault/gateway"
	"github.com/akv2k8s/akv2k8s/src/keyvault/serviceaccount"
	"github.com/akv2k8s/akv2k8s/src/servingcert"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
	"github.com/akv2k8s/akv2k8s/src/webhook"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// The interfaces that the parts declare and that are filled in here.
var (
	_ broker.Vault      = (*gateway.Gateway)(nil)
	_ admission.Handler = (*webhook.Webhook)(nil)
	_ webhook.Images    = (*ociimage.Images)(nil)
	_ ociimage.Exchange = (*ociimage.Azure)(nil)
)

// staleAge is how long values are remembered for the time in which a vault can't be asked.
const staleAge = time.Hour

func start(ctx context.Context, s settings, stderr io.Writer) error {
	logger, err := telemetry.NewLogger(stderr, s.logLevel, s.logFormat)
	if err != nil {
		return err
	}
	ctrl.SetLogger(logger)
	klog.SetLogger(logger) // what the Kubernetes libraries say
	extraCAs, err := gateway.ReadExtraCAs(s.extraCAFile)
	if err != nil {
		return err
	}
	calls := telemetry.NewVaults(logger.WithName("vaults"))
	vault, err := gateway.Load(gateway.Config{Auth: s.auth, CloudConfigFile: s.cloudConfig, ExtraCAs: extraCAs, Lookup: s.lookup, Keep: staleAge,
		Limits: s.limits, Fallbacks: s.fallbacks, Observer: calls})
	if err != nil {
		return err
	}
	mgr, keeper, err := s.manager(logger)
	if err != nil {
		return err
	}
	if s.identities.Allowed {
		accounts, err := serviceaccount.New(serviceaccount.Config{Live: mgr.GetAPIReader(), Tokens: mgr.GetClient(), Clock: time.Now})
		if err != nil {
			return err
		}
		vault.Admit(accounts)
	}
	common := inject.Settings{Image: s.image, PullPolicy: corev1.PullPolicy(s.pullPolicy), LogLevel: s.logLevel, LogFormat: s.logFormat,
		Direct: !s.authService, Cloud: vault.Cloud.Setting(), ExtraCAs: string(extraCAs), AuthType: s.podAuth()}
	images, err := s.images(extraCAs, vault)
	if err != nil {
		return err
	}
	if err := errors.Join(s.addWebhook(mgr, keeper, images, common), s.addBroker(mgr, keeper, vault), s.addTelemetry(ctx, mgr, keeper), metrics.Registry.Register(calls)); err != nil {
		return err
	}
	logger.Info("starting", "authentication", s.auth, "everyNamespace", s.watchAll, "authService", s.authService)
	return mgr.Start(ctx)
}

// manager watches AzureKeyVaultSecrets, and of Secrets and webhook configurations the one that is ours.
func (s settings) manager(logger logr.Logger) (ctrl.Manager, *servingcert.Keeper, error) {
	config, err := clientcmd.BuildConfigFromFlags(s.master, s.kubeconfig)
	if err != nil {
		return nil, nil, fmt.Errorf("finding the API server: %w; run in a cluster or give --kubeconfig", err)
	}
	config.QPS = -1 // the API server's priority and fairness decides
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v2beta1.AddToScheme(scheme)); err != nil {
		return nil, nil, err
	}
	secret := types.NamespacedName{Namespace: s.namespace, Name: s.service + "-serving"}
	named := func(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
	resources := cache.ByObject{}
	if !s.watchAll {
		resources.Namespaces = map[string]cache.Config{s.namespace: {}}
	}
	host := s.service + "." + s.namespace + ".svc"
	// The keeper serves the certificates of a server that exists before the manager's clients do.
	var keeper *servingcert.Keeper
	certificate := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return keeper.GetCertificate(hello) }
	clientCA, _ := s.lookup("WEBHOOK_CLIENT_CA")
	secure, err := webhookTLS(certificate, clientCA)
	if err != nil {
		return nil, nil, err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Logger: logger,
		Metrics:       metricsserver.Options{BindAddress: "0"}, // served by telemetry, on the port that probes use
		WebhookServer: rtwebhook.NewServer(rtwebhook.Options{Port: s.tlsPort, TLSOpts: []func(*tls.Config){secure}}),
		Cache: cache.Options{DefaultTransform: cache.TransformStripManagedFields(), ByObject: map[client.Object]cache.ByObject{
			&v2beta1.AzureKeyVaultSecret{}:              resources,
			&corev1.Secret{}:                            {Namespaces: map[string]cache.Config{s.namespace: {FieldSelector: named(secret.Name)}}},
			&admissionv1.MutatingWebhookConfiguration{}: {Field: named(s.service)},
		}},
	})
	if err != nil {
		return nil, nil, err
	}
	keeper, err = servingcert.New(servingcert.Config{Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Secret: secret, Webhook: s.service,
		DNSNames: []string{host, host + ".cluster.local", s.service + "." + s.namespace}, Clock: time.Now, Random: rand.Reader})
	if err != nil {
		return nil, nil, err
	}
	return mgr, keeper, keeper.Register(mgr)
}

// podAuth is how pods authenticate that read for themselves: by their own environment. The node's file is not theirs.
func (s settings) podAuth() string {
	if mode := credential.Mode(s.auth); mode == credential.DefaultChain {
		return s.auth
	}
	return ""
}

// addWebhook adds to what is common to all pods what can change while we run.
func (s settings) addWebhook(mgr ctrl.Manager, keeper *servingcert.Keeper, images webhook.Images, common inject.Settings) error {
	counters, err := webhook.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	address := &serviceAddress{live: mgr.GetAPIReader(), name: types.NamespacedName{Namespace: s.namespace, Name: s.service}, port: s.servicePort}
	hook, err := webhook.New(webhook.Config{Metrics: counters, Log: mgr.GetLogger().WithName("webhook"), Live: mgr.GetAPIReader(), Images: images, Patience: s.imageTimeout,
		Settings: func(ctx context.Context) (inject.Settings, error) {
			now := common
			now.CA, now.BrokerAddress = keeper.Root(), address.get(ctx)
			now.Broker = fmt.Sprintf("%s.%s.svc:%d", s.service, s.namespace, s.servicePort)
			return now, keeper.Ready()
		}})
	if err != nil {
		return err
	}
	mgr.GetWebhookServer().Register(webhook.Path, &admission.Webhook{Handler: hook, WithContextFunc: webhook.Deadline})
	return nil
}

func (s settings) addBroker(mgr ctrl.Manager, keeper *servingcert.Keeper, vault broker.Vault) error {
	if !s.authService {
		return nil
	}
	counters, err := broker.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	label, value, _ := strings.Cut(s.namespaceLabel, "=")
	b, err := broker.New(broker.Config{Live: mgr.GetAPIReader(), Cached: mgr.GetClient(), Reviewer: mgr.GetClient(), Vault: vault,
		Events:     mgr.GetEventRecorder("akv2k8s-env-injector"),
		Identities: s.identities, Rules: s.rules, MaxAge: s.maxAge, StaleAge: staleAge, Label: label, LabelValue: value, Metrics: counters, Log: mgr.GetLogger().WithName("auth-service")})
	if err != nil {
		return err
	}
	return mgr.Add(&broker.Server{Address: fmt.Sprintf(":%d", s.authPort), Handler: b, Certificate: keeper.GetCertificate})
}

func (s settings) addTelemetry(ctx context.Context, mgr ctrl.Manager, keeper *servingcert.Keeper) error {
	// Asked for here, so that it is filled before the first pod asks.
	if _, err := mgr.GetCache().GetInformer(ctx, &v2beta1.AzureKeyVaultSecret{}, cache.BlockUntilSynced(false)); err != nil {
		return err
	}
	started := mgr.GetWebhookServer().StartedChecker()
	older, err := legacy.New(legacy.Config{Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("akv2k8s-env-injector"), Registry: metrics.Registry,
		Log: mgr.GetLogger().WithName("auth-service")})
	if err != nil {
		return err
	}
	server := &telemetry.Server{Address: fmt.Sprintf(":%d", s.httpPort), More: map[string]http.Handler{legacy.Pattern: older}, Ready: func() error {
		return errors.Join(keeper.Ready(), started(nil))
	}}
	if s.metrics {
		server.Gatherer = metrics.Registry
	}
	return mgr.Add(server)
}

// serviceAddress is the ClusterIP of our own Service, which stays the same as long as the Service lives. Pods are given it so that they
// need no DNS; without it they use the name.
type serviceAddress struct {
	live  client.Reader
	name  types.NamespacedName
	port  int
	known atomic.Pointer[string]
}

func (a *serviceAddress) get(ctx context.Context) string {
	if known := a.known.Load(); known != nil {
		return *known
	}
	var service corev1.Service
	if err := a.live.Get(ctx, a.name, &service); err != nil || service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone {
		return ""
	}
	address := service.Spec.ClusterIP
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	address = fmt.Sprintf("%s:%d", address, a.port)
	a.known.Store(&address)
	return address
}
