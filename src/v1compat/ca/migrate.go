package ca

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/certificate"
)

// pemTypeCertificate is the PEM block type of certificates.
const pemTypeCertificate = "CERTIFICATE"

// fieldManager is the field manager of what the migration writes.
const fieldManager = "akv2k8s-upgrade"

// Migrate prepares an upgrade from 1.8. It runs before Helm changes the release. Replicas of 1.8 serve until they are
// replaced, so it copies the CA certificate of 1.8 into a Secret that the new replicas read. It also annotates the
// Secrets of 1.8 so that Helm keeps them. from names these Secrets: that of the CA and that of the serving certificate.
// It copies nothing if there are no such Secrets or if Secret ours exists already. It returns a sentence that says what
// it did.
func Migrate(ctx context.Context, c client.Client, ours types.NamespacedName, from []string) (string, error) {
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
	into, copied := SecretName(ours), certificate.EncodeCertificates(roots[:min(len(roots), maxCertificates)]...)
	secret := corev1ac.Secret(into.Name, into.Namespace).WithType(corev1.SecretTypeOpaque).
		WithData(map[string][]byte{certDataKey: copied})
	if err := c.Apply(ctx, secret, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return "", fmt.Errorf("writing the CA of akv2k8s 1.8 into Secret %s: %w", into.Name, err)
	}
	return fmt.Sprintf("the CA of akv2k8s 1.8 is in Secret %s", into.Name), nil
}

// annotateHelmKeep annotates a Secret so that Helm does not delete it when the chart no longer has it.
func annotateHelmKeep(ctx context.Context, c client.Client, secret *corev1.Secret) error {
	patch := client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"helm.sh/resource-policy":"keep"}}}`))
	if err := c.Patch(ctx, secret, patch, client.FieldOwner(fieldManager)); err != nil {
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
	return all[:min(len(all), maxCertificates)], nil
}
