package servingcert

import (
	"bytes"
	"context"
	"crypto/tls"
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

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Data keys of the current CA in the Secret.
const (
	dataCert = "ca.crt"
	dataKey  = "ca.key"
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
	// Webhook is the name of the MutatingWebhookConfiguration.
	Webhook string
	// DNSNames are the DNS names of the leaf.
	DNSNames []string
	Clock    func() time.Time
	Random   io.Reader
	// Alone reports whether all replicas run this version, so that none of akv2k8s 1.8 is left. Optional.
	Alone func(context.Context) (bool, error)
}

// Keeper creates and rotates the certificates. It is safe for concurrent use.
type Keeper struct {
	Config
	mu   sync.RWMutex
	root []byte
	leaf *tls.Certificate
	// alone is the time since which all replicas run this version. It is zero while replicas of 1.8 are left.
	alone time.Time
}

// New checks the configuration. It does not read or write certificates.
func New(c Config) (*Keeper, error) {
	if c.Live == nil || c.Writer == nil || c.Secret.Name == "" || c.Webhook == "" || len(c.DNSNames) == 0 ||
		c.Clock == nil || c.Random == nil {
		return nil, errors.New("servingcert.New: a required field of Config is missing")
	}
	return &Keeper{Config: c}, nil
}

// GetCertificate implements tls.Config.GetCertificate. It returns the leaf.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.leaf == nil {
		return nil, errors.New("the serving certificate does not exist yet")
	}
	return k.leaf, nil
}

// Root returns the CAs that clients must trust, in PEM: the current CA and previous ones that replicas can still serve
// with. It returns "" before the first CA exists.
func (k *Keeper) Root() string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return string(k.root)
}

// Ready returns an error until the certificates exist and the webhook configuration has the CA.
func (k *Keeper) Ready() error {
	if k.Root() == "" {
		return errors.New("the CA is not created and published yet")
	}
	return nil
}

// Register adds a controller to mgr that watches the Secret and the webhook configuration, and repairs both within
// seconds. It runs in every replica.
func (k *Keeper) Register(mgr ctrl.Manager) error {
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
func (k *Keeper) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	ca, err := k.authority(ctx)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil // another replica wrote a CA first; use it
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	leaf, err := k.current(ca)
	if err != nil {
		return ctrl.Result{}, err
	}
	if ca.predecessor, err = k.predecessor(ctx); err != nil {
		return ctrl.Result{}, err
	}
	if err := k.publish(ctx, ca); apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil // the configuration has changed meanwhile
	} else if err != nil {
		return ctrl.Result{}, err
	}
	k.mu.Lock()
	k.root = ca.roots()
	k.mu.Unlock()
	if len(ca.predecessor) > 0 {
		return k.retire(ctx)
	}
	next := renewal(leaf)
	if ca.due().Before(next) {
		next = ca.due()
	}
	// At least one second: controller-runtime does not requeue after zero or less.
	return ctrl.Result{RequeueAfter: max(next.Sub(k.Clock()), time.Second)}, nil
}

// authority reads the CA. It creates the first CA, and the next one when rotation is due. If several replicas write a
// CA at once, the resourceVersion lets one of them succeed.
func (k *Keeper) authority(ctx context.Context) (succession, error) {
	secret, ca, err := k.read(ctx)
	if err != nil {
		return ca, err
	}
	var data map[string][]byte
	switch {
	case ca.cert == nil:
		data, err = k.fresh()
	case k.Clock().After(ca.due()):
		data, err = ca.next(k.Secret.Name, k.Clock(), k.Random)
	default:
		return ca, nil
	}
	if err != nil {
		return ca, err
	}
	return k.write(ctx, secret, data)
}

// read returns the Secret and its CA. The CA is empty if there is none yet.
func (k *Keeper) read(ctx context.Context) (*corev1.Secret, succession, error) {
	var secret corev1.Secret
	if err := k.Live.Get(ctx, k.Secret, &secret); err != nil {
		return nil, succession{},
			fmt.Errorf("reading Secret %s, which the chart renders for the CA: %w; if it was deleted, run helm upgrade",
				k.Secret, err)
	}
	if len(secret.Data[dataCert]) == 0 && len(secret.Data[dataKey]) == 0 {
		return &secret, succession{}, nil
	}
	ca, err := parseSuccession(secret.Data, k.Clock())
	if err != nil {
		return nil, ca,
			fmt.Errorf("reading the CA in Secret %s: %w; restore the Secret, or remove its data to create a new CA "+
				"and recreate the injected pods",
				k.Secret, err)
	}
	return &secret, ca, nil
}

