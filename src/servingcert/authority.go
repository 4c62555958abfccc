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

// Lifetimes of certificates. The CA's is long, because a pod keeps the CA that it was created with.
const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 90 * 24 * time.Hour
	// clockSkew is the tolerated lag of another machine's clock.
	clockSkew = time.Hour
)

// authority is a CA with its private key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// pem is the certificate in PEM, as in the Secret.
	pem []byte
}

// newAuthority creates a self-signed CA. keyPEM is its private key.
func newAuthority(name string, now time.Time, random io.Reader) (a authority, keyPEM []byte, err error) {
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), random); err != nil {
		return a, nil, fmt.Errorf("generating the key of the CA: %w", err)
	}
	// The subject is unique, because verifiers find the issuer of a certificate by its subject.
	template, err := newCertTemplate(fmt.Sprintf("%.40s CA %d", name, now.Unix()), now, caLifetime, random)
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

// parseAuthority decodes the PEM that newAuthority created: one block each, so no block can be skipped. Errors do not
// quote the PEM.
func parseAuthority(certPEM, keyPEM []byte) (authority, error) {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return authority{}, errors.New("ca.crt or ca.key is not PEM")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil || !cert.IsCA {
		return authority{}, errors.New("its certificate is not a CA certificate")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return authority{}, errors.New("its key does not belong to its certificate")
	}
	return authority{cert: cert, key: key, pem: certPEM}, nil
}

// signLeaf creates a serving certificate for the DNS names. The chain includes the cross-certificates, so that clients
// that trust a previous CA can verify it.
func (a caSet) signLeaf(names []string, now time.Time, random io.Reader) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("generating the key of the serving certificate: %w", err)
	}
	template, err := newCertTemplate(names[0], now, leafLifetime, random)
	if err != nil {
		return nil, err
	}
	template.DNSNames = names
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature,
		[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(random, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("signing the serving certificate: %w", err)
	}
	parsed, err := x509.ParseCertificate(der)
	chain := [][]byte{der}
	for _, cross := range a.crossCerts {
		chain = append(chain, cross.Raw)
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: parsed}, err
}

// isCurrentLeaf reports whether this CA signed the leaf and the leaf is not due for renewal.
func (a authority) isCurrentLeaf(leaf *tls.Certificate, now time.Time) bool {
	return leaf != nil && leaf.Leaf.CheckSignatureFrom(a.cert) == nil && now.Before(renewalTime(leaf))
}

// renewalTime returns the time at which a leaf is replaced: after two thirds of its lifetime.
func renewalTime(leaf *tls.Certificate) time.Time { return leaf.Leaf.NotAfter.Add(-leafLifetime / 3) }

// newCertTemplate returns the fields that all our certificates have in common.
func newCertTemplate(name string, now time.Time, life time.Duration, random io.Reader) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	if _, err := io.ReadFull(random, serial); err != nil {
		return nil, fmt.Errorf("creating a serial number: %w", err)
	}
	if len(name) > 64 { // X.509's limit of a common name; verifiers use the alternative names
		name = name[:64]
	}
	serial[0] &= 0x7f
	return &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial),
		Subject:   pkix.Name{CommonName: name, Organization: []string{"akv2k8s"}},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(life)}, nil
}
