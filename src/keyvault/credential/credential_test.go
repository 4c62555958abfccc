package credential_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

func environment(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { value, ok := values[name]; return value, ok }
}

// disk has the files for ReadFile, by path.
type disk map[string]string

func (d disk) ReadFile(path string) ([]byte, error) {
	if content, ok := d[path]; ok {
		return []byte(content), nil
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

const azureJSON = "/etc/kubernetes/azure.json"

// config returns a configuration that uses azure.json.
func config(t *testing.T, a *azuretest.Azure, file string) credential.Config {
	t.Helper()
	public, err := cloud.Parse("")
	require.NoError(t, err)
	return credential.Config{Mode: credential.ModeCloudConfig, Cloud: public, Transport: a.Client, LookupEnv: environment(nil), Clock: time.Now,
		CloudConfigFile: azureJSON, ReadFile: disk{azureJSON: file}.ReadFile}
}

// inEnvironment returns a configuration that uses environment variables.
func inEnvironment(t *testing.T, a *azuretest.Azure, files disk, values map[string]string) credential.Config {
	t.Helper()
	c := config(t, a, "")
	c.Mode, c.LookupEnv, c.ReadFile = credential.ModeEnvironment, environment(values), files.ReadFile
	return c
}

func asJSON(t *testing.T, fields map[string]any) string {
	t.Helper()
	content, err := json.Marshal(fields)
	require.NoError(t, err)
	return string(content)
}

func token(t *testing.T, c credential.Config) (string, error) {
	t.Helper()
	cred, err := credential.New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{c.Cloud.VaultScope}})
	return got.Token, err
}

