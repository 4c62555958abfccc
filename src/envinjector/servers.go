package envinjector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	rtwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/apiserver"
	"github.com/akv2k8s/akv2k8s/src/broker"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/iplimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/program"
	"github.com/akv2k8s/akv2k8s/src/servingcert"
	"github.com/akv2k8s/akv2k8s/src/webhook"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/webhook/webhooktls"
)

// sharedParts are the objects that the servers of the program share.
type sharedParts struct {
	Settings
	mgr     ctrl.Manager
	rotator *servingcert.Rotator
	// certWatcher has the certificate of the webhook; nil if the program's own CA issues it.
	certWatcher *certwatcher.CertWatcher
	apiServer   *apiserver.Addresses
	// rejections counts the rejected requests of all ports.
	rejections    *iplimit.Metrics
	webhookServer *iplimit.Server
	// v1Handler responds to pods that v1 injected.
	v1Handler v1Handler
}

// maxReviewTime is the maximum timeoutSeconds of a webhook.
const maxReviewTime = 30 * time.Second

// admissionLimits are the limits of an address on the webhook's port. They are far above the rate of an API server.
func admissionLimits() iplimit.Limits {
	return iplimit.Limits{Connections: limits.WebhookConnections,
		ConnectionsPerSecond: limits.WebhookConnectionsPerSecond,
		Requests:             limits.WebhookRequests,
		RequestsPerSecond:    limits.WebhookRequestsPerSecond, RequestsBurst: limits.WebhookRequestsBurst,
		TotalConnections: limits.WebhookTotalConnections,
		Memory:           limits.WebhookMemory, ReservedMemory: limits.WebhookReservedMemory}
}

// podLimits are the limits of an address on the auth service's port. They fit a node whose pods share its address and
// all start at the same time.
func podLimits() iplimit.Limits {
	return iplimit.Limits{Connections: limits.AuthConnections, ConnectionsPerSecond: limits.AuthConnectionsPerSecond,
		Requests:          limits.AuthRequests,
		RequestsPerSecond: limits.AuthRequestsPerSecond, RequestsBurst: limits.AuthRequestsBurst,
		TotalConnections: limits.AuthTotalConnections}
}

func (p *sharedParts) newAddressLimiter(port string, bounds iplimit.Limits) (*iplimit.Limiter, error) {
	return iplimit.New(iplimit.Config{Port: port, Limits: bounds, IsAPIServer: p.apiServer.IsReplica,
		Metrics: p.rejections,
		Clock:   time.Now, Log: p.mgr.GetLogger().WithName("iplimit")})
}

// addWebhook adds the webhook's server. Its settings are the common ones and those that can change at run time: the CA
// and the address of the auth service.
func (p *sharedParts) addWebhook(ctx context.Context, images webhook.ImageInspector, common inject.Settings) error {
	counters, err := webhook.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	chooser, err := p.newDeliveryChooser(ctx, p.mgr)
	if err != nil {
		return err
	}
	address := &webhook.ServiceAddress{APIReader: p.mgr.GetAPIReader(),
		Name: types.NamespacedName{Namespace: p.Namespace, Name: p.serviceName}, Port: p.servicePort}
	label, value, _ := strings.Cut(p.namespaceLabel, "=")
	hook, err := webhook.New(webhook.Config{Metrics: counters, Log: p.mgr.GetLogger().WithName("webhook"),
		APIReader: p.mgr.GetAPIReader(), Images: images, Delivery: chooser, ReviewTimeout: p.imageTimeout,
		Clock: time.Now, NamespaceLabel: label, NamespaceLabelValue: value,
		Settings: func(ctx context.Context) (inject.Settings, error) {
			now := common
			now.CA = p.rotator.RootCAs()
			if p.authService {
				now.BrokerAddress = address.Get(ctx)
			}
			now.Broker = fmt.Sprintf("%s.%s.svc:%d", p.serviceName, p.Namespace, p.servicePort)
			return now, p.rotator.CheckReady()
		}})
	if err != nil {
		return err
	}
	certificate := p.rotator.GetCertificate
	if p.certWatcher != nil {
		certificate = p.certWatcher.GetCertificate
		if err := p.mgr.Add(p.certWatcher); err != nil {
			return err
		}
	}
	secure, err := webhooktls.NewConfig(certificate, p.clientCA)
	if err != nil {
		return err
	}
	door, err := p.newAddressLimiter("webhook", admissionLimits())
	if err != nil {
		return err
	}
	// The library's server only adds its metrics. The requests are served with limits per address.
	counted := rtwebhook.NewServer(rtwebhook.Options{})
	counted.Register(webhook.Path, hook.Handler(door))
	p.webhookServer = &iplimit.Server{Address: fmt.Sprintf(":%d", p.tlsPort), Limiter: door,
		Handler: counted.WebhookMux(),
		TLS:     secure, RequestTimeout: maxReviewTime}
	return p.mgr.Add(p.webhookServer)
}

func (p *sharedParts) addBroker(vault broker.Vault) error {
	if !p.authService {
		return nil
	}
	counters, err := broker.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	label, value, _ := strings.Cut(p.namespaceLabel, "=")
	b, err := broker.New(broker.Config{Live: p.mgr.GetAPIReader(), Cached: p.mgr.GetClient(),
		Reviewer: p.mgr.GetClient(), Vault: vault,
		DecodePool: decodepool.New(decodepool.Config{}),
		Events:     p.mgr.GetEventRecorder("akv2k8s-env-injector"),
		Identities: p.Identities, Rules: p.Rules, MaxAge: p.cacheMaxAge, MaxStaleAge: maxStaleAge,
		NamespaceLabel: label, NamespaceLabelValue: value, Metrics: counters,
		Log: p.mgr.GetLogger().WithName("auth-service")})
	if err != nil {
		return err
	}
	door, err := p.newAddressLimiter("auth-service", podLimits())
	if err != nil {
		return err
	}
	server := &iplimit.Server{Address: fmt.Sprintf(":%d", p.authPort), Limiter: door, Handler: b,
		RequestTimeout:  broker.RequestTimeout,
		TooManyRequests: b.RejectRequest,
		TLS:             &tls.Config{GetCertificate: p.rotator.GetCertificate, MinVersion: tls.VersionTLS13}}
	if p.v1AuthService {
		p.v1Handler.addTokenRoute(server)
	}
	return p.mgr.Add(server)
}

func (p *sharedParts) addTelemetry(ctx context.Context) error {
	health := program.HealthServer{Port: p.httpPort, ServeMetrics: p.serveMetrics, Rejected: p.rejections,
		Ready: func() error { return errors.Join(p.rotator.CheckReady(), p.webhookServer.CheckListening()) }}
	// Without the auth service, the program has no rights to read pods and resources, and pods send no requests.
	if p.authService {
		health.Handlers = p.v1Handler.validationRoute()
		// Creates the informer now, so that the cache is filled before the first request of a pod.
		if _, err := p.mgr.GetCache().GetInformer(ctx, &v2beta1.AzureKeyVaultSecret{},
			cache.BlockUntilSynced(false)); err != nil {
			return err
		}
	}
	return errors.Join(program.AddHealthServer(p.mgr, health), p.v1Handler.addTo(p.mgr))
}
