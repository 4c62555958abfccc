//go:build cluster

package authprocesses

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// method is one way of authenticating.
type method struct {
	name string
	// mode is AUTH_TYPE, env its variables, and file the azure.json, if it is used.
	mode string
	env  map[string]string
	file string
	// principal is the object id of whom it has to come to.
	principal string
}

// place is a cloud: how a component is told of it, how the webhook tells a pod, and what azure.json calls it.
type place struct {
	name        string
	env         map[string]string
	setting     string
	inAzureJSON string
}

const password = "of-the-file"

func (b *bench) clouds(t *testing.T) []place {
	t.Helper()
	custom := `{"name":"AzureStackCloud","activeDirectoryEndpoint":"https://login.private.example","keyVaultDNSSuffix":"vault.private.example"}`
	return []place{
		{name: "public", setting: "AzurePublicCloud", inAzureJSON: "AzurePublicCloud"},
		{name: "US Government", env: map[string]string{"AZURE_ENVIRONMENT": "AzureUSGovernmentCloud"}, setting: "AzureUSGovernmentCloud", inAzureJSON: "AzureUSGovernmentCloud"},
		{name: "custom", env: map[string]string{"AZURE_ENVIRONMENT": "AzureStackCloud", "AZURE_ENVIRONMENT_FILEPATH": b.write(t, "cloud.json", custom)}, setting: custom,
			inAzureJSON: "AzureStackCloud"},
	}
}

// certificate makes a PFX for a key, valid until then, and the certificate's PEM.
func certificate(t *testing.T, until time.Time) (pfx, registered string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(until.UnixNano()), Subject: pkix.Name{CommonName: "app"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	content, err := pkcs12.Modern.Encode(key, cert, nil, password)
	require.NoError(t, err)
	return string(content), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// federation makes a cluster's key, and gives a function that makes tokens of it for a ServiceAccount.
func federation(t *testing.T) (public string, token func(subject, audience string, from time.Time) string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), func(subject, audience string, from time.Time) string {
		text, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{Issuer: "https://cluster", Subject: subject, NotBefore: jwt.NewNumericDate(from),
			Audience: jwt.ClaimStrings{audience}, IssuedAt: jwt.NewNumericDate(from), ExpiresAt: jwt.NewNumericDate(from.Add(time.Hour))}).SignedString(key)
		require.NoError(t, err)
		return text
	}
}

// with is the application's tenant and id, and more.
func with(more map[string]string) map[string]string {
	out := map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID}
	maps.Copy(out, more)
	return out
}

const user, userPassword = "user@example.org", "of-the-user"

// methods registers the application with everything that it can sign in by, and gives each way.
func (b *bench) methods(t *testing.T) []method {
	t.Helper()
	pfx, registered := certificate(t, time.Now().Add(time.Hour))
	expired, old := certificate(t, time.Now().Add(-time.Hour))
	issuer, token := federation(t)
	const account, exchange = "system:serviceaccount:a:b", "api://AzureADTokenExchange"
	b.azure.Directory.Register(entra.Principal{Name: "app", ClientID: azuretest.AppClientID, ObjectID: azuretest.AppObjectID, Secret: b.azure.AppSecret,
		Certificates: registered + old, Username: user, Password: userPassword,
		Federated: []entra.Federation{{Issuer: "https://cluster", Subject: account, Key: issuer},
			{Issuer: "https://cluster", Subject: account, Key: issuer, Bound: true}}})
	b.write(t, "expired.pfx", expired)
	b.write(t, "foreign-token", token("system:serviceaccount:other:b", exchange, time.Now()))
	b.write(t, "late-token", token(account, exchange, time.Now().Add(-2*time.Hour)))
	b.write(t, "early-token", token(account, exchange, time.Now().Add(time.Hour)))
	path, federated := b.write(t, "app.pfx", pfx), b.write(t, "token", token(account, exchange, time.Now()))
	bound := b.write(t, "bound-token", token(account, "api://AKSIdentityBinding", time.Now()))
	file := func(fields map[string]any) string {
		content, err := json.Marshal(fields)
		require.NoError(t, err)
		return string(content)
	}
	principal := map[string]any{"tenantId": azuretest.Tenant, "aadClientId": azuretest.AppClientID}
	more := func(fields map[string]any) map[string]any {
		out := maps.Clone(principal)
		maps.Copy(out, fields)
		return out
	}
	const environment, config = "environment", "azureCloudConfig"
	return []method{
		{"azure.json, system-assigned identity", config, nil, file(map[string]any{"aadClientId": "msi", "aadClientSecret": "msi", "useManagedIdentityExtension": true}), azuretest.SystemObjectID},
		{"azure.json, user-assigned identity", config, nil, file(map[string]any{"useManagedIdentityExtension": true, "userAssignedIdentityID": azuretest.UserClientID}), azuretest.UserObjectID},
		{"azure.json, service principal", config, nil, file(more(map[string]any{"aadClientSecret": b.azure.AppSecret})), azuretest.AppObjectID},
		{"azure.json, certificate", config, nil, file(more(map[string]any{"aadClientCertPath": path, "aadClientCertPassword": password})), azuretest.AppObjectID},
		{"client secret", environment, with(map[string]string{"AZURE_CLIENT_SECRET": b.azure.AppSecret}), "", azuretest.AppObjectID},
		{"client secret, tenant by domain", environment, map[string]string{"AZURE_TENANT_ID": entra.Domain, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": b.azure.AppSecret}, "", azuretest.AppObjectID},
		{"certificate", environment, with(map[string]string{"AZURE_CERTIFICATE_PATH": path, "AZURE_CERTIFICATE_PASSWORD": password}), "", azuretest.AppObjectID},
		{"username and password", environment, with(map[string]string{"AZURE_USERNAME": user, "AZURE_PASSWORD": userPassword}), "", azuretest.AppObjectID},
		{"workload identity", environment, with(map[string]string{"AZURE_FEDERATED_TOKEN_FILE": federated}), "", azuretest.AppObjectID},
		{"AKS identity binding", environment, with(map[string]string{"AZURE_FEDERATED_TOKEN_FILE": bound, "AZURE_KUBERNETES_TOKEN_PROXY": "https://" + entra.ProxyHost,
			"AZURE_KUBERNETES_SNI_NAME": entra.ProxyHost, "AZURE_KUBERNETES_CA_FILE": b.path("ca.crt")}), "", azuretest.AppObjectID},
		{"managed identity, system-assigned", environment, nil, "", azuretest.SystemObjectID},
		{"managed identity, user-assigned", environment, map[string]string{"AZURE_CLIENT_ID": azuretest.UserClientID}, "", azuretest.UserObjectID},
		{"the SDK's chain", "environment-azidentity", with(map[string]string{"AZURE_CLIENT_SECRET": b.azure.AppSecret}), "", azuretest.AppObjectID},
	}
}
