package azure

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
)

// maxValueBytes bounds a value. Azure's own limit is 25 KB.
const maxValueBytes = 64 << 10

// Config says as whom and how vaults are read; every field is required.
type Config struct {
	Credential azcore.TokenCredential
	Cloud      cloud.Cloud
	Transport  policy.Transporter
}

// Vaults reads from any vault of the cloud. It keeps one client per vault and kind of object for the life of the process, because each new
// client starts with a request that is answered 401.
type Vaults struct {
	config  Config
	mu      sync.Mutex
	clients map[endpoint]*client
}

// endpoint is what the SDK has a client for.
type endpoint struct {
	url  string
	kind keyvault.Kind
}

// fetch reads one object of an endpoint; errors are the SDK's own, or classified without a word of what was read.
type fetch func(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error)

// client is of one endpoint.
type client struct {
	fetch fetch
	// opened is closed when the first call has ended. Until then others wait: each would be answered 401 as well, since the SDK learns only
	// from an answer which token the vault wants.
	opened chan struct{}
}

// New checks the configuration.
func New(c Config) (*Vaults, error) {
	if c.Credential == nil || c.Transport == nil || c.Cloud.VaultSuffix == "" {
		return nil, errors.New("creating the vault reader: credential, cloud and transport are required")
	}
	return &Vaults{config: c, clients: map[endpoint]*client{}}, nil
}

// Fetch reads one object. Errors are classified (package fault), say what to do, hold no value, and have the same text each time
// for the same cause.
func (v *Vaults) Fetch(ctx context.Context, ref keyvault.Ref) (object keyvault.Object, err error) {
	// The SDK panics on some answers (a challenge without a tenant); that must not end the process.
	defer func() {
		if recover() != nil {
			next, cause := nonsense()
			object, err = keyvault.Object{}, &fault.Error{Kind: fault.Unavailable, Doing: "reading " + ref.String(), Cause: cause, Next: next}
		}
	}()
	client, first, err := v.client(ref)
	if err != nil {
		return keyvault.Object{}, err
	}
	if first {
		defer close(client.opened)
	} else {
		client.wait(ctx)
	}
	var answer *http.Response
	if object, err = client.fetch(policy.WithCaptureResponse(ctx, &answer), ref); err != nil {
		return keyvault.Object{}, v.classify(err, ref)
	}
	object.Answered = date(answer)
	return object, nil
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

// client gives the client for an object, and says whether the caller is the first to use it.
func (v *Vaults) client(ref keyvault.Ref) (c *client, first bool, err error) {
	url, err := v.config.Cloud.VaultURL(ref.Vault)
	if err != nil {
		return nil, false, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	at := endpoint{url, ref.Kind}
	if listed := ref.Kind.Listed(); listed != "" {
		at.kind = listed // one client for both: each asks once which token is wanted
	}
	if known, ok := v.clients[at]; ok {
		return known, false, nil
	}
	read, err := v.open(at)
	if err != nil {
		return nil, false, fault.Wrap(fault.Bug, err, "creating a client for vault "+ref.Vault)
	}
	c = &client{fetch: read, opened: make(chan struct{})}
	v.clients[at] = c
	return c, true, nil
}

// open makes the SDK's client.
func (v *Vaults) open(at endpoint) (fetch, error) {
	host := strings.TrimPrefix(at.url, "https://")
	switch at.kind {
	case keyvault.KindCertificate:
		options := azcertificates.ClientOptions(v.options())
		c, err := azcertificates.NewClient(at.url, v.config.Credential, &options)
		return certificates{c, host}.fetch, err
	case keyvault.KindKey:
		options := azkeys.ClientOptions(v.options())
		c, err := azkeys.NewClient(at.url, v.config.Credential, &options)
		return keys{c, host}.fetch, err
	default:
		options := v.options()
		c, err := azsecrets.NewClient(at.url, v.config.Credential, &options)
		return secrets{c, host}.fetch, err
	}
}

func (v *Vaults) options() azsecrets.ClientOptions {
	return azsecrets.ClientOptions{
		ClientOptions: azcore.ClientOptions{
			Transport: v.config.Transport,
			// 429 is not retried here: whoever asks decides when, by what the vault says. The rest gets one quick second chance.
			Retry: policy.RetryOptions{MaxRetries: 1, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: time.Second,
				StatusCodes: []int{408, 500, 502, 503, 504}},
			Telemetry: policy.TelemetryOptions{ApplicationID: "akv2k8s"},
		},
		// The SDK compares the challenge with the domains that it knows. A private cloud's audience need not be its vaults' domain; there the
		// host is bounded by VaultURL alone.
		DisableChallengeResourceVerification: v.config.Cloud.Private,
	}
}
