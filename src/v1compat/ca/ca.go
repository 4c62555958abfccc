package ca

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

const (
	// replicaCheckInterval is the interval at which replicas of 1.8 are counted.
	replicaCheckInterval = 10 * time.Second
	// gracePeriod is how long the CA stays after the last replica of 1.8, because requests can still be in flight.
	gracePeriod = time.Minute
	// maxCertificates is the maximum number of certificates that are copied and trusted.
	maxCertificates = 5
)

// certDataKey is the data key of the certificates in the Secret.
const certDataKey = "ca.crt"

// SecretName returns the name of the Secret with the CA certificate of akv2k8s 1.8. It exists while replicas of 1.8 can
// still serve. The API server trusts that CA, pods do not. It is separate from the Secret of our own CA, because Helm
// renders that one and clears data that a hook wrote into it. Older versions of Helm fail instead.
func SecretName(ours types.NamespacedName) types.NamespacedName {
	return types.NamespacedName{Namespace: ours.Namespace, Name: ours.Name + "-v1-ca"}
}

// Config configures the CA of akv2k8s 1.8. Fields are required unless their comment says that they are optional.
type Config struct {
	// Live reads directly from the API server. Writer deletes the Secret.
	Live   client.Reader
	Writer client.Writer
	// ServingSecret is the Secret of our own CA.
	ServingSecret types.NamespacedName
	Clock         func() time.Time
	// AllReplicasUpdated reports whether all replicas run this version, so that none of akv2k8s 1.8 is left. Optional.
	AllReplicasUpdated func(context.Context) (bool, error)
}

// CA is the CA of akv2k8s 1.8. It implements servingcert.ExtraCAs. Its methods must not be called concurrently.
type CA struct {
	Config
	secret types.NamespacedName
	// allUpdatedSince is the time since which all replicas run this version. It is zero while replicas of 1.8 are left.
	allUpdatedSince time.Time
}

// New checks the configuration. It reads nothing.
func New(c Config) (*CA, error) {
	if err := fault.RequireFields("ca.New", map[string]bool{
		"Live": c.Live != nil, "Writer": c.Writer != nil, "ServingSecret": c.ServingSecret.Name != "",
		"Clock": c.Clock != nil,
	}); err != nil {
		return nil, err
	}
	return &CA{Config: c, secret: SecretName(c.ServingSecret)}, nil
}

// ReadCAs reads the CA. It returns nil if no replica of 1.8 is left. It skips expired certificates and damaged blocks:
// they must not prevent the API server from trusting our own CA.
func (a *CA) ReadCAs(ctx context.Context) ([]*x509.Certificate, error) {
	var secret corev1.Secret
	if err := a.Live.Get(ctx, a.secret, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading Secret %s: %w", a.secret, err)
	}
	var all []*x509.Certificate
	for block, rest := pem.Decode(secret.Data[certDataKey]); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err == nil && a.Clock().Before(cert.NotAfter) && len(all) < maxCertificates {
			all = append(all, cert)
		}
	}
	return all, nil
}

// RemoveUnusedCAs deletes the CA one minute after the last replica of 1.8 has ended. It returns the time until it must
// be called again.
func (a *CA) RemoveUnusedCAs(ctx context.Context) (time.Duration, error) {
	alone := true
	if a.AllReplicasUpdated != nil {
		var err error
		if alone, err = a.AllReplicasUpdated(ctx); err != nil {
			return 0, err
		}
	}
	now := a.Clock()
	switch {
	case !alone:
		a.allUpdatedSince = time.Time{}
		return replicaCheckInterval, nil
	case a.allUpdatedSince.IsZero():
		a.allUpdatedSince = now
	}
	if left := a.allUpdatedSince.Add(gracePeriod).Sub(now); left > 0 {
		return min(left, replicaCheckInterval), nil
	}
	return time.Second, a.DeleteCAs(ctx)
}

// DeleteCAs deletes the Secret with the CA, so that the CA is no longer published.
func (a *CA) DeleteCAs(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: a.secret.Namespace, Name: a.secret.Name}}
	if err := a.Writer.Delete(ctx, secret); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Secret %s, the CA of akv2k8s 1.8: %w", a.secret, err)
	}
	return nil
}
