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

// pemTypeCertificate is the PEM block type of certificates.
const pemTypeCertificate = "CERTIFICATE"

// upgradeFieldManager is the field manager of what the upgrade from 1.8 writes.
const upgradeFieldManager = "akv2k8s-upgrade"

const (
	// v1ReplicaCheckInterval is the interval at which replicas of 1.8 are counted.
	v1ReplicaCheckInterval = 10 * time.Second
	// v1CAGracePeriod is how long the CA of 1.8 stays after its last replica, because requests can still be in flight.
	v1CAGracePeriod = time.Minute
)

// V1CASecret returns the name of the Secret with the CA certificate of akv2k8s 1.8. It exists while replicas of
// 1.8 can still serve. The API server trusts that CA, pods do not. It is separate from the Secret of our own CA,
// because Helm renders that one and clears data that a hook wrote into it. Older versions of Helm fail instead.
func V1CASecret(ours types.NamespacedName) types.NamespacedName {
	return types.NamespacedName{Namespace: ours.Namespace, Name: ours.Name + "-predecessor"}
}

// MigrateV1CA prepares an upgrade from 1.8. It runs before Helm changes the release. Replicas of 1.8 serve until they
// are replaced, so it copies the CA certificate of 1.8 into a Secret that the new replicas read. It also annotates the
// Secrets of 1.8 so that Helm keeps them. from names these Secrets: that of the CA and that of the serving certificate.
// It copies nothing if there are no such Secrets or if Secret ours exists already. It returns a sentence that says what
// it did.
func MigrateV1CA(ctx context.Context, c client.Client, ours types.NamespacedName, from []string) (string, error) {
	var roots []*x509.Certificate
	var damaged error
	for _, name := range from {
		var secret corev1.Secret
		err := c.Get(ctx, types.NamespacedName{Namespace: ours.Namespace, Name: name}, &secret)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("reading Secret %s of akv2k8s 1.8: %w", name, err)
		}
		if err := annotateHelmKeep(ctx, c, &secret); err != nil {
			return "", err
		}
		found, err := caCertificatesOf(secret.Data)
		if err != nil {
			damaged = errors.Join(damaged,
				fmt.Errorf("reading Secret %s of akv2k8s 1.8: %w; correct it, or delete it if no pod of 1.8 is left",
					name, err))
		}
		roots = append(roots, found...)
	}
	if len(roots) == 0 && damaged == nil {
		return "there is no CA of akv2k8s 1.8", nil
	}
	err := c.Get(ctx, ours, &corev1.Secret{})
	if err == nil {
		return fmt.Sprintf("Secret %s exists already; only its CA is trusted", ours.Name), nil
	}
	if !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("reading Secret %s: %w", ours.Name, err)
	}
	if damaged != nil {
		return "", damaged
	}
	into := V1CASecret(ours)
	secret := corev1ac.Secret(into.Name, into.Namespace).WithType(corev1.SecretTypeOpaque).
		WithData(map[string][]byte{caCertDataKey: encodeCertificates(roots)})
	if err := c.Apply(ctx, secret, client.FieldOwner(upgradeFieldManager), client.ForceOwnership); err != nil {
		return "", fmt.Errorf("writing the CA of akv2k8s 1.8 into Secret %s: %w", into.Name, err)
	}
	return fmt.Sprintf("the CA of akv2k8s 1.8 is in Secret %s", into.Name), nil
}

// annotateHelmKeep annotates a Secret so that Helm does not delete it when the chart no longer has it.
func annotateHelmKeep(ctx context.Context, c client.Client, secret *corev1.Secret) error {
	patch := client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"helm.sh/resource-policy":"keep"}}}`))
	if err := c.Patch(ctx, secret, patch, client.FieldOwner(upgradeFieldManager)); err != nil {
		return fmt.Errorf("annotating Secret %s so that Helm keeps it: %w", secret.Name, err)
	}
	return nil
}

// caCertificatesOf returns the CA certificates in the data of a Secret. The Secret can hold a user's own certificate,
// so an unreadable block is an error: it can be the CA, and without the CA the API server does not trust replicas of
// 1.8.
func caCertificatesOf(data map[string][]byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, key := range []string{"ca.crt", "tls.crt"} {
		blocks, err := certificate.DecodePEMBlocks(data[key])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		for i, block := range blocks {
			if block.Type != pemTypeCertificate {
				continue // a private key can be next to the certificate
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: the certificate in block %d cannot be parsed", key, i+1)
			}
			if cert.IsCA || bytes.Equal(cert.RawSubject, cert.RawIssuer) {
				all = append(all, cert)
			}
		}
	}
	return all[:min(len(all), maxPreviousCAs)], nil
}

// readV1CAs reads the CA of akv2k8s 1.8. It returns nil if no replica of 1.8 is left.
func (k *Rotator) readV1CAs(ctx context.Context) ([]*x509.Certificate, error) {
	name := V1CASecret(k.Secret)
	var secret corev1.Secret
	if err := k.Live.Get(ctx, name, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	return parseUnexpired(secret.Data[caCertDataKey], k.Clock()), nil
}

// removeUnusedV1CA deletes the CA of 1.8 one minute after the last replica of 1.8 has ended.
func (k *Rotator) removeUnusedV1CA(ctx context.Context) (ctrl.Result, error) {
	alone := true
	if k.AllReplicasUpdated != nil {
		var err error
		if alone, err = k.AllReplicasUpdated(ctx); err != nil {
			return ctrl.Result{}, err
		}
	}
	now := k.Clock()
	switch {
	case !alone:
		k.allUpdatedSince = time.Time{}
		return ctrl.Result{RequeueAfter: v1ReplicaCheckInterval}, nil
	case k.allUpdatedSince.IsZero():
		k.allUpdatedSince = now
	}
	if left := k.allUpdatedSince.Add(v1CAGracePeriod).Sub(now); left > 0 {
		return ctrl.Result{RequeueAfter: min(left, v1ReplicaCheckInterval)}, nil
	}
	return ctrl.Result{RequeueAfter: time.Second}, k.deleteV1CASecret(ctx)
}

// deleteV1CASecret deletes the Secret with the CA of 1.8, so that the CA is no longer published.
func (k *Rotator) deleteV1CASecret(ctx context.Context) error {
	name := V1CASecret(k.Secret)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	if err := k.Writer.Delete(ctx, secret); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Secret %s, the CA of akv2k8s 1.8: %w", name, err)
	}
	return nil
}
