package azure_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

// anyToken is a credential that returns a token for every request.
type anyToken struct{}

func (anyToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "t", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// scripted is a vault that returns the same response to every call after the challenge.
type scripted struct {
	status int
	header http.Header
	body   string
	calls  *int
}

func (s scripted) Do(request *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	if request.Header.Get("Authorization") == "" {
		recorder.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"`)
		recorder.WriteHeader(http.StatusUnauthorized)
	} else {
		*s.calls++
		for name, values := range s.header {
			recorder.Header()[name] = values
		}
		recorder.WriteHeader(s.status)
		_, _ = recorder.WriteString(s.body)
	}
	response := recorder.Result()
	response.Request = request
	return response, nil
}

// ofVault returns a reader of a scripted vault.
func ofVault(t *testing.T, s scripted) *azure.Fetcher {
	t.Helper()
	public, err := cloud.Parse("")
	require.NoError(t, err)
	v, err := azure.New(azure.Config{Credential: anyToken{}, Cloud: public, Transport: s})
	require.NoError(t, err)
	return v
}

// read reads an object within the time budget of a fuzz input, and checks what holds for every response.
func read(t *testing.T, s scripted, kind keyvault.Kind) {
	t.Helper()
	s.calls = new(int)
	ref := keyvault.Ref{Vault: "kv1", Kind: kind, Name: "db"}
	if kind.ItemKind() != "" {
		ref.Name = ""
	}
	var object keyvault.Object
	var err error
	fuzzbudget.Check(t, fuzzbudget.Budget{Time: 2 * time.Second, Bytes: 8 << 20, PerByte: 400}, len(s.body), func() {
		object, err = ofVault(t, s).Fetch(t.Context(), ref)
	})
	if err == nil {
		if object.Value.Len() > limits.VaultValueBytes || len(object.Entries) > limits.ListEntries {
			t.Error("the object is larger than it may be")
		}
		return
	}
	if kind := fault.KindOf(err); kind == fault.Bug || kind == "" {
		t.Errorf("the error has no kind: %v", err)
	}
	if fault.RetryAfter(err) > limits.VaultRetryAfter || fault.RetryAfter(err) < 0 {
		t.Errorf("the wait is %s", fault.RetryAfter(err))
	}
	if fault.NextStepOf(err) == "" || len(err.Error()) > 2000 {
		t.Errorf("no advice, or too much: %.3000s", err.Error())
	}
}

// isLong reports whether an input is too long for fuzzing; other tests cover the size limits.
func isLong(body string) bool { return len(body) > 64<<10 }

func FuzzVaultObjects(f *testing.F) {
	for _, body := range []string{`{"value":"v","id":"https://kv1.vault.azure.net/secrets/db/01","attributes":{"enabled":true,"exp":1,"nbf":99999999999999999}}`,
		`{"cer":"AAAA","id":"https://kv1.vault.azure.net/certificates/db/01"}`, `{"key":{"kid":"https://kv1.vault.azure.net/keys/db/01","kty":"RSA","n":"AQAB","e":"AQAB"}}`,
		`{"value":null,"id":""}`, `{"tags":{"a":null}}`, `[`, ``, `null`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if isLong(body) {
			return
		}
		for _, kind := range []keyvault.Kind{keyvault.KindSecret, keyvault.KindCertificate, keyvault.KindKey} {
			read(t, scripted{status: http.StatusOK, body: body}, kind)
		}
	})
}

func FuzzVaultLists(f *testing.F) {
	for _, body := range []string{`{"value":[{"id":"https://kv1.vault.azure.net/secrets/db","attributes":{"enabled":true}}],"nextLink":null}`, `{"value":[null]}`, `{}`,
		`{"value":[],"nextLink":"https://kv1.vault.azure.net/secrets?x=1"}`, `{"value":[{"kid":"https://kv1.vault.azure.net/keys/db"}],"nextLink":"http://evil"}`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if isLong(body) {
			return
		}
		for _, kind := range []keyvault.Kind{keyvault.KindSecretList, keyvault.KindCertificateList, keyvault.KindKeyList} {
			read(t, scripted{status: http.StatusOK, body: body}, kind)
		}
	})
}

