package azuretest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/trust"
)

// The tenant and the principals of every emulator of this package.
const (
	Tenant         = "11111111-1111-4111-8111-111111111111"
	AppClientID    = "aaaaaaaa-0000-4000-8000-000000000001"
	AppObjectID    = "aaaaaaaa-0000-4000-8000-000000000002"
	UserClientID   = "bbbbbbbb-0000-4000-8000-000000000001"
	UserObjectID   = "bbbbbbbb-0000-4000-8000-000000000002"
	UserResourceID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u"
	SystemClientID = "cccccccc-0000-4000-8000-000000000001"
	SystemObjectID = "cccccccc-0000-4000-8000-000000000002"
)

// Azure is a running emulator.
type Azure struct {
	*emulator.Emulator
	// Client trusts the emulator's CA and connects only to the emulator.
	Client *http.Client
	// AppSecret is the secret of the application AppClientID.
	AppSecret string
	// CA is the certificate of the emulator's certificate authority, PEM.
	CA []byte

	azureAddress, metadataAddress net.Addr
}

// Start runs an emulator until the test ends. It has an empty vault kv1, on which every principal can get and list.
func Start(t *testing.T) *Azure {
	t.Helper()
	e, err := emulator.New(Tenant, time.Now)
	require.NoError(t, err)
	a := &Azure{Emulator: e, AppSecret: rand.Text()}
	everybody := map[string][]string{}
	for _, id := range []string{AppObjectID, UserObjectID, SystemObjectID} {
		everybody[id] = []string{"get", "list", "certificates/get", "certificates/list", "keys/get", "keys/list"}
	}
	require.NoError(t, e.ApplySeed(emulator.Seed{
		Principals: []entra.Principal{
			{Name: "app", ClientID: AppClientID, ObjectID: AppObjectID, Secret: a.AppSecret},
			{Name: "user-assigned", ClientID: UserClientID, ObjectID: UserObjectID, ManagedIdentity: "user",
				ResourceID: UserResourceID},
			{Name: "system-assigned", ClientID: SystemClientID, ObjectID: SystemObjectID, ManagedIdentity: "system"},
		},
		Vaults: map[string]emulator.VaultSeed{"kv1": {Permissions: everybody, Secrets: map[string]keyvault.Secret{}}},
	}))
	authority, certificate := newCertificates(t)
	azure := httptest.NewUnstartedServer(e.AzureHandler())
	azure.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	azure.EnableHTTP2 = true
	azure.Config.ErrorLog = nil
	azure.StartTLS()
	metadata := httptest.NewServer(e.MetadataHandler())
	t.Cleanup(azure.Close)
	t.Cleanup(metadata.Close)
	a.azureAddress, a.metadataAddress = azure.Listener.Addr(), metadata.Listener.Addr()
	a.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})

	pool := x509.NewCertPool()
	pool.AddCert(authority)
	a.Client = trust.NewHTTPClient(pool)
	transport := a.Client.Transport.(*http.Transport)
	transport.Proxy = nil
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		to := azure.Listener.Addr().String()
		host, _, _ := strings.Cut(address, ":")
		switch {
		case host == "169.254.169.254":
			to = metadata.Listener.Addr().String()
		case strings.HasPrefix(host, "nowhere."):
			return nil, &net.OpError{Op: "dial", Net: network,
				Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return a
}

// newCertificates creates a certificate authority and a certificate for every name that the emulator serves.
func newCertificates(t *testing.T) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "emulator"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	require.NoError(t, err)
	authority, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"*.vault.azure.net", "login.microsoftonline.com", "*.vault.usgovcloudapi.net",
			"login.microsoftonline.us",
			"*.vault.private.example", "login.private.example", entra.ProxyHost}}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), key)
	require.NoError(t, err)
	return authority, tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}
}
