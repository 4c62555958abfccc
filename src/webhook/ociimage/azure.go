package ociimage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/containers/azcontainerregistry"
	"k8s.io/utils/lru"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// registryScope is the scope of tokens for Azure container registries, in every cloud.
const registryScope = "https://containerregistry.azure.net/.default"

// refreshTokenAge is how long a refresh token of a registry is reused. It is valid for three hours.
const refreshTokenAge = time.Hour

// registryLabel matches the label of a registry's host name before the suffix of the cloud.
var registryLabel = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]{3,100}$`)

// AzureRegistries exchanges Entra ID tokens of an identity for refresh tokens of Azure container registries.
type AzureRegistries struct {
	// Credential of the installation's identity.
	Credential azcore.TokenCredential
	// Suffix of the cloud's registries, for example azurecr.io.
	Suffix string
	// Transport makes the calls; see NewTransport.
	Transport http.RoundTripper
	Clock     func() time.Time

	tokens *lru.Cache
}

// NewAzureRegistries returns a with an empty token cache.
func NewAzureRegistries(a AzureRegistries) *AzureRegistries {
	a.tokens = lru.New(limits.ImageRegistryTokens)
	return &a
}

// HasRegistry reports whether the registry is an Azure container registry. Its whole host name must be one label and
// the suffix of the cloud, because anybody can own a name that only contains the suffix.
func (a *AzureRegistries) HasRegistry(registry string) bool {
	first, found := strings.CutSuffix(strings.ToLower(registry), "."+a.Suffix)
	return found && a.Suffix != "" && registryLabel.MatchString(first)
}

// refreshToken is a cached refresh token of a registry.
type refreshToken struct {
	token    string
	issuedAt time.Time
}

// RefreshToken returns a refresh token for the registry, from the cache if it is younger than refreshTokenAge. A status
// of the registry becomes the kind of the error.
func (a *AzureRegistries) RefreshToken(ctx context.Context, registry string) (string, error) {
	if value, ok := a.tokens.Get(registry); ok && a.Clock().Sub(value.(refreshToken).issuedAt) < refreshTokenAge {
		return value.(refreshToken).token, nil
	}
	access, err := a.Credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{registryScope}})
	if err != nil {
		return "", err
	}
	client, err := azcontainerregistry.NewAuthenticationClient("https://"+registry,
		&azcontainerregistry.AuthenticationClientOptions{
			ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: a.Transport,
				CheckRedirect: doNotFollowRedirects}, Retry: policy.RetryOptions{MaxRetries: 1,
				RetryDelay: 200 * time.Millisecond}}})
	if err != nil {
		return "", fault.Wrap(fault.Bug, err, "creating the client for the token exchange")
	}
	answer, err := client.ExchangeAADAccessTokenForACRRefreshToken(ctx,
		azcontainerregistry.PostContentSchemaGrantTypeAccessToken, registry,
		&azcontainerregistry.AuthenticationClientExchangeAADAccessTokenForACRRefreshTokenOptions{
			AccessToken: &access.Token,
		})
	var response *azcore.ResponseError
	switch {
	case errors.As(err, &response):
		refused := &fault.Error{Kind: kindOfStatus(response.StatusCode),
			Operation: "exchanging the identity's token at " + registry,
			Cause: fmt.Errorf("the registry answered %d %s", response.StatusCode,
				http.StatusText(response.StatusCode))}
		if refused.Kind == fault.Denied {
			refused.Next = "grant the role AcrPull on the registry to the identity of the env-injector"
		}
		return "", refused
	case err != nil:
		return "", err
	case answer.RefreshToken == nil || len(*answer.RefreshToken) > limits.ImageRegistryTokenBytes:
		return "", errMalformedAnswer
	}
	a.tokens.Add(registry, refreshToken{*answer.RefreshToken, a.Clock()})
	return *answer.RefreshToken, nil
}

// doNotFollowRedirects follows no redirect, because the body of the request holds the identity's token.
func doNotFollowRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