func FuzzVaultErrors(f *testing.F) {
	f.Add(uint16(403), `{"error":{"code":"Forbidden","message":"oid=aaaaaaaa-0000-4000-8000-000000000002;","innererror":{"code":"ForbiddenByRbac"}}}`, "1")
	f.Add(uint16(401), `{"error":{"code":"Unauthorized","message":"AKV10032: Invalid issuer"}}`, "")
	f.Add(uint16(404), `{"error":{}}`, "Sun, 28 Nov 2027 12:00:00 GMT")
	f.Add(uint16(429), `<html>`, "99999999999999999999")
	f.Add(uint16(503), ``, "-1")
	f.Fuzz(func(t *testing.T, status uint16, body, wait string) {
		if isLong(body+wait) || status < 300 || status > 599 || strings.ContainsAny(wait, "\r\n") {
			return // no server can send it
		}
		read(t, scripted{status: int(status), body: body, header: http.Header{"Retry-After": {wait}, "Date": {"Sat, 28 Nov 2026 12:00:00 GMT"}}}, keyvault.KindSecret)
	})
}

func TestAListThatLacksSomethingOrNeverEndsIsAnError(t *testing.T) {
	const id = `"id":"https://kv1.vault.azure.net/secrets/db"`
	large := `{"id":"https://kv1.vault.azure.net/secrets/db","tags":{"t":"` + strings.Repeat("x", 2100) + `"}},`
	for name, c := range map[string]struct {
		body, says string
		calls      int
	}{
		"no value":                     {`{"nextLink":null}`, "incomplete", 1},
		"a value that is null":         {`{"value":null}`, "incomplete", 1},
		"an item that is null":         {`{"value":[null]}`, "incomplete", 1},
		"an item without an id":        {`{"value":[{"attributes":{"enabled":true}}]}`, "incomplete", 1},
		"a next page that is the same": {`{"value":[{` + id + `}],"nextLink":"https://kv1.vault.azure.net/secrets?x=1"}`, "repeats a page", 2},
		"empty pages for ever":         {`{"value":[],"nextLink":"https://kv1.vault.azure.net/secrets?x=1"}`, "repeats a page", 2},
		"another host":                 {`{"value":[],"nextLink":"https://evil.example/secrets"}`, "another host", 1},
		"another scheme":               {`{"value":[],"nextLink":"http://kv1.vault.azure.net/secrets"}`, "another host", 1},
		"too many items":               {`{"value":[` + strings.Repeat(`{`+id+`},`, limits.ListEntries) + `{` + id + `}]}`, "too long", 1},
		"too many bytes":               {`{"value":[` + strings.Repeat(large, 900) + `{` + id + `}],"nextLink":"https://kv1.vault.azure.net/secrets?x=PAGE"}`, "too long", 9},
		"too many pages":               {`{"value":[],"nextLink":"https://kv1.vault.azure.net/secrets?x=PAGE"}`, "too long", limits.ListPages + 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := paged{scripted{status: http.StatusOK, body: c.body, calls: new(int)}}
			public, err := cloud.Parse("")
			require.NoError(t, err)
			v, err := azure.New(azure.Config{Credential: anyToken{}, Cloud: public, Transport: s})
			require.NoError(t, err)
			_, err = v.Fetch(t.Context(), keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecretList})
			require.Equal(t, fault.Malformed, fault.KindOf(err), "%v", err)
			require.ErrorContains(t, err, c.says)
			require.NotEmpty(t, fault.NextStepOf(err))
			require.Equal(t, c.calls, *s.calls)
		})
	}
}

// paged replaces PAGE with the number of the call.
type paged struct{ scripted }

func (p paged) Do(request *http.Request) (*http.Response, error) {
	p.body = strings.ReplaceAll(p.body, "PAGE", time.Duration(*p.calls).String())
	return p.scripted.Do(request)
}
