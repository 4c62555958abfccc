package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority is a certificate authority that writes what it issues into a folder.
type Authority struct {
	folder string
	cert   *x509.Certificate
	key    crypto.Signer
}

// lifetime of everything here; a test cluster lives for hours.
const lifetime = 365 * 24 * time.Hour

// NewAuthority makes a CA named name and writes name.crt and name.key.
func NewAuthority(folder, name string) (*Authority, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	a := &Authority{folder: folder, cert: template, key: key}
	der, err := a.sign(template, key.Public())
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, a.write(name, der, key)
}

// Identity is who a certificate is for.
type Identity struct {
	// File is the name of the files, without ending.
	File string
	// Name and Groups become the common name and the organizations.
	Name   string
	Groups []string
	// Hosts are DNS names and IP addresses.
	Hosts []string
}

// Issue makes a certificate that serves as client and server, and writes File.crt and File.key.
func (a *Authority) Issue(id Identity) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: id.Name, Organization: id.Groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range id.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := a.sign(template, key.Public())
	if err != nil {
		return err
	}
	return a.write(id.File, der, key)
}

func (a *Authority) sign(template *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-2 * time.Hour)
	template.NotAfter = time.Now().Add(lifetime)
	return x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
}

func (a *Authority) write(name string, der []byte, key crypto.Signer) error {
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(filepath.Join(a.folder, name+".crt"), cert, 0o644); err != nil {
		return err
	}
	return writeKey(filepath.Join(a.folder, name+".key"), key)
}

func writeKey(path string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// ServiceAccountKeys writes sa.key and sa.pub, the pair that signs and verifies service-account tokens.
func ServiceAccountKeys(folder string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(folder, "sa.pub"), public, 0o644); err != nil {
		return err
	}
	return writeKey(filepath.Join(folder, "sa.key"), key)
}
