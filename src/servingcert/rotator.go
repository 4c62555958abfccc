package servingcert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	admissionac "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	rtcontroller "sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Data keys of the current CA in the Secret.
const (
	caCertDataKey = "ca.crt"
	caKeyDataKey  = "ca.key"
)

// fieldManager owns only caBundle in the webhook configuration.
const fieldManager = "akv2k8s-serving-certificate"

// Config configures the rotation of the certificates. Fields are required unless their comment says that they are
// optional.
type Config struct {
	// Live reads directly from the API server. Writer writes the Secret and the webhook configuration.
	Live   client.Reader
	Writer client.Writer
	// Secret holds the CA. The chart renders it empty, and the first replica writes the CA.
	Secret types.NamespacedName
	// WebhookConfigName is the name of the MutatingWebhookConfiguration.
	WebhookConfigName string
	// DNSNames are the DNS names of the leaf.
	DNSNames []string
	Clock    func() time.Time
	Random   io.Reader
	// ExtraCAs are CAs that the API server must trust in addition to our own. Optional.
	ExtraCAs ExtraCAs
}

// ExtraCAs are the CAs of other servers that answer the API server for the same webhook configuration.
type ExtraCAs interface {
	// ReadCAs returns the CAs. It returns nil if there are none.
	ReadCAs(context.Context) ([]*x509.Certificate, error)
	// RemoveUnusedCAs deletes the CAs if no server uses them anymore. It returns the time until the next check.
	RemoveUnusedCAs(context.Context) (time.Duration, error)
	// DeleteCAs deletes the CAs in any case.
	DeleteCAs(context.Context) error
}

// Rotator creates and rotates the certificates. It is safe for concurrent use.
type Rotator struct {
	Config
	mu      sync.RWMutex
	rootCAs []byte
	leaf    *tls.Certificate
}

// New checks the configuration. It does not read or write certificates.
func New(c Config) (*Rotator, error) {
	if err := fault.RequireFields("servingcert.New", map[string]bool{
		"Live": c.Live != nil, "Writer": c.Writer != nil, "Secret": c.Secret.Name != "",
		"WebhookConfigName": c.WebhookConfigName != "", "DNSNames": len(c.DNSNames) > 0, "Clock": c.Clock != nil,
		"Random": c.Random != nil,
	}); err != nil {
		return nil, err
	}
	return &Rotator{Config: c}, nil
}

// GetCertificate implements tls.Config.GetCertificate. It returns the leaf.
func (k *Rotator) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.leaf == nil {
		return nil, errors.New("the serving certificate does not exist yet")
	}
	return k.leaf, nil
}

// RootCAs returns the CAs that clients must trust, in PEM: the current CA and previous ones that replicas can still
// serve with. It returns "" before the first CA exists.
func (k *Rotator) RootCAs() string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return string(k.rootCAs)
}

// CheckReady returns an error until the certificates exist and the webhook configuration has the CA.
func (k *Rotator) CheckReady() error {
	if k.RootCAs() == "" {
		return errors.New("the CA is not created and published yet")
	}
	return nil
}

// SetupWithManager adds a controller to mgr that watches the Secret and the webhook configuration, and repairs both
// within seconds. It runs in every replica.
func (k *Rotator) SetupWithManager(mgr ctrl.Manager) error {
	everybody := false
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: k.Secret}}
	})
	return ctrl.NewControllerManagedBy(mgr).Named("serving-certificate").
		WithOptions(rtcontroller.Options{NeedLeaderElection: &everybody,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond,
				10*time.Second)}).
		Watches(&corev1.Secret{}, one).Watches(&admissionv1.MutatingWebhookConfiguration{}, one).
		Complete(k)
}

// Reconcile creates or rotates the CA, renews the leaf, and writes the CA into the webhook configuration.
func (k *Rotator) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	ca, err := k.loadOrCreateCA(ctx)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil // another replica wrote a CA first; use it
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	leaf, err := k.currentLeaf(ca)
	if err != nil {
		return ctrl.Result{}, err
	}
	if k.ExtraCAs != nil {
		if ca.extraCAs, err = k.ExtraCAs.ReadCAs(ctx); err != nil {
			return ctrl.Result{}, err
		}
	}
	if err := k.publishCABundle(ctx, ca); apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil // the configuration has changed meanwhile
	} else if err != nil {
		return ctrl.Result{}, err
	}
	k.mu.Lock()
	k.rootCAs = ca.rootBundle()
	k.mu.Unlock()
	if len(ca.extraCAs) > 0 {
		next, err := k.ExtraCAs.RemoveUnusedCAs(ctx)
		return ctrl.Result{RequeueAfter: next}, err
	}
	next := renewalTime(leaf)
	if ca.rotationTime().Before(next) {
		next = ca.rotationTime()
	}
	// At least one second: controller-runtime does not requeue after zero or less.
	return ctrl.Result{RequeueAfter: max(next.Sub(k.Clock()), time.Second)}, nil
}

// loadOrCreateCA reads the CA. It creates the first CA, and the next one when rotation is due. If several replicas
// write a CA at once, the resourceVersion lets one of them succeed.
func (k *Rotator) loadOrCreateCA(ctx context.Context) (caSet, error) {
	secret, ca, err := k.readCASecret(ctx)
	if err != nil {
		return ca, err
	}
	var data map[string][]byte
	switch {
	case ca.cert == nil:
		data, err = k.newCAData()
	case k.Clock().After(ca.rotationTime()):
		data, err = ca.nextCAData(k.Secret.Name, k.Clock(), k.Random)
	default:
		return ca, nil
	}
	if err != nil {
		return ca, err
	}
	return k.writeCASecret(ctx, secret, data)
}