func TestEachMethodGetsATokenForItsOwnIdentity(t *testing.T) {
	a := azuretest.Start(t)
	app := func(more ...string) map[string]string {
		values := map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID}
		for i := 0; i < len(more); i += 2 {
			values[more[i]] = more[i+1]
		}
		return values
	}
	certs := certificates(t)
	a.Directory.Register(entra.Principal{Name: "app", ClientID: azuretest.AppClientID, ObjectID: azuretest.AppObjectID, Secret: a.AppSecret,
		Certificates: certs.registered, Username: "user@example.org", Password: "of-the-user",
		Federated: []entra.Federation{{Issuer: "https://cluster", Subject: "system:serviceaccount:a:b", Key: certs.issuerKey}}})
	files := certs.files
	files["/token"] = certs.federated(t, time.Now())
	cases := map[string]struct {
		config credential.Config
		want   string
		flow   string
	}{
		"azure.json: user-assigned identity by client id": {config(t, a, asJSON(t, map[string]any{"useManagedIdentityExtension": true,
			"userAssignedIdentityID": azuretest.UserClientID})), azuretest.UserObjectID, ""},
		"azure.json: user-assigned identity by object id": {config(t, a, asJSON(t, map[string]any{"useManagedIdentityExtension": true,
			"userAssignedIdentityID": azuretest.UserObjectID})), azuretest.UserObjectID, ""},
		"azure.json: user-assigned identity by resource id": {config(t, a, asJSON(t, map[string]any{"useManagedIdentityExtension": true,
			"userAssignedIdentityID": azuretest.UserResourceID})), azuretest.UserObjectID, ""},
		"azure.json: system-assigned identity": {config(t, a, asJSON(t, map[string]any{"aadClientId": "msi", "aadClientSecret": "msi"})), azuretest.SystemObjectID, ""},
		"azure.json: service principal": {config(t, a, asJSON(t, map[string]any{"tenantId": azuretest.Tenant, "aadClientId": azuretest.AppClientID,
			"aadClientSecret": a.AppSecret})), azuretest.AppObjectID, "client-secret"},
		"azure.json: as YAML": {config(t, a, "tenantId: "+azuretest.Tenant+"\naadClientId: "+azuretest.AppClientID+"\naadClientSecret: "+a.AppSecret+"\n"),
			azuretest.AppObjectID, "client-secret"},
		"azure.json: certificate": {func() credential.Config {
			c := config(t, a, "")
			on := maps.Clone(files)
			on[azureJSON] = asJSON(t, map[string]any{"tenantId": azuretest.Tenant, "aadClientId": azuretest.AppClientID, "aadClientCertPath": "/legacy.pfx", "aadClientCertPassword": password})
			c.ReadFile = on.ReadFile
			return c
		}(), azuretest.AppObjectID, "assertion"},
		"environment: client secret":                                 {inEnvironment(t, a, nil, app("AZURE_CLIENT_SECRET", a.AppSecret)), azuretest.AppObjectID, "client-secret"},
		"environment: a secret comes before all others":              {inEnvironment(t, a, files, app("AZURE_CLIENT_SECRET", a.AppSecret, "AZURE_CERTIFICATE_PATH", "/absent", "AZURE_FEDERATED_TOKEN_FILE", "/absent")), azuretest.AppObjectID, "client-secret"},
		"environment: certificate, PFX without a password":           {inEnvironment(t, a, files, app("AZURE_CERTIFICATE_PATH", "/plain.pfx")), azuretest.AppObjectID, "assertion"},
		"environment: certificate, PFX as OpenSSL 3 writes it":       {inEnvironment(t, a, files, app("AZURE_CERTIFICATE_PATH", "/modern.pfx", "AZURE_CERTIFICATE_PASSWORD", password)), azuretest.AppObjectID, "assertion"},
		"environment: certificate, PFX of old":                       {inEnvironment(t, a, files, app("AZURE_CERTIFICATE_PATH", "/legacy.pfx", "AZURE_CERTIFICATE_PASSWORD", password)), azuretest.AppObjectID, "assertion"},
		"environment: certificate, PEM":                              {inEnvironment(t, a, files, app("AZURE_CERTIFICATE_PATH", "/plain.pem")), azuretest.AppObjectID, "assertion"},
		"environment: certificate, PEM with the chain first":         {inEnvironment(t, a, files, app("AZURE_CERTIFICATE_PATH", "/chain.pem")), azuretest.AppObjectID, "assertion"},
		"environment: certificate, PEM with an encrypted key":        {inEnvironment(t, a, files, app("AZURE_CERTIFICATE_PATH", "/encrypted.pem", "AZURE_CERTIFICATE_PASSWORD", password)), azuretest.AppObjectID, "assertion"},
		"environment: certificate, PEM with a key encrypted of old":  {inEnvironment(t, a, files, app("AZURE_CERTIFICATE_PATH", "/traditional.pem", "AZURE_CERTIFICATE_PASSWORD", password)), azuretest.AppObjectID, "assertion"},
		"environment: certificate, the SDK's spelling":               {inEnvironment(t, a, files, app("AZURE_CLIENT_CERTIFICATE_PATH", "/modern.pfx", "AZURE_CLIENT_CERTIFICATE_PASSWORD", password)), azuretest.AppObjectID, "assertion"},
		"environment: username and password":                         {inEnvironment(t, a, nil, app("AZURE_USERNAME", "user@example.org", "AZURE_PASSWORD", "of-the-user")), azuretest.AppObjectID, "password"},
		"environment: workload identity":                             {inEnvironment(t, a, files, app("AZURE_FEDERATED_TOKEN_FILE", "/token")), azuretest.AppObjectID, "assertion"},
		"environment: nothing set is the system-assigned identity":   {inEnvironment(t, a, nil, nil), azuretest.SystemObjectID, ""},
		"environment: a client id alone is a user-assigned identity": {inEnvironment(t, a, nil, map[string]string{"AZURE_CLIENT_ID": azuretest.UserClientID}), azuretest.UserObjectID, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a.ResetCounters()
			got, err := token(t, c.config)
			require.NoError(t, err)
			objectID, err := a.Directory.Verify(got, "https://vault.azure.net")
			require.NoError(t, err)
			assert.Equal(t, c.want, objectID)
			if c.flow != "" {
				assert.Equal(t, 1, a.Counters()["token "+c.flow+" app 200"], "%v", a.Counters())
			}
		})
	}
}

