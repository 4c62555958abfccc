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

// The data keys of the Secret.
const (
	dataCert = "ca.crt"
	dataKey  = "ca.key"
)

// fieldManager owns caBundle in the webhook configuration, and nothing else.
const fieldManager = "akv2k8s-serving-certificate"

// Config is what a Keeper works with; every field is required but Alone.
type Config struct {
	// Live reads from the API server, Writer writes.
	Live   client.Reader
	Writer client.Writer
	// Secret holds the CA. The chart renders it empty, and the first replica fills it.
	Secret types.NamespacedName
	// Webhook is the name of the MutatingWebhookConfiguration.
	Webhook string
	// DNSNames are what the leaf is for.
	DNSNames []string
	Clock    func() time.Time
	Random   io.Reader
	// Alone says whether no replica of an older version is left; nil means that there never was one.
	Alone func(context.Context) (bool, error)
}

// Keeper keeps the certificates. It is safe for concurrent use.
type Keeper struct {
	Config
	mu   sync.RWMutex
	root []byte
	leaf *tls.Certificate
	// alone is since when no replica of the predecessor was seen.
	alone time.Time
}

// New checks the configuration.
func New(c Config) (*Keeper, error) {
	if c.Live == nil || c.Writer == nil || c.Secret.Name == "" || c.Webhook == "" || len(c.DNSNames) == 0 ||
		c.Clock == nil || c.Random == nil {
		return nil, errors.New("creating the keeper of certificates: a part of its configuration is missing")
	}
	return &Keeper{Config: c}, nil
}

// GetCertificate gives the leaf to a TLS server.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.leaf == nil {
		return nil, errors.New("there is no certificate yet")
	}
	return k.leaf, nil
}

// Root is what to believe, PEM: the CA and those before it that replicas may serve with; empty until there is one.
func (k *Keeper) Root() string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return string(k.root)
}

// Ready says why nothing can be served yet, or nil. It is nil only after the webhook configuration was seen to hold the
// CA.
func (k *Keeper) Ready() error {
	if k.Root() == "" {
		return errors.New("the certificates are not made yet")
	}
	return nil
}

// Register watches the Secret and the webhook configuration, so that both are repaired within moments. Every replica
// does.
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

// Reconcile brings the CA, the leaf and the webhook configuration in order.
func (k *Keeper) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	ca, err := k.authority(ctx)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil // another replica was faster; its CA is ours
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
		return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil // it was just changed
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
	// if its time came meanwhile: zero and less would be never
	return ctrl.Result{RequeueAfter: max(next.Sub(k.Clock()), time.Second)}, nil
}

// authority reads the CA, or makes it, or the next one when it is time. Of several replicas that make one, the API
// server lets one win.
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

// read gives the Secret and the CA in it, which is empty if there is none yet.
func (k *Keeper) read(ctx context.Context) (*corev1.Secret, succession, error) {
	var secret corev1.Secret
	if err := k.Live.Get(ctx, k.Secret, &secret); err != nil {
		return nil, succession{},
			fmt.Errorf("reading Secret %s, which the chart renders for the CA: %w; run helm upgrade if it was deleted",
				k.Secret, err)
	}
	if len(secret.Data[dataCert]) == 0 && len(secret.Data[dataKey]) == 0 {
		return &secret, succession{}, nil
	}
	ca, err := parseSuccession(secret.Data, k.Clock())
	if err != nil {
		return nil, ca,
			fmt.Errorf("reading the CA in Secret %s: %w; restore it, or remove its data to get a new CA and recreate "+
				"injected pods",
				k.Secret, err)
	}
	return &secret, ca, nil
}

// fresh is a CA that nobody vouches for.
func (k *Keeper) fresh() (map[string][]byte, error) {
	ca, key, err := newAuthority(k.Secret.Name, k.Clock(), k.Random)
	return map[string][]byte{dataCert: ca.pem, dataKey: key}, err
}

func (k *Keeper) write(ctx context.Context, secret *corev1.Secret, data map[string][]byte) (succession, error) {
	secret.Data = data
	if err := k.Writer.Update(ctx, secret); err != nil { // with resourceVersion, so nobody's CA is overwritten
		return succession{}, fmt.Errorf("writing the CA into Secret %s: %w", k.Secret, err)
	}
	return parseSuccession(data, k.Clock())
}

// Rotate makes the next CA now. Pods go on to work: the CA that they believe vouches for it.
func (k *Keeper) Rotate(ctx context.Context) error {
	secret, ca, err := k.read(ctx)
	if err != nil {
		return err
	}
	if ca.cert == nil {
		return errors.New("there is no CA yet; it is made when the env-injector starts")
	}
	data, err := ca.next(k.Secret.Name, k.Clock(), k.Random)
	if err != nil {
		return err
	}
	_, err = k.write(ctx, secret, data)
	return err
}

// Replace makes a CA that has nothing to do with those before, which nobody is to believe any more. Pods that exist
// can't ask any more.
func (k *Keeper) Replace(ctx context.Context) error {
	secret, _, err := k.read(ctx)
	if err != nil {
		return err
	}
	data, err := k.fresh()
	if err != nil {
		return err
	}
	// First, since nothing would do it later if it failed after the CA is new: the command says that all is done only
	// when the older CA is gone.
	if err := k.forget(ctx); err != nil {
		return err
	}
	_, err = k.write(ctx, secret, data)
	return err
}

// current gives the leaf, a new one if need be.
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

// publish writes the CA into the webhook configuration, that field alone, if it is not there. The configuration itself
// says whether the CA in it is ours to write, so that replicas of two settings, or two versions, never write against
// each other.
func (k *Keeper) publish(ctx context.Context, ca succession) error {
	var live admissionv1.MutatingWebhookConfiguration
	if err := k.Live.Get(ctx, types.NamespacedName{Name: k.Webhook}, &live); err != nil {
		return fmt.Errorf("reading MutatingWebhookConfiguration %s: %w; run helm upgrade if it was deleted", k.Webhook,
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
