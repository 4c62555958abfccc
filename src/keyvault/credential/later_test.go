package credential_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// answering is a function that implements http.RoundTripper.
type answering func(*http.Request) (*http.Response, error)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func TestARefusalIsNotToldOfALaterSignInThatWasNotAnswered(t *testing.T) {
	a := azuretest.Start(t)
	c := secretOf(t, a, "s")
	var silent atomic.Bool
	c.Transport = &http.Client{Transport: answering(func(r *http.Request) (*http.Response, error) {
		if silent.Load() {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		return &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
			Body: io.NopCloser(strings.NewReader(`{"error":"invalid_client","error_description":"AADSTS7000215: wrong"}`))}, nil
	})}
	cred, err := credential.New(c)
	require.NoError(t, err)
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{c.Cloud.VaultScope}})
		return err
	}
	require.ErrorContains(t, ask(), "AADSTS7000215")
	silent.Store(true)
	err = ask()
	assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
	assert.NotContains(t, err.Error(), "AADSTS7000215")
}

func TestOnlyWhatIsACodeOfEntraIDIsShown(t *testing.T) {
	a := azuretest.Start(t)
	asJSON := http.Header{"Content-Type": {"application/json"}}
	for name, c := range map[string]struct{ body, shows string }{
		"a code in the description": {`{"error":"invalid_client","error_description":"AADSTS7000215: x"}`, "(AADSTS7000215)"},
		"a code in the list":        {`{"error":"invalid_client","error_description":"x","error_codes":[7000222]}`, "(AADSTS7000222)"},
		"a code of OAuth":           {`{"error":"invalid_client","error_description":"x"}`, "(invalid_client)"},
		"text in place of a code":   {`{"error":"` + marker + ` with words","error_description":"x"}`, "Entra ID rejected the sign-in"},
		"text before a code":        {`{"error":"` + marker + `","error_description":"` + marker + ` AADSTS7000215"}`, "Entra ID rejected the sign-in"},
	} {
		t.Run(name, func(t *testing.T) {
			// signIn checks that the marker is not shown
			err := signIn(t, secretOf(t, a, "s"), says{status: http.StatusUnauthorized, header: asJSON, body: c.body})
			assert.Contains(t, fault.CauseOf(err), c.shows)
		})
	}
}

// tells is a credential that returns an error or a token.
type tells struct {
	err   error
	asked *int
}

func (c tells) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	*c.asked++
	return azcore.AccessToken{Token: "t"}, c.err
}

func TestTheSecondIdentityIsTriedOnlyWhereTheFirstIsNotKnown(t *testing.T) {
	unknown, away := fault.New(fault.Unauthenticated, "not known"), fault.New(fault.Unavailable, "no answer")
	for name, c := range map[string]struct {
		first, second error
		says          error
		// the calls of each credential in two requests
		asks [2]int
	}{
		"the first works":             {nil, nil, nil, [2]int{2, 0}},
		"the first is not known":      {unknown, nil, nil, [2]int{1, 2}},
		"nobody answers":              {away, nil, away, [2]int{2, 0}},
		"neither is known":            {unknown, errors.New("nor is this"), unknown, [2]int{2, 2}},
		"the second does not answer":  {unknown, away, unknown, [2]int{2, 2}},
		"trouble that has no kind":    {errors.New("x"), nil, errors.New("x"), [2]int{2, 0}},
		"a first that works for both": {nil, unknown, nil, [2]int{2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var asks [2]int
			either := credential.NewCredentialPair(tells{c.first, &asks[0]}, tells{c.second, &asks[1]})
			for range 2 {
				_, err := either.GetToken(t.Context(), policy.TokenRequestOptions{})
				assert.Equal(t, c.says, err)
			}
			assert.Equal(t, c.asks, asks)
		})
	}
}

func TestAFileThatDidNotChangeCostsNoSignIn(t *testing.T) {
	a := azuretest.Start(t)
	now := time.Now()
	c := config(t, a, asJSON(t, map[string]any{"tenantId": azuretest.Tenant, "aadClientId": azuretest.AppClientID, "aadClientSecret": a.AppSecret}))
	c.Clock = func() time.Time { return now }
	requests, next := 0, a.Client.Transport
	c.Transport = &http.Client{Transport: answering(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost {
			requests++
		}
		return next.RoundTrip(r)
	})}
	cred, err := credential.New(c)
	require.NoError(t, err)
	for range 3 {
		_, err := cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{c.Cloud.VaultScope}})
		require.NoError(t, err)
		now = now.Add(11 * time.Second)
	}
	assert.Equal(t, 1, requests, "a credential that is made again has no token")
}

func TestAnIdentityBindingThatCannotWorkIsNamed(t *testing.T) {
	a := azuretest.Start(t)
	t.Setenv("AZURE_KUBERNETES_TOKEN_PROXY", "http://not-https.example")
	c := inEnvironment(t, a, disk{"/token": "t"}, map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID,
		"AZURE_FEDERATED_TOKEN_FILE": "/token", "AZURE_KUBERNETES_TOKEN_PROXY": "http://not-https.example"})
	_, err := credential.New(c)
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.ErrorContains(t, err, "the identity binding can't be used")
}
