package envinjector

import (
	"context"
	"crypto/fips140"
	"crypto/rand"
	"errors"
	"io"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/apiserver"
	"github.com/akv2k8s/akv2k8s/src/broker"
	"github.com/akv2k8s/akv2k8s/src/iplimit"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/program"
	"github.com/akv2k8s/akv2k8s/src/servingcert"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
	"github.com/akv2k8s/akv2k8s/src/webhook"
	"github.com/akv2k8s/akv2k8s/src/webhook/delivery"
	"github.com/akv2k8s/akv2k8s/src/webhook/initcontainer"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
	"github.com/akv2k8s/akv2k8s/src/webhook/webhooktls"
)

// The interfaces of other packages that this program fills.
var (
	_ broker.Vault            = (*vaultclient.Client)(nil)
	_ admission.Handler       = (*webhook.Webhook)(nil)
	_ webhook.ImageInspector  = (*ociimage.Images)(nil)
	_ webhook.DeliveryChooser = delivery.Chooser{}
	_ ociimage.TokenExchange  = (*ociimage.AzureRegistries)(nil)
)

// maxStaleAge is the maximum age of a cached value that is used while a vault is unavailable.
const maxStaleAge = time.Hour

// Serve runs the servers until the context ends. It logs to stderr.
func Serve(ctx context.Context, s Settings, stderr io.Writer) error {
	logger, err := s.NewLogger(stderr)
	if err != nil {
		return err
	}
	telemetry.LimitMemory(s.Environment.Lookup)
	vaults, err := s.NewVaults(logger, maxStaleAge)
	if err != nil {
		return err
	}
	p, err := s.newManager(logger)
	if err != nil {
		return err
	}
	if err := p.createSharedParts(vaults.Client, logger); err != nil {
		return err
	}
	common, err := s.injectionSettings(vaults, logger)
	if err != nil {
		return err
	}
	images, err := s.newImageInspector(vaults, p.apiServer, logger)
	if err != nil {
		return err
	}
	p.apiServer.Refresh(ctx) // before the first image is read
	if err := errors.Join(p.addWebhook(ctx, images, common), p.addBroker(vaults.Client), p.addTelemetry(ctx),
		p.mgr.Add(p.apiServer), metrics.Registry.Register(vaults.Metrics),
		metrics.Registry.Register(telemetry.NewBuildInfo("env-injector"))); err != nil {
		return err
	}
	logger.Info("starting", logkey.Authentication, s.AuthType, logkey.EveryNamespace, s.WatchAll, logkey.AuthService,
		s.authService, logkey.FIPS140, fips140.Enabled())
	return p.mgr.Start(ctx)
}

// createSharedParts creates the parts that the servers share, other than the manager.
func (p *sharedParts) createSharedParts(vault *vaultclient.Client, logger logr.Logger) (err error) {
	if err := p.UseServiceAccounts(vault, p.mgr); err != nil {
		return err
	}
	host, _ := p.Environment.Lookup("KUBERNETES_SERVICE_HOST")
	p.apiServer = apiserver.NewAddresses(p.mgr.GetAPIReader(), logger, host)
	if p.rejections, err = iplimit.NewMetrics(metrics.Registry); err != nil {
		return err
	}
	p.v1Handler, err = p.newV1Handler(p.mgr, p.rotator, vault)
	return err
}

// injectionSettings are the injection settings that are the same for every pod.
func (s Settings) injectionSettings(vaults *program.Vaults, logger logr.Logger) (inject.Settings, error) {
	init, policy, err := s.initContainerSettings(logger)
	return inject.Settings{Image: s.injectorImage, PullPolicy: policy, InitContainer: init, LogLevel: s.LogLevel,
		LogFormat: s.LogFormat, InjectProbes: s.injectProbes,
		Direct: !s.authService, Cloud: vaults.Client.Cloud.FormatSetting(),
		ExtraCAs: string(vaults.ExtraCAs), AuthType: s.podAuthType()}, err
}

// initContainerSettings returns the installation's Settings of the init container. It logs a warning for each setting
// that is ignored.
func (s Settings) initContainerSettings(logger logr.Logger) (initcontainer.Settings, corev1.PullPolicy, error) {
	value, warnings, err := s.initContainer.withV1Variables(s.Environment.Lookup)
	for _, warning := range warnings {
		logger.Info("warning: " + warning)
	}
	policy, wrong := s.initContainerPullPolicy()
	return value.injectSettings(), policy, errors.Join(err, wrong)
}

// cacheByObject returns the types that the manager watches, with their namespaces and selectors.
func (s Settings) cacheByObject() map[client.Object]cache.ByObject {
	named := func(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
	resources := cache.ByObject{}
	if !s.WatchAll {
		resources.Namespaces = map[string]cache.Config{s.Namespace: {}}
	}
	serving := map[string]cache.Config{s.Namespace: {FieldSelector: named(s.servingSecretName().Name)}}
	return map[client.Object]cache.ByObject{
		&v2beta1.AzureKeyVaultSecret{}:              resources,
		&corev1.Secret{}:                            {Namespaces: serving},
		&admissionv1.MutatingWebhookConfiguration{}: {Field: named(s.serviceName)},
		&corev1.Node{}:                              {Transform: delivery.Strip},
	}
}

// newManager creates the manager. It watches AzureKeyVaultSecrets, and the program's own Secret and webhook
// configuration.
func (s Settings) newManager(logger logr.Logger) (*sharedParts, error) {
	config, err := s.RESTConfig()
	if err != nil {
		return nil, err
	}
	options, err := s.ManagerOptions(logger)
	if err != nil {
		return nil, err
	}
	options.Cache.ByObject = s.cacheByObject()
	secret := s.servingSecretName()
	host := s.serviceName + "." + s.Namespace + ".svc"
	watcher, err := webhooktls.NewCertWatcher(s.certificateFolder)
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(config, options)
	if err != nil {
		return nil, err
	}
	v1CA, err := s.newV1CA(mgr.GetAPIReader(), mgr.GetClient())
	if err != nil {
		return nil, err
	}
	keeper, err := servingcert.New(servingcert.Config{Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Secret: secret,
		WebhookConfigName: s.serviceName,
		DNSNames:          []string{host, host + ".cluster.local", s.serviceName + "." + s.Namespace}, Clock: time.Now,
		Random: rand.Reader, ExtraCAs: v1CA})
	if err != nil {
		return nil, err
	}
	return &sharedParts{Settings: s, mgr: mgr, rotator: keeper, certWatcher: watcher}, keeper.SetupWithManager(mgr)
}

// podAuthType is the authentication method of pods that read vaults themselves; empty is the method environment. The
// node's file is not for pods.
func (s Settings) podAuthType() string {
	if mode := credential.Mode(s.AuthType); mode == credential.ModeDefaultChain {
		return s.AuthType
	}
	return ""
}
