package credential_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

const marker = "canary-8d20"

// says is a transport with a constant response.
type says struct {
	status int
	header http.Header
	body   string
	err    error
}

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.err != nil {
		return nil, s.err
	}
	header := s.header
	if header == nil {
		header = http.Header{"Content-Type": {"text/html"}}
	}
	return &http.Response{StatusCode: s.status, Header: header, Request: r, Body: io.NopCloser(strings.NewReader(s.body))}, nil
}

// signIn requests a token through the transport s.
func signIn(t *testing.T, c credential.Config, s says) error {
	t.Helper()
	c.Transport = &http.Client{Transport: s, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://user:" + marker + "@proxy.corp:3128") }
	cred, err := credential.New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{c.Cloud.VaultScope}})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), marker)
	assert.NotEmpty(t, fault.NextStepOf(err))
	assert.NotContains(t, fault.CauseOf(err), fault.NextStepOf(err))
	return err
}

func secretOf(t *testing.T, a *azuretest.Azure, secret string) credential.Config {
	t.Helper()
	return inEnvironment(t, a, nil, map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CLIENT_SECRET": secret})
}

// nobodys returns a unique identity, because the SDK shares the tokens of managed identities in the whole process.
func nobodys(t *testing.T, a *azuretest.Azure, n int) credential.Config {
	t.Helper()
	return inEnvironment(t, a, nil, map[string]string{"AZURE_CLIENT_ID": fmt.Sprintf("eeeeeeee-0000-4000-8000-%012d", n)})
}

func TestWhatStandsBetweenUsAndEntraIDIsNamed(t *testing.T) {
	a := azuretest.Start(t)
	const html = "<html>Blocked " + marker + "</html>"
	for status, want := range map[int]string{200: "answered in its place", 302: "redirects to another page", 400: "answered in its place", 403: "blocked the request",
		407: "requires a sign-in", 470: "answered in its place", 502: "server error"} {
		t.Run("Entra ID "+strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			err := signIn(t, secretOf(t, a, "s"), says{status: status, body: html})
			assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
			assert.Contains(t, fault.CauseOf(err), want)
			assert.Contains(t, fault.CauseOf(err), "through the proxy proxy.corp:3128")
			assert.Contains(t, fault.NextStepOf(err), "HTTPS_PROXY")
			assert.Contains(t, err.Error(), "microsoft")
			assert.NotRegexp(t, "role|assigned", err.Error())
		})
		t.Run("metadata "+strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			err := signIn(t, nobodys(t, a, status), says{status: status, body: html})
			assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
			assert.NotContains(t, err.Error(), "not assigned")
			if status < 500 {
				assert.Contains(t, fault.NextStepOf(err), "NO_PROXY")
			}
		})
	}
}

func TestAnAnswerThatIsTooLongOrHasNoTokenIsAnError(t *testing.T) {
	a := azuretest.Start(t)
	asJSON := http.Header{"Content-Type": {"application/json"}}
	for name, c := range map[string]struct {
		says  says
		cause string
	}{
		"longer than its bound": {says{status: 200, header: asJSON, body: `{"access_token":"` + strings.Repeat("x", limits.SignInAnswerBytes) + `"}`}, "exceeds 256 KiB"},
		"JSON without a token":  {says{status: 200, header: asJSON, body: `{}`}, "answered without a token"},
		"JSON of another kind":  {says{status: 200, header: asJSON, body: `[]`}, "answered in its place"},
		"nothing":               {says{status: 200, header: asJSON}, "answered in its place"},
		"a name that is unknown": {says{err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "login.microsoftonline.com", IsNotFound: true}}},
			"does not resolve"},
		"no connection": {says{err: &net.OpError{Op: "dial", Err: &net.AddrError{Err: "refused", Addr: "10.1.2.3"}}}, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := signIn(t, secretOf(t, a, "s"), c.says)
			assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
			assert.Contains(t, fault.CauseOf(err), c.cause)
			assert.NotContains(t, err.Error(), "10.1.2.3", "addresses differ each time")
		})
	}
}