// fresh returns the data of the Secret with a new CA that is not cross-signed.
func (k *Keeper) fresh() (map[string][]byte, error) {
	ca, key, err := newAuthority(k.Secret.Name, k.Clock(), k.Random)
	return map[string][]byte{dataCert: ca.pem, dataKey: key}, err
}

// write updates the Secret and returns the CA in data.
func (k *Keeper) write(ctx context.Context, secret *corev1.Secret, data map[string][]byte) (succession, error) {
	secret.Data = data
	if err := k.Writer.Update(ctx, secret); err != nil { // resourceVersion prevents overwriting another replica's CA
		return succession{}, fmt.Errorf("writing the CA into Secret %s: %w", k.Secret, err)
	}
	return parseSuccession(data, k.Clock())
}

// Rotate creates the next CA now, cross-signed by the current one, so that existing pods trust it.
func (k *Keeper) Rotate(ctx context.Context) error {
	secret, ca, err := k.read(ctx)
	if err != nil {
		return err
	}
	if ca.cert == nil {
		return errors.New("there is no CA yet; the env-injector creates it when it starts")
	}
	data, err := ca.next(k.Secret.Name, k.Clock(), k.Random)
	if err != nil {
		return err
	}
	_, err = k.write(ctx, secret, data)
	return err
}

// Replace creates a CA that is not cross-signed, for use after a compromise. It withdraws all previous CAs. Existing
// pods do not trust the new CA and must be recreated.
func (k *Keeper) Replace(ctx context.Context) error {
	secret, _, err := k.read(ctx)
	if err != nil {
		return err
	}
	data, err := k.fresh()
	if err != nil {
		return err
	}
	// The CA of 1.8 is deleted first: if deletion failed after the new CA was written, nothing would retry it.
	if err := k.forget(ctx); err != nil {
		return err
	}
	_, err = k.write(ctx, secret, data)
	return err
}

// current returns the leaf. It creates a new one if the CA has changed or renewal is due.
func (k *Keeper) current(ca succession) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ca.signed(k.leaf, k.Clock()) {
		return k.leaf, nil
	}
	leaf, err := ca.leaf(k.DNSNames, k.Clock(), k.Random)
	if err != nil {
		return nil, err
	}
	k.leaf = leaf
	return leaf, nil
}

// publish writes the CA into caBundle of the webhook configuration if it differs. An annotation of the configuration
// says whether we write the CA, so that replicas with different settings or versions do not overwrite each other.
func (k *Keeper) publish(ctx context.Context, ca succession) error {
	var live admissionv1.MutatingWebhookConfiguration
	if err := k.Live.Get(ctx, types.NamespacedName{Name: k.Webhook}, &live); err != nil {
		return fmt.Errorf("reading MutatingWebhookConfiguration %s: %w; if it was deleted, run helm upgrade", k.Webhook,
			err)
	}
	if live.Annotations[wire.AnnotationCA] != wire.CAOwn {
		return nil
	}
	stale := false
	wanted := admissionac.MutatingWebhookConfiguration(k.Webhook).
		WithUID(live.UID).
		WithResourceVersion(live.ResourceVersion)
	for _, webhook := range live.Webhooks {
		stale = stale || !bytes.Equal(webhook.ClientConfig.CABundle, ca.bundle())
		wanted.WithWebhooks(admissionac.MutatingWebhook().WithName(webhook.Name).
			WithClientConfig(admissionac.WebhookClientConfig().WithCABundle(ca.bundle()...)))
	}
	if !stale {
		return nil
	}
	if err := k.Writer.Apply(ctx, wanted, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("writing the CA into MutatingWebhookConfiguration %s: %w", k.Webhook, err)
	}
	return nil
}
