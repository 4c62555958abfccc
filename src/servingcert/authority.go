package servingcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// Lives of certificates. A pod carries the CA for the pod's whole life.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	// skew is how far behind another machine's clock may be.
	skew = time.Hour
)

// authority is a CA that can sign.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// pem is the certificate as the Secret holds it.
	pem []byte
}

// newAuthority makes a CA and the PEM of its key.
func newAuthority(name string, now time.Time, random io.Reader) (a authority, keyPEM []byte, err error) {
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), random); err != nil {
		return a, nil, fmt.Errorf("making the key of the CA: %w", err)
	}
	// Each has a name of its own, so that nobody takes one for another.
	template, err := newTemplate(fmt.Sprintf("%.40s CA %d", name, now.Unix()), now, authorityLife, random)
	if err != nil {
		return a, nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(random, template, template, a.key.Public(), a.key)
	if err != nil {
		return a, nil, fmt.Errorf("signing the CA: %w", err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyDER, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return a, nil, fmt.Errorf("encoding the key of the CA: %w", err)
	}
	a.cert, err = x509.ParseCertificate(der)
	return a, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), err
}

// parseAuthority reads a CA from PEM, which newAuthority made: one block each, so none can be passed over. Errors quote
// nothing of it.
func parseAuthority(certPEM, keyPEM []byte) (authority, error) {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return authority{}, errors.New("it holds no PEM")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil || !cert.IsCA {
		return authority{}, errors.New("its certificate is none of a CA")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return authority{}, errors.New("its key is none of its certificate")
	}
	return authority{cert: cert, key: key, pem: certPEM}, nil
}

// leaf signs a certificate for serving under the names; with it go the certificates by which those who believe an older
// CA believe this one.
func (a succession) leaf(names []string, now time.Time, random io.Reader) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("making a key to serve with: %w", err)
	}
	template, err := newTemplate(names[0], now, leafLife, random)
	if err != nil {
		return nil, err
	}
	template.DNSNames = names
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature,
		[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(random, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate to serve with: %w", err)
	}
	parsed, err := x509.ParseCertificate(der)
	chain := [][]byte{der}
	for _, cross := range a.cross {
		chain = append(chain, cross.Raw)
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: parsed}, err
}

// signed says whether the leaf is of this CA and young enough to serve on.
func (a authority) signed(leaf *tls.Certificate, now time.Time) bool {
	return leaf != nil && leaf.Leaf.CheckSignatureFrom(a.cert) == nil && now.Before(renewal(leaf))
}

// renewal is when a leaf should be replaced: at two thirds of its life.
func renewal(leaf *tls.Certificate) time.Time { return leaf.Leaf.NotAfter.Add(-leafLife / 3) }

// newTemplate is what all our certificates have in common.
func newTemplate(name string, now time.Time, life time.Duration, random io.Reader) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	if _, err := io.ReadFull(random, serial); err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	if len(name) > 64 { // X.509's bound for a common name; the names that count are the alternative ones
		name = name[:64]
	}
	serial[0] &= 0x7f
	return &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial),
		Subject:   pkix.Name{CommonName: name, Organization: []string{"akv2k8s"}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(life)}, nil
}