func TestConfigurationsThatCannotWorkNameWhatIsMissing(t *testing.T) {
	a := azuretest.Start(t)
	files := certificates(t).files
	files["/nokey.pem"], files["/garbage"], files["/broken.pem"] = files["/registered.pem"], "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	env := func(values ...string) credential.Config {
		set := map[string]string{}
		for i := 0; i < len(values); i += 2 {
			set[values[i]] = values[i+1]
		}
		return inEnvironment(t, a, files, set)
	}
	cert := func(path, password string) credential.Config {
		return env("AZURE_TENANT_ID", "t", "AZURE_CLIENT_ID", "c", "AZURE_CERTIFICATE_PATH", path, "AZURE_CERTIFICATE_PASSWORD", password)
	}
	absentFile := config(t, a, "")
	absentFile.CloudConfigFile = "/absent"
	magic := config(t, a, "")
	magic.Mode = "magic"
	for name, c := range map[string]struct {
		config credential.Config
		names  string
	}{
		"azure.json without an identity":               {config(t, a, `{"tenantId":"t"}`), "aadClientId, aadClientSecret are missing"},
		"azure.json with a certificate that is absent": {config(t, a, `{"tenantId":"t","aadClientId":"c","aadClientCertPath":"/absent"}`), "/absent"},
		"no azure.json":                      {absentFile, "file does not exist"},
		"azure.json that is none":            {config(t, a, "["), "neither JSON nor YAML"},
		"tenant and client, nothing else":    {env("AZURE_TENANT_ID", "t", "AZURE_CLIENT_ID", "c"), "AZURE_CLIENT_SECRET is missing"},
		"a tenant alone":                     {env("AZURE_TENANT_ID", "t"), "AZURE_CLIENT_ID, AZURE_CLIENT_SECRET are missing"},
		"a secret alone":                     {env("AZURE_CLIENT_SECRET", "s"), "AZURE_TENANT_ID, AZURE_CLIENT_ID are missing"},
		"a certificate alone":                {env("AZURE_CERTIFICATE_PATH", "/plain.pem"), "AZURE_TENANT_ID, AZURE_CLIENT_ID are missing"},
		"a certificate's password alone":     {env("AZURE_CERTIFICATE_PASSWORD", "x"), "AZURE_CERTIFICATE_PATH is missing"},
		"a username without a password":      {env("AZURE_TENANT_ID", "t", "AZURE_CLIENT_ID", "c", "AZURE_USERNAME", "u"), "AZURE_PASSWORD is missing"},
		"a password without a username":      {env("AZURE_TENANT_ID", "t", "AZURE_CLIENT_ID", "c", "AZURE_PASSWORD", "p"), "AZURE_USERNAME is missing"},
		"a federated token alone":            {env("AZURE_FEDERATED_TOKEN_FILE", "/token"), "AZURE_TENANT_ID, AZURE_CLIENT_ID are missing"},
		"an invalid tenant":                  {env("AZURE_TENANT_ID", "a/b", "AZURE_CLIENT_ID", "c", "AZURE_CLIENT_SECRET", "s"), "tenant id"},
		"a certificate that is absent":       {cert("/absent", ""), "/absent can't be read (file does not exist)"},
		"a wrong password of a PFX":          {cert("/modern.pfx", "wrong"), "AZURE_CERTIFICATE_PASSWORD"},
		"a wrong password of an old PFX":     {cert("/legacy.pfx", "wrong"), "AZURE_CERTIFICATE_PASSWORD"},
		"a wrong password of a PEM key":      {cert("/encrypted.pem", "wrong"), "is wrong; correct AZURE_CERTIFICATE_PASSWORD"},
		"no password of a PEM key":           {cert("/encrypted.pem", ""), "is encrypted; set AZURE_CERTIFICATE_PASSWORD"},
		"a wrong password of an old PEM key": {cert("/traditional.pem", "wrong"), "AZURE_CERTIFICATE_PASSWORD"},
		"a PEM file without a key":           {cert("/nokey.pem", ""), "no private key"},
		"a PEM file with another key":        {cert("/foreign.pem", ""), "none of the 1 certificates"},
		"a broken PEM file":                  {cert("/broken.pem", ""), "damaged"},
		"a file that is neither":             {cert("/garbage", ""), "neither PFX nor PEM"},
		"an unknown mode":                    {magic, "azureCloudConfig"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := credential.New(c.config)
			assert.Equal(t, fault.Invalid, fault.KindOf(err))
			assert.ErrorContains(t, err, c.names)
			assert.NotContains(t, err.Error(), password)
		})
	}
	_, err := credential.New(credential.Config{Mode: credential.ModeEnvironment})
	assert.Error(t, err)
}

