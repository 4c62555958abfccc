package legacy

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
)

// heritage is what the predecessor left.
type heritage struct {
	// before is when the pods that are served were created.
	before time.Time
	// ca is the predecessor's CA, with its key; nil if it is gone.
	ca  *x509.Certificate
	key crypto.Signer
}

// lookEvery is how often the heritage is looked at.
const lookEvery = 30 * time.Second

// NeedLeaderElection implements controller-runtime's interface: every replica serves.
func (*Handler) NeedLeaderElection() bool { return false }

// Start looks at what the predecessor left until the context ends. Without a transition there is nothing to do.
func (h *Handler) Start(ctx context.Context) error {
	if h.transition == nil {
		return nil
	}
	for {
		h.transition.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
	}
}

// look takes in the heritage. What can't be read stays as it was seen last, and before that nobody is served.
func (t *transition) look(ctx context.Context) {
	found, err := t.read(ctx)
	if err != nil {
		t.Log.Error(err,
			"looking at what the older version left; pods of that version can't be served as long as this was never "+
				"possible")
		return
	}
	if last := t.heritage.Swap(&found); last == nil || (last.ca == nil) != (found.ca == nil) {
		t.Log.Info("serving pods of an older version", "createdBefore", found.before.Format(time.RFC3339),
			"theirCAIsThere", found.ca != nil)
	}
}

func (t *transition) read(ctx context.Context) (heritage, error) {
	var secret corev1.Secret
	if err := t.Live.Get(ctx, t.Serving, &secret); err != nil {
		return heritage{}, fmt.Errorf("reading Secret %s, whose age is the upgrade's: %w", t.Serving, err)
	}
	found := heritage{before: secret.CreationTimestamp.Add(t.Allowance)}
	err := t.Live.Get(ctx, t.CA, &secret)
	if apierrors.IsNotFound(err) {
		return found, nil
	}
	if err != nil {
		return heritage{}, fmt.Errorf("reading Secret %s, the CA of the older version: %w", t.CA, err)
	}
	if found.ca, found.key, err = parse(secret.Data, t.Clock()); err != nil {
		return heritage{},
			fmt.Errorf("reading Secret %s, the CA of the older version: %w; delete it if it is of no use any more",
				t.CA, err)
	}
	return found, nil
}

// parse reads a CA that can sign. Errors quote nothing of it.
func parse(data map[string][]byte, now time.Time) (*x509.Certificate, crypto.Signer, error) {
	bundle, err := certificate.Parse(bytes.Join([][]byte{data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey]},
		[]byte("\n")), "")
	if err != nil {
		return nil, nil, err
	}
	ca := bundle.Leaf()
	switch {
	case bundle.Key == nil || ca == nil:
		return nil, nil, errors.New("it has no key of its certificate")
	case !ca.IsCA:
		return nil, nil, errors.New("its certificate is none of a CA")
	case now.After(ca.NotAfter):
		return nil, nil, errors.New("its certificate has expired")
	}
	return ca, bundle.Key, nil
}

// vouching is a certificate of our CA that the predecessor's CA signed.
type vouching struct {
	by, root *x509.Certificate
	cross    []byte
}

// Certificate gives what to serve pods with: the leaf of our own CA, as ever, and with it a certificate by which pods
// of the predecessor, who believe its CA, believe ours. So one leaf is good for all of them.
func (h *Handler) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	leaf, err := h.transition.Leaf(hello)
	left := h.transition.heritage.Load()
	if err != nil || left == nil || left.ca == nil {
		return leaf, err
	}
	cross, err := h.transition.vouch(leaf.Leaf, left)
	if err != nil {
		h.Log.Error(err, "signing for pods of an older version; they can't verify the auth service")
		return leaf, nil // pods of our own have to be served
	}
	with := *leaf
	with.Certificate = append(append([][]byte{}, leaf.Certificate...), cross)
	return &with, nil
}

// vouch signs our CA with the predecessor's, once for each pair.
func (t *transition) vouch(leaf *x509.Certificate, left *heritage) ([]byte, error) {
	root := t.rootOf(leaf)
	if root == nil {
		return nil, errors.New("the CA of the certificate that is served is not known")
	}
	if known := t.vouched.Load(); known != nil && known.by.Equal(left.ca) && known.root.Equal(root) {
		return known.cross, nil
	}
	serial, err := rand.Int(t.Random, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	template := *root
	// that of the other CA's key
	template.SerialNumber, template.SignatureAlgorithm = serial, x509.UnknownSignatureAlgorithm
	if left.ca.NotAfter.Before(template.NotAfter) {
		template.NotAfter = left.ca.NotAfter
	}
	cross, err := x509.CreateCertificate(t.Random, &template, left.ca, root.PublicKey, left.key)
	if err != nil {
		return nil, fmt.Errorf("cross-signing the CA: %w", err)
	}
	t.vouched.Store(&vouching{by: left.ca, root: root, cross: cross})
	return cross, nil
}

// rootOf is the one of our CAs that signed the leaf.
func (t *transition) rootOf(leaf *x509.Certificate) *x509.Certificate {
	for _, root := range certificates([]byte(t.Root())) {
		if leaf.CheckSignatureFrom(root) == nil {
			return root
		}
	}
	return nil
}

// certificates are those of a PEM, but for what is none: of our own CA, which was encoded by us, and of what a pod of
// the predecessor believes, which that pod reads in the same way. So a damaged block counts for us exactly as much as
// for the pod.
func certificates(content []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, cert)
		}
	}
	return all
}

// trusted is what a pod of the predecessor has to believe to verify us, as PEM.
func (t *transition) trusted(left *heritage) []byte {
	if left.ca != nil {
		return certificate.EncodeCertificates(left.ca)
	}
	return []byte(t.Root())
}

// believes says whether the PEM, which a pod verifies us by, is enough for that.
func (t *transition) believes(content []byte, left *heritage) bool {
	ours := certificates([]byte(t.Root()))
	if left.ca != nil {
		ours = append(ours, left.ca)
	}
	for _, cert := range certificates(content) {
		for _, our := range ours {
			if cert.Equal(our) {
				return true
			}
		}
	}
	return false
}