func TestEveryCodeOfEntraIDHasCauseAndNextStep(t *testing.T) {
	a := azuretest.Start(t)
	for code, want := range map[int][2]string{
		700211: {"issuer", "OIDC issuer URL"}, 700212: {"audience", "api://AzureADTokenExchange"}, 7002138: {"only in letter case", "in the same letter case"},
		7000112: {"disabled", "enable the application"}, 7000218: {"neither a client secret nor an assertion", "AZURE_CLIENT_SECRET"},
		7000229: {"no service principal", "az ad sp create"}, 50020: {"another tenant", azuretest.Tenant}, 50053: {"locked", "unlock"}, 50055: {"password has expired", "new password"},
		50057: {"account is disabled", "enable"}, 53003: {"Conditional Access", "exclude"}, 500011: {"Key Vault does not exist", "tenant id"}, 700030: {"certificate is not valid", "upload"},
		65001: {"no consent", "administrator"}, 50076: {"second factor", "client secret"}, 1: {"rejected the sign-in (AADSTS1)", "https://login.microsoftonline.com/error"},
	} {
		p := entra.Principal{Name: "p", ClientID: fmt.Sprintf("dddddddd-0000-4000-8000-%012d", code), ObjectID: "x", Secret: marker, RefusedWith: code}
		a.Directory.Register(p)
		c := inEnvironment(t, a, nil, map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": p.ClientID, "AZURE_CLIENT_SECRET": marker})
		_, err := token(t, c)
		assert.Equal(t, fault.Unauthenticated, fault.KindOf(err), "%d: %v", code, err)
		assert.Contains(t, fault.CauseOf(err), want[0])
		assert.Contains(t, fault.CauseOf(err), "(AADSTS"+strconv.Itoa(code)+")")
		assert.Contains(t, fault.NextStepOf(err), want[1])
		assert.NotContains(t, err.Error(), marker)
	}
}

func TestEntraIDThatIsBusyOrOutOfOrderHasANextStep(t *testing.T) {
	a := azuretest.Start(t)
	asJSON := http.Header{"Content-Type": {"application/json"}, "Retry-After": {"31536000"}}
	for status, kind := range map[int]fault.Kind{429: fault.Throttled, 500: fault.Unavailable, 503: fault.Unavailable} {
		err := signIn(t, secretOf(t, a, "s"), says{status: status, header: asJSON, body: `{"error":"temporarily_unavailable"}`})
		assert.Equal(t, kind, fault.KindOf(err), "%v", err)
		assert.LessOrEqual(t, fault.RetryAfter(err), limits.VaultRetryAfter)
		assert.Contains(t, fault.NextStepOf(err), "retries")
		if kind == fault.Throttled {
			assert.Equal(t, limits.VaultRetryAfter, fault.RetryAfter(err))
		}
	}
}

func TestSeveralIdentitiesOfANodeHaveToBeToldApart(t *testing.T) {
	a := azuretest.Start(t)
	const several = `{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"}`
	asJSON := http.Header{"Content-Type": {"application/json"}}
	err := signIn(t, inEnvironment(t, a, nil, nil), says{status: 400, header: asJSON, body: several})
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	assert.Contains(t, fault.CauseOf(err), "several user-assigned identities")
	assert.Contains(t, fault.NextStepOf(err), "set AZURE_CLIENT_ID to the client id")
	assert.Contains(t, fault.NextStepOf(err), `azure.workload.identity/use: "true"`)
	err = signIn(t, config(t, a, `{"useManagedIdentityExtension":true}`), says{status: 400, header: asJSON, body: several})
	assert.Contains(t, fault.NextStepOf(err), "set userAssignedIdentityID in azure.json")
	assert.NotContains(t, fault.NextStepOf(err), "workload", "the cluster's own identity was meant")
}

func TestAForgottenLabelIsNamed(t *testing.T) {
	a := azuretest.Start(t)
	notFound := says{status: 400, header: http.Header{"Content-Type": {"application/json"}}, body: `{"error":"invalid_request","error_description":"Identity not found"}`}
	err := signIn(t, nobodys(t, a, 1), notFound)
	assert.Contains(t, fault.NextStepOf(err), `the pod needs the label azure.workload.identity/use: "true"`)
	annotated := inEnvironment(t, a, nil, map[string]string{"AKV2K8S_SERVICE_ACCOUNT_CLIENT_ID": "x"})
	err = signIn(t, annotated, notFound)
	assert.Contains(t, fault.NextStepOf(err), `has the annotation azure.workload.identity/client-id, but the pod has no token for it: set podLabels to {azure.workload.identity/use: "true"}`)
	assert.NotEmpty(t, annotated.WorkloadIdentityHint(), "it is for what vaults answer, too")
	for name, chosen := range map[string]credential.Config{"a secret": secretOf(t, a, "s"), "the cluster's identity": config(t, a, "{}"),
		"a token": inEnvironment(t, a, nil, map[string]string{"AZURE_FEDERATED_TOKEN_FILE": "/token"})} {
		assert.Empty(t, chosen.WorkloadIdentityHint(), name)
	}
}

func TestBlanksAndNewlinesAreTakenFromIDsAndNamedInSecrets(t *testing.T) {
	a := azuretest.Start(t)
	ok := inEnvironment(t, a, nil, map[string]string{"AZURE_TENANT_ID": azuretest.Tenant + "\n", "AZURE_CLIENT_ID": " " + azuretest.AppClientID + "\r\n", "AZURE_CLIENT_SECRET": a.AppSecret})
	_, err := token(t, ok)
	require.NoError(t, err)
	// the SDK shares the tokens of managed identities in the whole process
	const own = "eeeeeeee-0000-4000-9000-000000000001"
	a.Directory.Register(entra.Principal{Name: "own", ClientID: own, ObjectID: "x", ManagedIdentity: "user"})
	_, err = token(t, inEnvironment(t, a, nil, map[string]string{"AZURE_CLIENT_ID": own + "\n"}))
	require.NoError(t, err)
	file := fmt.Sprintf(`{"tenantId":"%s\n","aadClientId":"%s\n","aadClientSecret":"%s"}`, azuretest.Tenant, azuretest.AppClientID, a.AppSecret)
	_, err = token(t, config(t, a, file))
	require.NoError(t, err)

	for _, end := range []string{"\n", " ", "\r\n", "\t"} {
		_, err = token(t, secretOf(t, a, a.AppSecret+end))
		assert.Contains(t, fault.CauseOf(err), "the client secret is wrong")
		assert.Contains(t, fault.NextStepOf(err), "AZURE_CLIENT_SECRET begins or ends with a blank or a newline")
		assert.NotContains(t, err.Error(), a.AppSecret)
	}
	_, err = token(t, secretOf(t, a, "wrong"))
	assert.NotContains(t, err.Error(), "newline")
	user := inEnvironment(t, a, nil, map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_USERNAME": "u\n", "AZURE_PASSWORD": "p\n"})
	_, err = token(t, user)
	assert.Contains(t, fault.NextStepOf(err), "AZURE_PASSWORD begins or ends")
	certs := certificates(t)
	_, err = credential.New(inEnvironment(t, a, certs.files, map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c",
		"AZURE_CERTIFICATE_PATH": "/modern.pfx\n", "AZURE_CERTIFICATE_PASSWORD": password + "\n"}))
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.Contains(t, fault.NextStepOf(err), "AZURE_CERTIFICATE_PASSWORD begins or ends with a blank or a newline")
	_, err = credential.New(inEnvironment(t, a, certs.files, map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c",
		"AZURE_CERTIFICATE_PATH": "/modern.pfx\n", "AZURE_CERTIFICATE_PASSWORD": password}))
	assert.NoError(t, err)
}