func TestRefusalsAreClassifiedAndSayTheSameEachTime(t *testing.T) {
	a := azuretest.Start(t)
	const canary = "canary-31ab"
	certs := certificates(t)
	a.Directory.Register(entra.Principal{Name: "app", ClientID: azuretest.AppClientID, ObjectID: azuretest.AppObjectID, Secret: a.AppSecret,
		Certificates: certs.registered, Username: "user@example.org", Password: "of-the-user",
		Federated: []entra.Federation{{Issuer: "https://cluster", Subject: "system:serviceaccount:a:b", Key: certs.issuerKey}}})
	files := certs.files
	files["/late"] = certs.federated(t, time.Now().Add(-3*time.Hour))
	files["/other"] = certs.foreign(t)
	app := func(tenant, client string, more ...string) credential.Config {
		values := map[string]string{"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": client}
		for i := 0; i < len(more); i += 2 {
			values[more[i]] = more[i+1]
		}
		return inEnvironment(t, a, files, values)
	}
	const tenant, client = azuretest.Tenant, azuretest.AppClientID
	for name, c := range map[string]struct {
		config credential.Config
		says   []string
	}{
		"a wrong secret":                       {app(tenant, client, "AZURE_CLIENT_SECRET", canary), []string{"AADSTS7000215", "AZURE_CLIENT_SECRET"}},
		"an unknown client":                    {app(tenant, "dddddddd-0000-4000-8000-000000000001", "AZURE_CLIENT_SECRET", canary), []string{"AADSTS700016", "check client id"}},
		"an unknown tenant":                    {app("eeeeeeee-0000-4000-8000-000000000001", client, "AZURE_CLIENT_SECRET", canary), []string{"check the tenant id"}},
		"an unknown identity":                  {config(t, a, `{"useManagedIdentityExtension":true,"userAssignedIdentityID":"dddddddd-0000-4000-8000-000000000002"}`), []string{"not assigned", "azure.json"}},
		"a certificate that is not registered": {app(tenant, client, "AZURE_CERTIFICATE_PATH", "/unregistered.pem"), []string{"AADSTS700027", "upload the certificate"}},
		"a certificate that has expired":       {app(tenant, client, "AZURE_CERTIFICATE_PATH", "/expired.pem"), []string{"AADSTS700027", "renew"}},
		"a wrong password":                     {app(tenant, client, "AZURE_USERNAME", "user@example.org", "AZURE_PASSWORD", canary), []string{"AADSTS50126", "AZURE_PASSWORD"}},
		"a federated token that has expired":   {app(tenant, client, "AZURE_FEDERATED_TOKEN_FILE", "/late"), []string{"AADSTS700024", "clock"}},
		"a federated token of somebody else":   {app(tenant, client, "AZURE_FEDERATED_TOKEN_FILE", "/other"), []string{"AADSTS700213", "subject"}},
		"a federated token that is absent":     {app(tenant, client, "AZURE_FEDERATED_TOKEN_FILE", "/absent"), []string{"/absent", "azure.workload.identity/use"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, first := token(t, c.config)
			_, second := token(t, c.config)
			assert.Equal(t, fault.Unauthenticated, fault.KindOf(first), "%v", first)
			for _, says := range c.says {
				require.ErrorContains(t, first, says)
			}
			assert.Equal(t, first.Error(), second.Error(), "a status is written only when it changes")
			assert.NotContains(t, first.Error(), canary)
			var marker interface{ NonRetriable() }
			assert.True(t, errors.As(first, &marker), "azcore must not retry what the credential retried")
		})
	}
}

