package servingcert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"time"
)

// Data keys of the Secret besides the CA's own. Each holds certificates, the newest first.
const (
	// dataPrevious are the CAs before, which may still have signed what another replica serves with.
	dataPrevious = "previous.crt"
	// dataCross are certificates of each CA that the one before signed: who believes that one believes what came after
	// it.
	dataCross = "cross.crt"
)

// maxPredecessors bounds what is kept of the past.
const maxPredecessors = 5

// succession is a CA and those before it.
type succession struct {
	authority
	previous, cross []*x509.Certificate
	// predecessor is what akv2k8s 1.8 left, in a Secret of its own.
	predecessor []*x509.Certificate
}

// parseSuccession reads the Secret. What has expired is left out.
func parseSuccession(data map[string][]byte, now time.Time) (succession, error) {
	ca, err := parseAuthority(data[dataCert], data[dataKey])
	if err != nil {
		return succession{}, err
	}
	return succession{authority: ca, previous: unexpired(data[dataPrevious], now),
		cross: unexpired(data[dataCross], now)}, nil
}

// unexpired are the certificates of a PEM that are valid yet; what is none is left out. Only what encode wrote is read
// by it, and only for those who still believe an older CA: a damaged block must not keep the present one from serving.
func unexpired(content []byte, now time.Time) []*x509.Certificate {
	var all []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil && len(all) < maxPredecessors; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && now.Before(cert.NotAfter) {
			all = append(all, cert)
		}
	}
	return all
}

// next makes a new CA, which the one before vouches for.
func (s succession) next(name string, now time.Time, random io.Reader) (map[string][]byte, error) {
	ca, key, err := newAuthority(name, now, random)
	if err != nil {
		return nil, err
	}
	// The same CA once more, signed by the old one; it ends when the old one ends.
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

func encode(certs []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, cert := range certs[:min(len(certs), maxPredecessors)] {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a buffer takes everything
	}
	return out.Bytes()
}

// roots are what to believe: this CA, and those before it as long as a replica may serve with them.
func (s succession) roots() []byte { return append(bytes.Clone(s.pem), encode(s.previous)...) }

// bundle is what the API server is to believe.
func (s succession) bundle() []byte { return append(s.roots(), encode(s.predecessor)...) }

// due is when the next CA should be made: at two thirds of this one's life.
func (s succession) due() time.Time { return s.cert.NotAfter.Add(-authorityLife / 3) }
