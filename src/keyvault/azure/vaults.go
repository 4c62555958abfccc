package azure

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
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

// Vaults reads from any vault of the cloud. It keeps one client per vault for the life of the process, because each new client
// starts with a request that is answered 401.
type Vaults struct {
	config  Config
	mu      sync.Mutex
	clients map[string]*client
}

// client is of one vault.
type client struct {
	*azsecrets.Client
	// opened is closed when the first call has ended. Until then others wait: each would be answered 401 as well, since the SDK learns only
	// from an answer which token the vault wants.
	opened chan struct{}
}

// New checks the configuration.
func New(c Config) (*Vaults, error) {
	if c.Credential == nil || c.Transport == nil || c.Cloud.VaultSuffix == "" {
		return nil, errors.New("creating the vault reader: credential, cloud and transport are required")
	}
	return &Vaults{config: c, clients: map[string]*client{}}, nil
}

// Fetch reads one object. Errors are classified (package fault), say what to do, hold no value, and have the same text each time
// for the same cause.
func (v *Vaults) Fetch(ctx context.Context, ref keyvault.Ref) (object keyvault.Object, err error) {
	// The SDK panics on some answers (a challenge without a tenant); that must not end the process.
	defer func() {
		if recover() != nil {
			object, err = keyvault.Object{}, &fault.Error{Kind: fault.Unavailable, Doing: "reading " + ref.String(),
				Cause: errors.New("the vault's answer makes no sense"), Next: "check what answers at the vault's address: a proxy or a wrong DNS entry"}
		}
	}()
	if ref.Kind != keyvault.KindSecret {
		return keyvault.Object{}, fault.New(fault.Invalid, "reading %s: a %s is not supported by this version yet", ref, ref.Kind)
	}
	client, first, err := v.client(ref.Vault)
	if err != nil {
		return keyvault.Object{}, err
	}
	if first {
		defer close(client.opened)
	} else {
		client.wait(ctx)
	}
	response, err := client.GetSecret(ctx, ref.Name, ref.Version, nil)
	if err != nil {
		return keyvault.Object{}, v.classify(err, ref)
	}
	return toObject(ref, response.Secret)
}

// wait ends when the first call has, or with the context, which then ends the caller's own call too.
func (c *client) wait(ctx context.Context) {
	select {
	case <-c.opened:
	case <-ctx.Done():
	}
}

// client gives the vault's client, and says whether the caller is the first to use it.
func (v *Vaults) client(vault string) (c *client, first bool, err error) {
	url, err := v.config.Cloud.VaultURL(vault)
	if err != nil {
		return nil, false, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if known, ok := v.clients[url]; ok {
		return known, false, nil
	}
	secrets, err := azsecrets.NewClient(url, v.config.Credential, v.options())
	if err != nil {
		return nil, false, fault.Wrap(fault.Bug, err, "creating a client for vault "+vault)
	}
	c = &client{Client: secrets, opened: make(chan struct{})}
	v.clients[url] = c
	return c, true, nil
}

func (v *Vaults) options() *azsecrets.ClientOptions {
	return &azsecrets.ClientOptions{
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

func toObject(ref keyvault.Ref, s azsecrets.Secret) (keyvault.Object, error) {
	if s.Value == nil || s.ID == nil {
		return keyvault.Object{}, fault.New(fault.Malformed, "reading %s: the vault's answer has no value or no id", ref)
	}
	if len(*s.Value) > maxValueBytes {
		return keyvault.Object{}, fault.New(fault.Malformed, "reading %s: the value has %d bytes, more than the %d that are allowed",
			ref, len(*s.Value), maxValueBytes)
	}
	object := keyvault.Object{Ref: ref, Version: s.ID.Version(), Value: keyvault.NewValue([]byte(*s.Value)), Tags: map[string]string{}}
	if s.ContentType != nil {
		object.ContentType = *s.ContentType
	}
	for name, value := range s.Tags {
		if value != nil {
			object.Tags[name] = *value
		}
	}
	if a := s.Attributes; a != nil {
		for _, t := range []struct {
			from *time.Time
			to   *time.Time
		}{{a.Updated, &object.Updated}, {a.NotBefore, &object.NotBefore}, {a.Expires, &object.Expires}} {
			if t.from != nil {
				*t.to = t.from.UTC()
			}
		}
	}
	return object, nil
}
