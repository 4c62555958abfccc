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
	// dataPrevious holds the previous CAs. Another replica can still serve with a leaf of one of them.
	dataPrevious = "previous.crt"
	// dataCross holds the cross-certificates: each CA signed by the CA before it, so that clients that trust the
	// previous CA trust the next one.
	dataCross = "cross.crt"
)

// maxPredecessors is the maximum number of previous CAs, cross-certificates and CAs of 1.8 that are kept.
const maxPredecessors = 5

// succession is the current CA with previous CAs and cross-certificates.
type succession struct {
	authority
	previous, cross []*x509.Certificate
	// predecessor is the CA of akv2k8s 1.8, from its own Secret.
	predecessor []*x509.Certificate
}

// parseSuccession decodes the data of the Secret. It leaves out expired certificates.
func parseSuccession(data map[string][]byte, now time.Time) (succession, error) {
	ca, err := parseAuthority(data[dataCert], data[dataKey])
	if err != nil {
		return succession{}, err
	}
	return succession{authority: ca, previous: unexpired(data[dataPrevious], now),
		cross: unexpired(data[dataCross], now)}, nil
}

// unexpired decodes PEM that we wrote, and leaves out expired certificates and damaged blocks. Only clients that
// trust a previous CA need these certificates, so a damaged block must not prevent serving with the current CA.
func unexpired(content []byte, now time.Time) []*x509.Certificate {
	var all []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil && len(all) < maxPredecessors; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && now.Before(cert.NotAfter) {
			all = append(all, cert)
		}
	}
	return all
}

// next returns the data of the Secret with a new CA, cross-signed by s.
func (s succession) next(name string, now time.Time, random io.Reader) (map[string][]byte, error) {
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
	return map[string][]byte{dataCert: ca.pem, dataKey: key,
		dataPrevious: encode(append([]*x509.Certificate{s.cert}, s.previous...)),
		dataCross:    encode(append([]*x509.Certificate{cross}, s.cross...))}, nil
}

// encode encodes certificates as PEM, up to the maximum number that is kept.
func encode(certs []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, cert := range certs[:min(len(certs), maxPredecessors)] {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a buffer cannot fail
	}
	return out.Bytes()
}

// roots returns the CAs that pods must trust, in PEM: the current one and the previous ones.
func (s succession) roots() []byte { return append(bytes.Clone(s.pem), encode(s.previous)...) }

// bundle returns the CAs that the API server must trust, in PEM: those that pods must trust, and the CA of 1.8.
func (s succession) bundle() []byte { return append(s.roots(), encode(s.predecessor)...) }

// due returns the time of the next rotation: after two thirds of the CA's lifetime.
func (s succession) due() time.Time { return s.cert.NotAfter.Add(-authorityLife / 3) }
