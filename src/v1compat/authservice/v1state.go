package authservice

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// v1State is the state that 1.8 left in the release's namespace.
type v1State struct {
	// createdBefore is the time before which a pod must have been created.
	createdBefore time.Time
	// ca and key are the CA of 1.8. They are nil if its Secret does not exist.
	ca  *x509.Certificate
	key crypto.Signer
}

// stateRefreshInterval is the interval at which the state of 1.8 is read.
const stateRefreshInterval = 30 * time.Second

// NeedLeaderElection implements manager.LeaderElectionRunnable. Every replica serves.
func (*Handler) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable. It refreshes the state of 1.8 until the context ends. If the protocol is disabled,
// it returns at once.
func (h *Handler) Start(ctx context.Context) error {
	if h.protocol == nil {
		return nil
	}
	for {
		h.protocol.refreshState(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(stateRefreshInterval):
		}
	}
}

// refreshState refreshes the state of 1.8. If reading fails, the last state stays. No pod is served before the first
// success.
func (t *protocolServer) refreshState(ctx context.Context) {
	found, err := t.readState(ctx)
	if err != nil {
		t.Log.Error(err,
			"reading the CA of akv2k8s 1.8; its pods cannot be served until this succeeds once")
		return
	}
	if last := t.state.Swap(&found); last == nil || (last.ca == nil) != (found.ca == nil) {
		t.Log.Info("serving pods of akv2k8s 1.8", logkey.CreatedBefore, found.createdBefore.Format(time.RFC3339),
			logkey.CAFound, found.ca != nil)
	}
}

func (t *protocolServer) readState(ctx context.Context) (v1State, error) {
	var secret corev1.Secret
	if err := t.Live.Get(ctx, t.ServingSecret, &secret); err != nil {
		return v1State{}, fmt.Errorf("reading Secret %s for the time of the upgrade: %w", t.ServingSecret, err)
	}
	found := v1State{createdBefore: secret.CreationTimestamp.Add(t.UpgradeAllowance)}
	err := t.Live.Get(ctx, t.CASecret, &secret)
	if apierrors.IsNotFound(err) {
		return found, nil
	}
	if err != nil {
		return v1State{}, fmt.Errorf("reading Secret %s, the CA of akv2k8s 1.8: %w", t.CASecret, err)
	}
	if found.ca, found.key, err = parseSigningCA(secret.Data, t.Clock()); err != nil {
		return v1State{},
			fmt.Errorf("reading Secret %s, the CA of akv2k8s 1.8: %w; delete the Secret if it is no longer needed",
				t.CASecret, err)
	}
	return found, nil
}

// parseSigningCA decodes a CA with its private key. Errors do not quote the data.
func parseSigningCA(data map[string][]byte, now time.Time) (*x509.Certificate, crypto.Signer, error) {
	bundle, err := certificate.Parse(bytes.Join([][]byte{data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey]},
		[]byte("\n")), "")
	if err != nil {
		return nil, nil, err
	}
	ca := bundle.Leaf()
	switch {
	case bundle.Key == nil || ca == nil:
		return nil, nil, errors.New("it has no private key for its certificate")
	case !ca.IsCA:
		return nil, nil, errors.New("its certificate is not a CA certificate")
	case now.After(ca.NotAfter):
		return nil, nil, errors.New("its certificate has expired")
	}
	return ca, bundle.Key, nil
}

// crossCertificate is a cross-certificate: our root, signed by the CA of 1.8.
type crossCertificate struct {
	issuer, root *x509.Certificate
	der          []byte // DER
}

// GetCertificate implements tls.Config.GetCertificate. It returns the leaf of our own CA together with a
// cross-certificate of that CA signed by the CA of 1.8, so that pods of 1.8 and our own pods verify the same leaf.
func (h *Handler) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	leaf, err := h.protocol.ServingCertificate(hello)
	left := h.protocol.state.Load()
	if err != nil || left == nil || left.ca == nil {
		return leaf, err
	}
	cross, err := h.protocol.crossSign(leaf.Leaf, left)
	if err != nil {
		h.Log.Error(err, "cross-signing the CA for pods of akv2k8s 1.8; they cannot verify the auth service")
		return leaf, nil // our own pods can still verify it
	}
	with := *leaf
	with.Certificate = append(append([][]byte{}, leaf.Certificate...), cross)
	return &with, nil
}

// crossSign signs our CA with the CA of 1.8. It keeps the certificate until one of the two changes.
func (t *protocolServer) crossSign(leaf *x509.Certificate, left *v1State) ([]byte, error) {
	root := t.issuingRootOf(leaf)
	if root == nil {
		return nil, errors.New("the CA of the serving certificate is unknown")
	}
	if known := t.crossSigned.Load(); known != nil && known.issuer.Equal(left.ca) && known.root.Equal(root) {
		return known.der, nil
	}
	serial, err := rand.Int(t.Random, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("creating a serial number: %w", err)
	}
	template := *root
	// The algorithm is chosen by the key that signs.
	template.SerialNumber, template.SignatureAlgorithm = serial, x509.UnknownSignatureAlgorithm
	if left.ca.NotAfter.Before(template.NotAfter) {
		template.NotAfter = left.ca.NotAfter
	}
	cross, err := x509.CreateCertificate(t.Random, &template, left.ca, root.PublicKey, left.key)
	if err != nil {
		return nil, fmt.Errorf("cross-signing the CA: %w", err)
	}
	t.crossSigned.Store(&crossCertificate{issuer: left.ca, root: root, der: cross})
	return cross, nil
}

// issuingRootOf returns that of our CAs that signed the leaf, or nil.
func (t *protocolServer) issuingRootOf(leaf *x509.Certificate) *x509.Certificate {
	for _, root := range parseCertificates([]byte(t.RootCAs())) {
		if leaf.CheckSignatureFrom(root) == nil {
			return root
		}
	}
	return nil
}

// parseCertificates decodes PEM and skips blocks that it cannot parse. The input is our own CA, or the ca.crt of a 1.8
// pod. The wrapper in that pod skips damaged blocks too, so both see the same certificates.
func parseCertificates(content []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, cert)
		}
	}
	return all
}

// trustedCAs returns the CA that a 1.8 pod needs to verify our serving certificate, in PEM.
func (t *protocolServer) trustedCAs(left *v1State) []byte {
	if left.ca != nil {
		return certificate.EncodeCertificates(left.ca)
	}
	return []byte(t.RootCAs())
}

// trustsServingCA reports whether the ca.crt of a pod, in PEM, verifies our serving certificate.
func (t *protocolServer) trustsServingCA(content []byte, left *v1State) bool {
	ours := parseCertificates([]byte(t.RootCAs()))
	if left.ca != nil {
		ours = append(ours, left.ca)
	}
	for _, cert := range parseCertificates(content) {
		for _, our := range ours {
			if cert.Equal(our) {
				return true
			}
		}
	}
	return false
}
