package servingcert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"time"
)

// Data keys of previous CAs in the Secret. Each holds certificates in PEM, the newest first.
const (
	// previousDataKey holds the previous CAs. Another replica can still serve with a leaf of one of them.
	previousDataKey = "previous.crt"
	// crossDataKey holds the cross-certificates: each CA signed by the CA before it, so that clients that trust the
	// previous CA trust the next one.
	crossDataKey = "cross.crt"
)

// maxPreviousCAs is the maximum number of previous CAs, cross-certificates and extra CAs that are kept.
const maxPreviousCAs = 5

// caSet is the current CA with previous CAs and cross-certificates.
type caSet struct {
	authority
	previousCAs, crossCerts []*x509.Certificate
	// extraCAs are the CAs of Config.ExtraCAs.
	extraCAs []*x509.Certificate
}

// parseCASet decodes the data of the Secret. It leaves out expired certificates.
func parseCASet(data map[string][]byte, now time.Time) (caSet, error) {
	ca, err := parseAuthority(data[caCertDataKey], data[caKeyDataKey])
	if err != nil {
		return caSet{}, err
	}
	return caSet{authority: ca, previousCAs: parseUnexpired(data[previousDataKey], now),
		crossCerts: parseUnexpired(data[crossDataKey], now)}, nil
}

// parseUnexpired decodes PEM that we wrote, and leaves out expired certificates and damaged blocks. Only clients that
// trust a previous CA need these certificates, so a damaged block must not prevent serving with the current CA.
func parseUnexpired(content []byte, now time.Time) []*x509.Certificate {
	var all []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil && len(all) < maxPreviousCAs; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && now.Before(cert.NotAfter) {
			all = append(all, cert)
		}
	}
	return all
}

// nextCAData returns the data of the Secret with a new CA, cross-signed by s.
func (s caSet) nextCAData(name string, now time.Time, random io.Reader) (map[string][]byte, error) {
	ca, key, err := newAuthority(name, now, random)
	if err != nil {
		return nil, err
	}
	// The cross-certificate is the new CA signed by the old one. It expires with the old one.
	template := *ca.cert
	template.NotAfter = s.cert.NotAfter
	der, err := x509.CreateCertificate(random, &template, s.cert, ca.key.Public(), s.key)
	if err != nil {
		return nil, fmt.Errorf("cross-signing the CA: %w", err)
	}
	cross, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cross-signing the CA: %w", err)
	}
	return map[string][]byte{caCertDataKey: ca.pem, caKeyDataKey: key,
		previousDataKey: encodeCertificates(append([]*x509.Certificate{s.cert}, s.previousCAs...)),
		crossDataKey:    encodeCertificates(append([]*x509.Certificate{cross}, s.crossCerts...))}, nil
}

// encodeCertificates encodes certificates as PEM, up to the maximum number that is kept.
func encodeCertificates(certs []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, cert := range certs[:min(len(certs), maxPreviousCAs)] {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a buffer cannot fail
	}
	return out.Bytes()
}

// rootBundle returns the CAs that pods must trust, in PEM: the current one and the previous ones.
func (s caSet) rootBundle() []byte {
	return append(bytes.Clone(s.pem), encodeCertificates(s.previousCAs)...)
}

// webhookBundle returns the CAs that the API server must trust, in PEM: those that pods must trust, and extra ones.
func (s caSet) webhookBundle() []byte {
	return append(s.rootBundle(), encodeCertificates(s.extraCAs)...)
}

// rotationTime returns the time of the next rotation: after two thirds of the CA's lifetime.
func (s caSet) rotationTime() time.Time { return s.cert.NotAfter.Add(-caLifetime / 3) }
