package v1test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// Data keys of the Secrets of 1.8.
const (
	FileCA   = "ca.crt"
	FileCert = "tls.crt"
	FileKey  = "tls.key"
)

// clientKeyBits is the size of client keys in 1.8.
const clientKeyBits = 1024

// Authority is a CA as the chart of 1.8 created it at each upgrade.
type Authority struct {
	// Cert and Key are PEM.
	Cert, Key []byte

	parsed *x509.Certificate
	key    *rsa.PrivateKey
}

// NewAuthority creates an Authority that is valid from one hour before now, for ten years.
func NewAuthority(now time.Time) (Authority, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return Authority{}, err
	}
	template := &x509.Certificate{SerialNumber: newSerialNumber(), Subject: pkix.Name{CommonName: "svc-cat-ca"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Authority{}, err
	}
	a := Authority{Cert: encodePEM("CERTIFICATE", der),
		Key: encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
		key: key}
	a.parsed, err = x509.ParseCertificate(der)
	return a, err
}

// CASecretData returns the data of the Secret with the CA.
func (a Authority) CASecretData() map[string][]byte {
	return map[string][]byte{FileCert: a.Cert, FileKey: a.Key}
}

// ClientSecretData returns the data of the Secret of a workload, with a new client certificate.
func (a Authority) ClientSecretData(now time.Time) (map[string][]byte, error) {
	return a.IssueSecretData(now, x509.ExtKeyUsageClientAuth)
}

// IssueSecretData returns the data of a Secret with a new certificate for any key usage and DNS names.
func (a Authority) IssueSecretData(now time.Time, usage x509.ExtKeyUsage, hosts ...string) (map[string][]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, clientKeyBits)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: newSerialNumber(),
		Subject:   pkix.Name{Organization: []string{"akv2k8s"}, CommonName: rand.Text()},
		NotBefore: now.Add(-time.Minute), NotAfter: now.AddDate(2, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{usage},
		BasicConstraintsValid: true, DNSNames: hosts}
	der, err := x509.CreateCertificate(rand.Reader, template, a.parsed, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	return map[string][]byte{FileCA: a.Cert, FileCert: encodePEM("CERTIFICATE", der),
		FileKey: encodePEM("PRIVATE KEY", keyDER)}, err
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func newSerialNumber() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return big.NewInt(time.Now().UnixNano())
	}
	return n
}