func TestARotatedFileIsUsedWithoutARestart(t *testing.T) {
	a := azuretest.Start(t)
	file := func(secret string) string {
		return asJSON(t, map[string]any{"tenantId": azuretest.Tenant, "aadClientId": azuretest.AppClientID, "aadClientSecret": secret})
	}
	now := time.Now()
	c := config(t, a, "")
	files := disk{azureJSON: file("of-yesterday")}
	c.ReadFile, c.Clock = files.ReadFile, func() time.Time { return now }
	cred, err := credential.New(c)
	require.NoError(t, err)
	ask := func() error {
		_, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{c.Cloud.VaultScope}})
		return err
	}
	require.ErrorContains(t, ask(), "AADSTS7000215")
	files[azureJSON] = file(a.AppSecret)
	require.Error(t, ask(), "files are looked at every ten seconds, not at each call")
	now = now.Add(11 * time.Second)
	require.NoError(t, ask())
	now = now.Add(11 * time.Second)
	files[azureJSON] = "["
	require.ErrorContains(t, ask(), "neither JSON nor YAML", "a mistake is told at once, not when the old secret expires")
	require.Error(t, ask(), "and until it is mended, not only when the file is looked at")
	delete(files, azureJSON)
	now = now.Add(11 * time.Second)
	require.NoError(t, ask(), "a file that can't be read for a moment changes nothing")
}

func TestManyWhoAskAtOnceCostOneRequest(t *testing.T) {
	// The SDK shares the tokens of managed identities in the whole process, so this test uses its own identities.
	const clientID, objectID = "ffffffff-0000-4000-8000-000000000001", "ffffffff-0000-4000-8000-000000000002"
	for name, file := range map[string]map[string]any{
		"client id":     {"useManagedIdentityExtension": true, "userAssignedIdentityID": clientID},
		"object id":     {"useManagedIdentityExtension": true, "userAssignedIdentityID": objectID},
		"client secret": {"tenantId": azuretest.Tenant, "aadClientId": azuretest.AppClientID, "aadClientSecret": "SECRET"},
	} {
		t.Run(name, func(t *testing.T) {
			a := azuretest.Start(t)
			a.Directory.Register(entra.Principal{Name: "shared", ClientID: clientID, ObjectID: objectID, ManagedIdentity: "user"})
			c := config(t, a, strings.ReplaceAll(asJSON(t, file), "SECRET", a.AppSecret))
			cred, err := credential.New(c)
			require.NoError(t, err)
			var group sync.WaitGroup
			for range 20 {
				group.Go(func() {
					_, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{c.Cloud.VaultScope}})
					assert.NoError(t, err)
				})
			}
			group.Wait()
			granted := 0
			for counter, count := range a.Counters() {
				if strings.HasPrefix(counter, "token ") && strings.HasSuffix(counter, " 200") {
					granted += count
				}
			}
			assert.Equal(t, 1, granted, "%v", a.Counters())
			assert.LessOrEqual(t, a.Counters()["token managed-identity unknown 400"], 1, "an object id costs one refusal more")
		})
	}
}

// metadata is a metadata service with a constant response.
type metadata int

func (m metadata) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: int(m), Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"error":"invalid_request","error_description":"Identity not found"}`))}, nil
}

func TestWhatTheMetadataServiceAnswersIsTold(t *testing.T) {
	a := azuretest.Start(t)
	for status, want := range map[int]struct {
		kind fault.Kind
		says string
	}{
		400: {fault.Unauthenticated, "not assigned to this node (400)"}, 404: {fault.Unavailable, "answered 404"}, 410: {fault.Unavailable, "answered 410"},
		429: {fault.Throttled, "429"}, 500: {fault.Unavailable, "500"}, 503: {fault.Unavailable, "503"},
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			// A unique identity, because the SDK shares the tokens of managed identities in the whole process.
			c := config(t, a, asJSON(t, map[string]any{"useManagedIdentityExtension": true, "userAssignedIdentityID": fmt.Sprintf("ffffffff-0000-4000-8000-000000000%d", status)}))
			c.Transport = &http.Client{Transport: metadata(status)}
			cred, err := credential.New(c)
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err = cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{c.Cloud.VaultScope}})
			assert.Equal(t, want.kind, fault.KindOf(err), "%v", err)
			assert.ErrorContains(t, err, want.says)
		})
	}
}

// silent is a network without any response.
type silent struct{}

func (silent) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }

func TestNoAnswerIsUnavailable(t *testing.T) {
	a := azuretest.Start(t)
	conf := config(t, a, asJSON(t, map[string]any{"tenantId": azuretest.Tenant, "aadClientId": azuretest.AppClientID, "aadClientSecret": a.AppSecret}))
	conf.Transport = &http.Client{Transport: silent{}}
	_, err := token(t, conf)
	assert.Equal(t, fault.Unavailable, fault.KindOf(err))
}
