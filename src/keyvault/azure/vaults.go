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

// Config says as whom and how vaults are read. Credential, Cloud and Transport are required.
type Config struct {
	Credential azcore.TokenCredential
	Cloud      cloud.Cloud
	Transport  policy.Transporter
	// Clients are shared by all who read with the transport; nil for some of one's own.
	Clients *Clients
	// Clock tells the time; nil for the machine's.
	Clock func() time.Time
	// Resolves says whether the DNS knows another name. It tells a vault that does not exist from DNS that is out of
	// order; without it, every name that does not resolve is taken for the latter.
	Resolves func(ctx context.Context, host string) bool
	// Proxy is the proxy by which a request goes, for messages; may be nil.
	Proxy func(*http.Request) (*url.URL, error)
	// Hint is added to the advice when the identity is refused; may be empty.
	Hint string
}

// Vaults reads from any vault of the cloud.
type Vaults struct {
	config Config
	others otherTypes
}

// New checks the configuration.
func New(c Config) (*Vaults, error) {
	if c.Credential == nil || c.Transport == nil || c.Cloud.VaultSuffix == "" {
		return nil, errors.New("creating the vault reader: credential, cloud and transport are required")
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

// transport bounds every answer before the SDK reads it into memory.
type transport struct{ policy.Transporter }

// Do implements policy.Transporter.
func (t transport) Do(request *http.Request) (*http.Response, error) {
	response, err := t.Transporter.Do(request)
	if err == nil && response.Body != nil {
		response.Body = diagnosis.Bounded(response.Body, limits.VaultAnswerBytes)
	}
	return response, err
}

// Fetch reads one object. Errors are classified (package fault), say what to do, hold no value, and have the same text
// each time for the same cause.
func (v *Vaults) Fetch(ctx context.Context, ref keyvault.Ref) (object keyvault.Object, err error) {
	var answer *http.Response
	// The SDK panics on some answers (a challenge without a tenant); that must not end the process.
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

// with calls a function with the client of an object.
func (v *Vaults) with(ctx context.Context, ref keyvault.Ref, do func(context.Context, *client) error) (err error) {
	address, err := v.config.Cloud.VaultURL(ref.Vault)
	if err != nil {
		return err
	}
	at := endpoint{v, address, ref.Kind}
	if listed := ref.Kind.Listed(); listed != "" {
		at.kind = listed // one client for both: each asks once which token is wanted
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

// hasAnswer says whether a call that ended so was answered by the vault, or by what stands in for it.
func hasAnswer(err error) bool {
	var response *azcore.ResponseError
	return err == nil || errors.As(err, &response)
}

// date is when the vault answered, by its own clock; zero if it does not say.
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

// wait ends when the first call has, or with the context, which then ends the caller's own call too.
func (c *client) wait(ctx context.Context) {
	select {
	case <-c.opened:
	case <-ctx.Done():
	}
}

// open makes the SDK's client.
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
			// 429 is not retried here: whoever asks decides when, by what the vault says. The rest gets one quick
			// second chance.
			Retry: policy.RetryOptions{MaxRetries: 1, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: time.Second,
				StatusCodes: []int{408, 500, 502, 503, 504}},
			Telemetry: policy.TelemetryOptions{ApplicationID: "akv2k8s"},
		},
		// The SDK compares the challenge with the domains that it knows. A private cloud's audience need not be its
		// vaults' domain; there the host is bounded by VaultURL alone.
		DisableChallengeResourceVerification: v.config.Cloud.Private,
	}
}
