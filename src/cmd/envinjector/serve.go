package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	rtwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/broker"
	"github.com/akv2k8s/akv2k8s/src/broker/legacy"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/gate"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/servingcert"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
	"github.com/akv2k8s/akv2k8s/src/webhook"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

// parts are the objects that the servers of the program share.
type parts struct {
	settings
	mgr    ctrl.Manager
	keeper *servingcert.Keeper
	// watcher has the certificate of the webhook; nil if the program's own CA issues it.
	watcher *certwatcher.CertWatcher
	api     *apiServer
	// refused counts the rejected requests of all ports.
	refused *gate.Metrics
	webhook *gate.Server
	// older responds to pods that v1 injected.
	older *legacy.Handler
}

// longestReview is the maximum timeoutSeconds of a webhook.
const longestReview = 30 * time.Second

// admissionLimits are the limits of an address on the webhook's port. They are far above the rate of an API server.
func admissionLimits() gate.Limits {
	return gate.Limits{Connections: limits.WebhookConnections, ConnectionsPerSecond: limits.WebhookConnectionsPerSecond,
		Requests:          limits.WebhookRequests,
		RequestsPerSecond: limits.WebhookRequestsPerSecond, RequestsBurst: limits.WebhookRequestsBurst,
		AllConnections: limits.WebhookAllConnections,
		Memory:         limits.WebhookMemory, ReservedMemory: limits.WebhookReservedMemory}
}

// podLimits are the limits of an address on the auth service's port. They fit a node whose pods share its address and
// all start at the same time.
func podLimits() gate.Limits {
	return gate.Limits{Connections: limits.AuthConnections, ConnectionsPerSecond: limits.AuthConnectionsPerSecond,
		Requests:          limits.AuthRequests,
		RequestsPerSecond: limits.AuthRequestsPerSecond, RequestsBurst: limits.AuthRequestsBurst,
		AllConnections: limits.AuthAllConnections}
}

func (p *parts) door(port string, bounds gate.Limits) (*gate.Gate, error) {
	return gate.New(gate.Config{Port: port, Limits: bounds, Known: p.api.calls, Metrics: p.refused,
		Clock: time.Now, Log: p.mgr.GetLogger().WithName("gate")})
}

// addWebhook adds the webhook's server. Its settings are the common ones and those that can change at run time: the CA
// and the address of the auth service.
func (p *parts) addWebhook(images webhook.Images, common inject.Settings) error {
	counters, err := webhook.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	address := &serviceAddress{live: p.mgr.GetAPIReader(),
		name: types.NamespacedName{Namespace: p.namespace, Name: p.service}, port: p.servicePort}
	label, value, _ := strings.Cut(p.namespaceLabel, "=")
	hook, err := webhook.New(webhook.Config{Metrics: counters, Log: p.mgr.GetLogger().WithName("webhook"),
		Live: p.mgr.GetAPIReader(), Images: images, Patience: p.imageTimeout,
		Clock: time.Now, Label: label, LabelValue: value,
		Settings: func(ctx context.Context) (inject.Settings, error) {
			now := common
			now.CA = p.keeper.Root()
			if p.authService {
				now.BrokerAddress = address.get(ctx)
			}
			now.Broker = fmt.Sprintf("%s.%s.svc:%d", p.service, p.namespace, p.servicePort)
			return now, p.keeper.Ready()
		}})
	if err != nil {
		return err
	}
	clientCA, _ := p.lookup("WEBHOOK_CLIENT_CA")
	certificate := p.keeper.GetCertificate
	if p.watcher != nil {
		certificate = p.watcher.GetCertificate
		if err := p.mgr.Add(p.watcher); err != nil {
			return err
		}
	}
	secure, err := webhookTLS(certificate, clientCA)
	if err != nil {
		return err
	}
	door, err := p.door("webhook", admissionLimits())
	if err != nil {
		return err
	}
	// The library's server only adds its metrics. The requests are served with limits per address.
	counted := rtwebhook.NewServer(rtwebhook.Options{})
	counted.Register(webhook.Path, hook.Handler(door))
	p.webhook = &gate.Server{Address: fmt.Sprintf(":%d", p.tlsPort), Gate: door, Handler: counted.WebhookMux(),
		TLS: secure, Patience: longestReview}
	return p.mgr.Add(p.webhook)
}

func (p *parts) addBroker(vault broker.Vault) error {
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
		Decoding:   decodepool.New(decodepool.Config{}),
		Events:     p.mgr.GetEventRecorder("akv2k8s-env-injector"),
		Identities: p.identities, Rules: p.rules, MaxAge: p.maxAge, StaleAge: staleAge,
		Label: label, LabelValue: value, Metrics: counters, Log: p.mgr.GetLogger().WithName("auth-service")})
	if err != nil {
		return err
	}
	door, err := p.door("auth-service", podLimits())
	if err != nil {
		return err
	}
	server := &gate.Server{Address: fmt.Sprintf(":%d", p.authPort), Gate: door, Handler: b, Patience: broker.Patience,
		TooMuch: b.TooMuch,
		TLS:     &tls.Config{GetCertificate: p.keeper.GetCertificate, MinVersion: tls.VersionTLS13}}
	if p.legacyAuthService {
		server.Handler, server.TLS.GetCertificate, server.TLS.ClientAuth = withOlder(b, p.older),
			p.older.Certificate, tls.RequestClientCert
	}
	return p.mgr.Add(server)
}

func (p *parts) addTelemetry(ctx context.Context) error {
	health := &telemetry.Health{Ready: func() error {
		return errors.Join(p.keeper.Ready(), p.webhook.Listening())
	}}
	// Without the auth service, the program has no rights to read pods and resources, and pods send no requests.
	if p.authService {
		health.More = map[string]http.Handler{legacy.Pattern: p.older}
		// Creates the informer now, so that the cache is filled before the first request of a pod.
		if _, err := p.mgr.GetCache().GetInformer(ctx, &v2beta1.AzureKeyVaultSecret{},
			cache.BlockUntilSynced(false)); err != nil {
			return err
		}
	}
	if p.metrics {
		health.Gatherer = metrics.Registry
	}
	door, err := gate.New(gate.Config{Port: "health", Limits: gate.HealthLimits(), Free: telemetry.IsProbe,
		Metrics: p.refused, Clock: time.Now,
		Log: p.mgr.GetLogger().WithName("gate")})
	if err != nil {
		return err
	}
	server := &gate.Server{Address: fmt.Sprintf(":%d", p.httpPort), Gate: door, Handler: health.Handler(),
		Patience: limits.AnswerWriteTime}
	return errors.Join(p.mgr.Add(server), p.mgr.Add(p.older))
}
