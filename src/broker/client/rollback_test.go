//go:build !nov1compat

package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/v1compat/v1test"
)

// TestAfterARollbackThePodHasToBeRecreated calls the auth service of 1.8 from a pod that this version injected before a
// rollback.
func TestAfterARollbackThePodHasToBeRecreated(t *testing.T) {
	authority, err := v1test.NewAuthority(time.Now())
	require.NoError(t, err)
	data, err := authority.IssueSecretData(time.Now(), x509.ExtKeyUsageServerAuth, host)
	require.NoError(t, err)
	mine, err := tls.X509KeyPair(data[v1test.FileCert], data[v1test.FileKey])
	require.NoError(t, err)
	clients := x509.NewCertPool()
	require.True(t, clients.AppendCertsFromPEM(authority.Cert))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the pod's token was sent") }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{mine}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, config := startServer(t, nil)
	config.ServiceAddress = server.Listener.Addr().String()
	_, err = resolveReferences(t, config)
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	assert.ErrorContains(t, err, "recreate the pod")
}
