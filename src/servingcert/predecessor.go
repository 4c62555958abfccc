package servingcert

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/certificate"
)

// blockCertificate is the type of a PEM block that is a certificate.
const blockCertificate = "CERTIFICATE"

// upgradeManager owns what the upgrade from the predecessor writes.
const upgradeManager = "akv2k8s-upgrade"

// How often it is looked whether replicas of the predecessor are left, and how long after the last one its CA stays:
// requests are on their way.
const (
	lookAround = 10 * time.Second
	farewell   = time.Minute
)

// PredecessorSecret holds the CA of akv2k8s 1.8 while its replicas may serve yet: the API server is to believe it, pods
// are not. It is not the Secret of our own CA, because Helm renders that one, and clears what a hook wrote into it (or
// stops, in its older versions).
func PredecessorSecret(ours types.NamespacedName) types.NamespacedName {
	return types.NamespacedName{Namespace: ours.Namespace, Name: ours.Name + "-predecessor"}
}

// Inherit runs before Helm changes the release. Replicas of the predecessor serve until they are replaced, so its CA is
// put where the Keeper finds it; and Helm is told to keep its Secrets, which are named by from: of its CA, and of the
// certificate that it serves with. Without such Secrets, or when ours is there already, nothing is done. It says what
// it did.
func Inherit(ctx context.Context, c client.Client, ours types.NamespacedName, from []string) (string, error) {
	var roots []*x509.Certificate
	var damaged error
	for _, name := range from {
		var secret corev1.Secret
		err := c.Get(ctx, types.NamespacedName{Namespace: ours.Namespace, Name: name}, &secret)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("reading Secret %s of the older version: %w", name, err)
		}
		if err := keep(ctx, c, &secret); err != nil {
			return "", err
		}
		found, err := authorities(secret.Data)
		if err != nil {
			damaged = errors.Join(damaged,
				fmt.Errorf("reading Secret %s of the older version: %w; correct it, or delete it if no pod of that "+
					"version runs", name, err))
		}
		roots = append(roots, found...)
	}
	if len(roots) == 0 && damaged == nil {
		return "there is no CA of an older version", nil
	}
	err := c.Get(ctx, ours, &corev1.Secret{})
	if err == nil {
		return fmt.Sprintf("Secret %s is there already; its CA is believed alone", ours.Name), nil
	}
	if !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("reading Secret %s: %w", ours.Name, err)
	}
	if damaged != nil {
		return "", damaged
	}
	into := PredecessorSecret(ours)
	secret := corev1ac.Secret(into.Name,
		into.Namespace).WithType(corev1.SecretTypeOpaque).WithData(map[string][]byte{dataCert: encode(roots)})
	if err := c.Apply(ctx, secret, client.FieldOwner(upgradeManager), client.ForceOwnership); err != nil {
		return "", fmt.Errorf("writing the CA of the older version into Secret %s: %w", into.Name, err)
	}
	return fmt.Sprintf("the CA of the older version is in Secret %s", into.Name), nil
}

// keep tells Helm to leave a Secret when its chart no longer has it.
func keep(ctx context.Context, c client.Client, secret *corev1.Secret) error {
	patch := client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"helm.sh/resource-policy":"keep"}}}`))
	if err := c.Patch(ctx, secret, patch, client.FieldOwner(upgradeManager)); err != nil {
		return fmt.Errorf("telling Helm to keep Secret %s: %w", secret.Name, err)
	}
	return nil
}

// authorities are the CAs among the certificates of a Secret. The Secret may be of the user's own certificate, so a
// block that can't be read is an error: it may be the CA, without which the API server does not believe the replicas of
// the older version.
func authorities(data map[string][]byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, key := range []string{"ca.crt", "tls.crt"} {
		blocks, err := certificate.Blocks(data[key])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		for i, block := range blocks {
			if block.Type != blockCertificate {
				continue // a certificate may stand beside its key
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: block %d is a certificate that can't be read", key, i+1)
			}
			if cert.IsCA || bytes.Equal(cert.RawSubject, cert.RawIssuer) {
				all = append(all, cert)
			}
		}
	}
	return all[:min(len(all), maxPredecessors)], nil
}

// predecessor is the CA of akv2k8s 1.8, if its replicas may serve yet.
func (k *Keeper) predecessor(ctx context.Context) ([]*x509.Certificate, error) {
	name := PredecessorSecret(k.Secret)
	var secret corev1.Secret
	if err := k.Live.Get(ctx, name, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	return unexpired(secret.Data[dataCert], k.Clock()), nil
}

// retire takes the predecessor's CA away when no replica of it is left.
func (k *Keeper) retire(ctx context.Context) (ctrl.Result, error) {
	alone := true
	if k.Alone != nil {
		var err error
		if alone, err = k.Alone(ctx); err != nil {
			return ctrl.Result{}, err
		}
	}
	now := k.Clock()
	switch {
	case !alone:
		k.alone = time.Time{}
		return ctrl.Result{RequeueAfter: lookAround}, nil
	case k.alone.IsZero():
		k.alone = now
	}
	if left := k.alone.Add(farewell).Sub(now); left > 0 {
		return ctrl.Result{RequeueAfter: min(left, lookAround)}, nil
	}
	return ctrl.Result{RequeueAfter: time.Second}, k.forget(ctx)
}

// forget ends that the predecessor's CA is believed.
func (k *Keeper) forget(ctx context.Context) error {
	name := PredecessorSecret(k.Secret)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	if err := k.Writer.Delete(ctx, secret); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Secret %s, the CA of the older version: %w", name, err)
	}
	return nil
}