// readCASecret returns the Secret and its CA. The CA is empty if there is none yet.
func (k *Rotator) readCASecret(ctx context.Context) (*corev1.Secret, caSet, error) {
	var secret corev1.Secret
	if err := k.Live.Get(ctx, k.Secret, &secret); err != nil {
		return nil, caSet{},
			fmt.Errorf("reading Secret %s, which the chart renders for the CA: %w; if it was deleted, run helm upgrade",
				k.Secret, err)
	}
	if len(secret.Data[caCertDataKey]) == 0 && len(secret.Data[caKeyDataKey]) == 0 {
		return &secret, caSet{}, nil
	}
	ca, err := parseCASet(secret.Data, k.Clock())
	if err != nil {
		return nil, ca,
			fmt.Errorf("reading the CA in Secret %s: %w; restore the Secret, or remove its data to create a new CA "+
				"and recreate the injected pods",
				k.Secret, err)
	}
	return &secret, ca, nil
}

// newCAData returns the data of the Secret with a new CA that is not cross-signed.
func (k *Rotator) newCAData() (map[string][]byte, error) {
	ca, key, err := newAuthority(k.Secret.Name, k.Clock(), k.Random)
	return map[string][]byte{caCertDataKey: ca.pem, caKeyDataKey: key}, err
}

// writeCASecret updates the Secret and returns the CA in data.
func (k *Rotator) writeCASecret(ctx context.Context, secret *corev1.Secret, data map[string][]byte) (caSet, error) {
	secret.Data = data
	if err := k.Writer.Update(ctx, secret); err != nil { // resourceVersion prevents overwriting another replica's CA
		return caSet{}, fmt.Errorf("writing the CA into Secret %s: %w", k.Secret, err)
	}
	return parseCASet(data, k.Clock())
}

// RotateCA creates the next CA now, cross-signed by the current one, so that existing pods trust it.
func (k *Rotator) RotateCA(ctx context.Context) error {
	secret, ca, err := k.readCASecret(ctx)
	if err != nil {
		return err
	}
	if ca.cert == nil {
		return errors.New("there is no CA yet; the env-injector creates it when it starts")
	}
	data, err := ca.nextCAData(k.Secret.Name, k.Clock(), k.Random)
	if err != nil {
		return err
	}
	_, err = k.writeCASecret(ctx, secret, data)
	return err
}

// ReplaceCA creates a CA that is not cross-signed, for use after a compromise. It withdraws all previous CAs. Existing
// pods do not trust the new CA and must be recreated.
func (k *Rotator) ReplaceCA(ctx context.Context) error {
	secret, _, err := k.readCASecret(ctx)
	if err != nil {
		return err
	}
	data, err := k.newCAData()
	if err != nil {
		return err
	}
	// Extra CAs are deleted first: if deletion failed after the new CA was written, nothing would retry it.
	if k.ExtraCAs != nil {
		if err := k.ExtraCAs.DeleteCAs(ctx); err != nil {
			return err
		}
	}
	_, err = k.writeCASecret(ctx, secret, data)
	return err
}

// currentLeaf returns the leaf. It creates a new one if the CA has changed or renewal is due.
func (k *Rotator) currentLeaf(ca caSet) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ca.isCurrentLeaf(k.leaf, k.Clock()) {
		return k.leaf, nil
	}
	leaf, err := ca.signLeaf(k.DNSNames, k.Clock(), k.Random)
	if err != nil {
		return nil, err
	}
	k.leaf = leaf
	return leaf, nil
}

// publishCABundle writes the CA into caBundle of the webhook configuration if it differs. An annotation of the
// configuration says whether we write the CA, so that replicas with different settings or versions do not overwrite
// each other.
func (k *Rotator) publishCABundle(ctx context.Context, ca caSet) error {
	var live admissionv1.MutatingWebhookConfiguration
	if err := k.Live.Get(ctx, types.NamespacedName{Name: k.WebhookConfigName}, &live); err != nil {
		return fmt.Errorf("reading MutatingWebhookConfiguration %s: %w; if it was deleted, run helm upgrade",
			k.WebhookConfigName,
			err)
	}
	if live.Annotations[wire.AnnotationCASource] != wire.CASourceEnvInjector {
		return nil
	}
	stale := false
	wanted := admissionac.MutatingWebhookConfiguration(k.WebhookConfigName).
		WithUID(live.UID).
		WithResourceVersion(live.ResourceVersion)
	for _, webhook := range live.Webhooks {
		stale = stale || !bytes.Equal(webhook.ClientConfig.CABundle, ca.webhookBundle())
		wanted.WithWebhooks(admissionac.MutatingWebhook().WithName(webhook.Name).
			WithClientConfig(admissionac.WebhookClientConfig().WithCABundle(ca.webhookBundle()...)))
	}
	if !stale {
		return nil
	}
	if err := k.Writer.Apply(ctx, wanted, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("writing the CA into MutatingWebhookConfiguration %s: %w", k.WebhookConfigName, err)
	}
	return nil
}
