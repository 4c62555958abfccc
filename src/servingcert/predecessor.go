package servingcert

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// upgradeManager owns what the upgrade from the predecessor writes.
const upgradeManager = "akv2k8s-upgrade"

// How often it is looked whether replicas of the predecessor are left, and how long after the last one its CA stays: requests are on their way.
const (
	lookAround = 10 * time.Second
	farewell   = time.Minute
)

// Inheritance is what a release of akv2k8s 1.8 leaves to the one that upgrades it.
type Inheritance struct {
	// Release is the name of the Helm release.
	Release string
	// From are the predecessor's Secrets, which Helm is told to keep: of its CA, and of the certificate that it serves with.
	From []string
}

// Inherit runs before Helm changes the release. Replicas of the predecessor serve until they are replaced, so its CA is put where the Keeper finds it; and
// Helm is told to keep its Secrets. Without such Secrets, or when ours is there already, nothing is done. It says what it did.
func Inherit(ctx context.Context, c client.Client, ours types.NamespacedName, i Inheritance) (string, error) {
	var roots []*x509.Certificate
	for _, name := range i.From {
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
		roots = append(roots, authorities(secret.Data)...)
	}
	if len(roots) == 0 {
		return "there is no CA of an older version", nil
	}
	err := c.Get(ctx, ours, &corev1.Secret{})
	if err == nil {
		return fmt.Sprintf("Secret %s is there already; its CA is believed alone", ours.Name), nil
	}
	if !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("reading Secret %s: %w", ours.Name, err)
	}
	// As Helm marks it, so that the upgrade takes it for its own.
	secret := corev1ac.Secret(ours.Name, ours.Namespace).WithType(corev1.SecretTypeOpaque).
		WithLabels(map[string]string{"app.kubernetes.io/managed-by": "Helm"}).
		WithAnnotations(map[string]string{"meta.helm.sh/release-name": i.Release, "meta.helm.sh/release-namespace": ours.Namespace}).
		WithData(map[string][]byte{dataPredecessor: encode(roots)})
	if err := c.Apply(ctx, secret, client.FieldOwner(upgradeManager), client.ForceOwnership); err != nil {
		return "", fmt.Errorf("writing the CA of the older version into Secret %s: %w", ours.Name, err)
	}
	return fmt.Sprintf("the CA of the older version is in Secret %s", ours.Name), nil
}

// keep tells Helm to leave a Secret when its chart no longer has it.
func keep(ctx context.Context, c client.Client, secret *corev1.Secret) error {
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"helm.sh/resource-policy":"keep"}}}`))
	if err := c.Patch(ctx, secret, patch, client.FieldOwner(upgradeManager)); err != nil {
		return fmt.Errorf("telling Helm to keep Secret %s: %w", secret.Name, err)
	}
	return nil
}

// authorities are the CAs among the certificates of a Secret.
func authorities(data map[string][]byte) []*x509.Certificate {
	var all []*x509.Certificate
	for _, key := range []string{"ca.crt", "tls.crt"} {
		for block, rest := pem.Decode(data[key]); block != nil && len(all) < maxPredecessors; block, rest = pem.Decode(rest) {
			if cert, err := x509.ParseCertificate(block.Bytes); err == nil && (cert.IsCA || bytes.Equal(cert.RawSubject, cert.RawIssuer)) {
				all = append(all, cert)
			}
		}
	}
	return all
}

// inherited keeps the predecessor's CA beside data that is to be written.
func inherited(secret *corev1.Secret, data map[string][]byte) map[string][]byte {
	if root := secret.Data[dataPredecessor]; len(root) > 0 && data != nil {
		data[dataPredecessor] = root
	}
	return data
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
	var secret corev1.Secret
	if err := k.Live.Get(ctx, k.Secret, &secret); err != nil {
		return ctrl.Result{}, fmt.Errorf("reading Secret %s: %w", k.Secret, err)
	}
	delete(secret.Data, dataPredecessor)
	if err := k.Writer.Update(ctx, &secret); err != nil && !apierrors.IsConflict(err) {
		return ctrl.Result{}, fmt.Errorf("removing the CA of the older version from Secret %s: %w", k.Secret, err)
	}
	return ctrl.Result{RequeueAfter: time.Second}, nil
}
