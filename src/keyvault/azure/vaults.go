package azure

import (
	"context"
	"errors"
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
	// Clients is the client cache that all users of the transport share; nil creates a new one.
	Clients *Clients
	// Clock returns the current time; nil selects time.Now.
	Clock func() time.Time
	// Resolves reports whether the DNS resolves a host. It distinguishes a vault that does not exist from a DNS
	// failure; if it is nil, every name that does not resolve counts as a DNS failure.
	Resolves func(ctx context.Context, host string) bool
	// Proxy returns the proxy of a request, for messages; can be nil.
	Proxy func(*http.Request) (*url.URL, error)
	// Hint is appended to the advice if the vault rejects the identity; can be empty.
	Hint string
}

// Vaults reads objects and lists from any vault of the cloud.
type Vaults struct {
	config Config
	others otherTypes
}

// New returns a Fetcher. It fails if the configuration is incomplete.
func New(c Config) (*Vaults, error) {
	if c.Credential == nil || c.Transport == nil || c.Cloud.VaultSuffix == "" {
		return nil, errors.New("creating the vault client: credential, cloud and transport are required")
	}
	if c.Clients == nil {
		c.Clients = NewClients()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	c.Transport = transport{c.Transport}
	return &Vaults{config: c}, nil
}

// transport limits the size of a response before the SDK reads it into memory.
type transport struct{ policy.Transporter }

// Do implements policy.Transporter.
func (t transport) Do(request *http.Request) (*http.Response, error) {
	response, err := t.Transporter.Do(request)
	if err == nil && response.Body != nil {
		response.Body = diagnosis.Bounded(response.Body, limits.VaultAnswerBytes)
	}
	return response, err
}

// Fetch reads one object or list. Its errors are classified (package fault) and contain no value. Equal causes have
// equal texts.
func (v *Vaults) Fetch(ctx context.Context, ref keyvault.Ref) (object keyvault.Object, err error) {
	var answer *http.Response
	// The SDK panics on some responses (such as a challenge without a tenant); this must not end the process.
	defer func() {
		if recover() != nil {
			e := diagnosis.Explain(diagnosis.Vault, http.StatusOK, "", v.facts(ref))
			e.Doing, object, err = "reading "+ref.String(), keyvault.Object{}, e
		}
	}()
	err = v.with(policy.WithCaptureResponse(ctx, &answer), ref, func(ctx context.Context, c *client) (err error) {
		object, err = c.fetch(ctx, ref)
		return err
	})
	switch {
	case isMissing(err):
		return keyvault.Object{}, v.missing(ctx, ref, err)
	case err != nil:
		return keyvault.Object{}, v.classify(ctx, err, ref, answer)
	}
	object.Answered = date(answer)
	return object, nil
}

// with calls do with the SDK client for the vault and type of ref.
func (v *Vaults) with(ctx context.Context, ref keyvault.Ref, do func(context.Context, *client) error) (err error) {
	address, err := v.config.Cloud.VaultURL(ref.Vault)
	if err != nil {
		return err
	}
	at := endpoint{v, address, ref.Kind}
	if listed := ref.Kind.Listed(); listed != "" {
		at.kind = listed // objects and lists share a client, and so its challenge
	}
	client, first, err := v.config.Clients.acquire(at, v.open)
	if err != nil {
		return fault.Wrap(fault.Bug, err, "creating a client for vault "+ref.Vault)
	}
	answered := false
	defer func() {
		if first {
			close(client.opened)
		}
		v.config.Clients.release(client, answered)
	}()
	if !first {
		client.wait(ctx)
	}
	err = do(ctx, client)
	answered = hasAnswer(err)
	return err
}

// hasAnswer reports whether err means that the vault, or a proxy in its place, responded.
func hasAnswer(err error) bool {
	var response *azcore.ResponseError
	return err == nil || errors.As(err, &response)
}

// date returns the Date header of a response; zero if it is missing.
func date(answer *http.Response) time.Time {
	if answer == nil {
		return time.Time{}
	}
	at, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// wait waits until the first call has ended, or until ctx ends; the caller's own call then fails.
func (c *client) wait(ctx context.Context) {
	select {
	case <-c.opened:
	case <-ctx.Done():
	}
}

// open creates the SDK client of an endpoint.
func (v *Vaults) open(at endpoint) (*client, error) {
	host := strings.TrimPrefix(at.url, "https://")
	switch at.kind {
	case keyvault.KindCertificate:
		options := azcertificates.ClientOptions(v.options())
		c, err := azcertificates.NewClient(at.url, v.config.Credential, &options)
		return &client{fetch: certificates{c, host}.fetch, exists: certificates{c, host}.exists}, err
	case keyvault.KindKey:
		options := azkeys.ClientOptions(v.options())
		c, err := azkeys.NewClient(at.url, v.config.Credential, &options)
		return &client{fetch: keys{c, host}.fetch, exists: keys{c, host}.exists}, err
	default:
		options := v.options()
		c, err := azsecrets.NewClient(at.url, v.config.Credential, &options)
		return &client{fetch: secrets{c, host}.fetch, exists: secrets{c, host}.exists}, err
	}
}

func (v *Vaults) options() azsecrets.ClientOptions {
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
		DisableChallengeResourceVerification: v.config.Cloud.Private,
	}
}
