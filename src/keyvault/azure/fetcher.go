package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Config configures a Fetcher. Credential, Cloud and Transport are required.
type Config struct {
	Credential azcore.TokenCredential
	Cloud      cloud.Cloud
	Transport  policy.Transporter
	// ClientCache is the client cache that all users of the transport share; nil creates a new one.
	ClientCache *ClientCache
	// Clock returns the current time; nil selects time.Now.
	Clock func() time.Time
	// CanResolve reports whether the DNS resolves a host. It distinguishes a vault that does not exist from a DNS
	// failure; if it is nil, every name that does not resolve counts as a DNS failure.
	CanResolve func(ctx context.Context, host string) bool
	// Proxy returns the proxy of a request, for messages; can be nil.
	Proxy func(*http.Request) (*url.URL, error)
	// CredentialHint is appended to the advice if the vault rejects the identity; can be empty.
	CredentialHint string
}

// Fetcher reads objects and lists from any vault of the cloud.
type Fetcher struct {
	config     Config
	otherTypes otherTypeCache
}

var _ keyvault.Fetcher = (*Fetcher)(nil)

// New returns a Fetcher. It fails if the configuration is incomplete.
func New(c Config) (*Fetcher, error) {
	if err := fault.RequireFields("azure.New", map[string]bool{
		"Credential": c.Credential != nil, "Transport": c.Transport != nil, "Cloud": c.Cloud.VaultSuffix != "",
	}); err != nil {
		return nil, err
	}
	if c.ClientCache == nil {
		c.ClientCache = NewClientCache()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	c.Transport = limitedTransport{c.Transport}
	return &Fetcher{config: c}, nil
}

// limitedTransport limits the size of a response before the SDK reads it into memory.
type limitedTransport struct{ policy.Transporter }

// Do implements policy.Transporter.
func (t limitedTransport) Do(request *http.Request) (*http.Response, error) {
	response, err := t.Transporter.Do(request)
	if err == nil && response.Body != nil {
		response.Body = diagnosis.LimitBody(response.Body, limits.VaultAnswerBytes)
	}
	return response, err
}

// Fetch reads one object or list. Its errors are classified (package fault) and contain no value. Equal causes have
// equal texts.
func (v *Fetcher) Fetch(ctx context.Context, ref keyvault.Ref) (object keyvault.Object, err error) {
	var answer *http.Response
	// The SDK panics on some responses (such as a challenge without a tenant); this must not end the process.
	defer func() {
		if recover() != nil {
			e := diagnosis.Explain(diagnosis.Vault, http.StatusOK, "", v.messageFacts(ref))
			e.Operation, object, err = "reading "+ref.String(), keyvault.Object{}, e
		}
	}()
	err = v.withClient(policy.WithCaptureResponse(ctx, &answer), ref,
		func(ctx context.Context, c *cachedClient) (err error) {
			object, err = c.fetch(ctx, ref)
			return err
		})
	switch {
	case isObjectNotFound(err):
		return keyvault.Object{}, v.classifyNotFound(ctx, ref, err)
	case err != nil:
		return keyvault.Object{}, v.classifyError(ctx, err, ref, answer)
	}
	object.ResponseDate = responseDate(answer)
	return object, nil
}

// withClient calls do with the SDK client for the vault and type of ref.
func (v *Fetcher) withClient(ctx context.Context, ref keyvault.Ref,
	do func(context.Context, *cachedClient) error) (err error) {
	address, err := v.config.Cloud.VaultURL(ref.Vault)
	if err != nil {
		return err
	}
	at := endpoint{v, address, ref.Kind}
	if listed := ref.Kind.ItemKind(); listed != "" {
		at.kind = listed // objects and lists share a client, and so its challenge
	}
	client, first, err := v.config.ClientCache.acquireClient(at, v.newClient)
	if err != nil {
		return fault.Wrap(fault.Bug, err, "creating a client for vault "+ref.Vault)
	}
	answered := false
	defer func() {
		if first {
			close(client.firstCallDone)
		}
		v.config.ClientCache.releaseClient(client, answered)
	}()
	if !first {
		client.waitForFirstCall(ctx)
	}
	err = do(ctx, client)
	answered = hasResponse(err)
	return err
}

// hasResponse reports whether err means that the vault, or a proxy in its place, responded.
func hasResponse(err error) bool {
	var response *azcore.ResponseError
	return err == nil || errors.As(err, &response)
}

// responseDate returns the Date header of a response; zero if it is missing.
func responseDate(answer *http.Response) time.Time {
	if answer == nil {
		return time.Time{}
	}
	at, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// waitForFirstCall waits until the first call has ended, or until ctx ends; the caller's own call then fails.
func (c *cachedClient) waitForFirstCall(ctx context.Context) {
	select {
	case <-c.firstCallDone:
	case <-ctx.Done():
	}
}

// newClient creates the SDK client of an endpoint.
func (v *Fetcher) newClient(at endpoint) (*cachedClient, error) {
	host := strings.TrimPrefix(at.url, "https://")
	create, ok := clientConstructors()[at.kind]
	if !ok {
		return nil, fmt.Errorf("there is no client for objects of kind %q", at.kind)
	}
	return create(v, at.url, host)
}

// clientConstructors returns the function that creates the client of each kind of object.
func clientConstructors() map[keyvault.Kind]func(v *Fetcher, url, host string) (*cachedClient, error) {
	return map[keyvault.Kind]func(*Fetcher, string, string) (*cachedClient, error){
		keyvault.KindCertificate: (*Fetcher).newCertificateClient,
		keyvault.KindSecret:      (*Fetcher).newSecretClient,
		keyvault.KindKey:         (*Fetcher).newKeyClient,
	}
}

func (v *Fetcher) newCertificateClient(url, host string) (*cachedClient, error) {
	options := azcertificates.ClientOptions(v.clientOptions())
	sdk, err := azcertificates.NewClient(url, v.config.Credential, &options)
	client := certificateClient{sdk, host}
	return &cachedClient{fetch: client.fetchObject, hasVersions: client.hasVersions,
		getDeleted: client.getDeleted}, err
}

func (v *Fetcher) newSecretClient(url, host string) (*cachedClient, error) {
	options := v.clientOptions()
	sdk, err := azsecrets.NewClient(url, v.config.Credential, &options)
	client := secretClient{sdk, host}
	return &cachedClient{fetch: client.fetchObject, hasVersions: client.hasVersions,
		getDeleted: client.getDeleted}, err
}

func (v *Fetcher) newKeyClient(url, host string) (*cachedClient, error) {
	options := azkeys.ClientOptions(v.clientOptions())
	sdk, err := azkeys.NewClient(url, v.config.Credential, &options)
	client := keyClient{sdk, host}
	return &cachedClient{fetch: client.fetchObject, hasVersions: client.hasVersions,
		getDeleted: client.getDeleted}, err
}

func (v *Fetcher) clientOptions() azsecrets.ClientOptions {
	return azsecrets.ClientOptions{
		ClientOptions: azcore.ClientOptions{
			Transport: v.config.Transport,
			// 429 is not retried here, because the rate limiter decides when the vault is called again. Other errors
			// are retried once, after a short delay.
			Retry: policy.RetryOptions{MaxRetries: 1, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: time.Second,
				StatusCodes: []int{408, 500, 502, 503, 504}},
			Telemetry: policy.TelemetryOptions{ApplicationID: "akv2k8s"},
		},
		// The SDK compares the challenge with the known vault domains. The audience of a private cloud can differ from
		// its vault domain; VaultURL restricts the host there.
		DisableChallengeResourceVerification: v.config.Cloud.IsPrivate,
	}
}