func TestACertificateWithAnotherKeyThanRSAIsRefused(t *testing.T) {
	a := azuretest.Start(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, key := range map[string]crypto.Signer{"an EC (P-256) key": ec, "an Ed25519 key": ed} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		require.NoError(t, err)
		private, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		files := disk{"/app.pem": asPEM("CERTIFICATE", der) + asPEM("PRIVATE KEY", private)}
		_, err = credential.New(inEnvironment(t, a, files, map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID, "AZURE_CERTIFICATE_PATH": "/app.pem"}))
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
		assert.Contains(t, fault.CauseOf(err), name)
		assert.Contains(t, fault.CauseOf(err), "Entra ID accepts only RSA keys")
		assert.Contains(t, fault.NextStepOf(err), "RSA")
	}
}

func TestTenantAndClientAloneSayWhatToSet(t *testing.T) {
	a := azuretest.Start(t)
	_, err := credential.New(inEnvironment(t, a, nil, map[string]string{"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}))
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.Contains(t, fault.CauseOf(err), "incomplete")
	assert.Contains(t, fault.NextStepOf(err), "for a managed identity, which akv2k8s 1.8 used here, remove AZURE_TENANT_ID and keep AZURE_CLIENT_ID")
	assert.Contains(t, fault.NextStepOf(err), `azure.workload.identity/use: "true"`)
}

func TestFilesThatAreTooLargeAreRefused(t *testing.T) {
	a := azuretest.Start(t)
	files := disk{"/large": strings.Repeat("x", limits.CredentialFileBytes+1)}
	app := map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID}
	app["AZURE_CERTIFICATE_PATH"] = "/large"
	_, err := credential.New(inEnvironment(t, a, files, app))
	assert.ErrorContains(t, err, "larger than 1 MiB")
	delete(app, "AZURE_CERTIFICATE_PATH")
	app["AZURE_FEDERATED_TOKEN_FILE"] = "/large"
	_, err = token(t, inEnvironment(t, a, files, app))
	assert.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	assert.ErrorContains(t, err, "larger than 1 MiB")
}

func FuzzSignInAnswers(f *testing.F) {
	f.Add(uint16(400), `{"error":"invalid_client","error_description":"AADSTS7000215: wrong","error_codes":[7000215]}`, "1")
	f.Add(uint16(200), `{"access_token":"t","expires_in":3600,"token_type":"Bearer"}`, "")
	f.Add(uint16(400), `{"error_codes":[-1]}`, "-1")
	f.Add(uint16(429), `<html>`, "99999999999999999999")
	f.Fuzz(func(t *testing.T, status uint16, body, wait string) {
		if status < 200 || status > 599 || len(body)+len(wait) > 32<<10 {
			return // too long for fuzzing, or not a valid HTTP response
		}
		var reply string
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 4 << 20, PerByte: 200}, len(body), func() {
			reply = credential.ReplyErrorCode(t.Context(), says{status: int(status), body: body, header: http.Header{"Retry-After": {wait}, "Date": {"Sat, 28 Nov 2026 12:00:00 GMT"}}}.RoundTrip)
		})
		if len(reply) > 80 {
			t.Errorf("the code is %q", reply)
		}
	})
}
