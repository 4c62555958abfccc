package vaultclient

import (
	"cmp"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// RateLimits are the maximum calls in ten seconds by all readers of the installation together. A zero field selects the
// default, for Readers one.
type RateLimits struct {
	// Vault limits the calls to one vault, Subscription the calls to all vaults, as if they shared a subscription and
	// region.
	Vault, Subscription int
	// Readers is the number of processes that share the limits.
	Readers int
}

// The defaults are ten percent below the limits that Azure documents: 4,000 calls for a vault, and five times that for
// a subscription and region.
const (
	DefaultVaultLimit        = 3600
	DefaultSubscriptionLimit = 18000
)

// VaultFallbacks maps the name of a vault to the name of its fallback vault.
type VaultFallbacks map[string]string

var vaultNamePattern = regexp.MustCompile(`^[a-z0-9-]{3,24}$`)

// Add parses VAULT=FALLBACK, the value of a flag, and adds it.
func (f *VaultFallbacks) Add(text string) error {
	name, other, _ := strings.Cut(strings.ToLower(text), "=")
	if !vaultNamePattern.MatchString(name) || !vaultNamePattern.MatchString(other) || name == other {
		return fault.NewWithNextStep(fault.Invalid, "write two vault names as VAULT=FALLBACK; see the value vaults",
			"%q is not a valid vault fallback", text)
	}
	if *f == nil {
		*f = VaultFallbacks{}
	}
	(*f)[name] = other
	return nil
}

// newRateLimiter returns the rate limiter for this process's share of the limits.
func (c Config) newRateLimiter() (*ratelimit.Limiter, error) {
	l := c.RateLimits
	if l.Vault < 0 || l.Subscription < 0 || l.Readers < 0 {
		return nil, fault.NewWithNextStep(fault.Invalid, "check the values under vaultLimits",
			"vault limits must not be negative")
	}
	part := func(limit, otherwise int) int { return max(cmp.Or(limit, otherwise)/max(l.Readers, 1), 2) }
	config := ratelimit.Config{Clock: time.Now, VaultLimit: part(l.Vault, DefaultVaultLimit),
		TotalLimit: part(l.Subscription, DefaultSubscriptionLimit), MaxConcurrent: limits.CallsPerVault}
	if c.Observer != nil {
		config.RecordWait = c.Observer.RecordWait
	}
	return ratelimit.New(config)
}

// rateLimitedTransport rate-limits each request to a vault, including pages of lists, requests that receive a 401, and
// retries of the SDK. Token requests use another transport, so a slow identity service does not use up the slots of a
// vault.
type rateLimitedTransport struct {
	policy.Transporter
	limiter *ratelimit.Limiter
}

// Do implements policy.Transporter.
func (g rateLimitedTransport) Do(request *http.Request) (*http.Response, error) {
	leave, err := g.limiter.Acquire(request.Context(), vaultNameOf(request))
	if err != nil {
		return nil, unsentError{err}
	}
	var answer ratelimit.Response
	defer func() { leave(answer) }()
	response, err := g.Transporter.Do(request)
	if err == nil {
		answer = ratelimit.Response{Status: response.StatusCode, RetryAfter: azure.RetryAfter(response)}
	}
	return response, err
}

func vaultNameOf(request *http.Request) string {
	vault, _, _ := strings.Cut(request.URL.Hostname(), ".")
	return strings.ToLower(vault)
}

// unsentError is the error of a request that was not sent. The SDK does not retry it.
type unsentError struct{ error }

// NonRetriable marks the error for the SDK.
func (unsentError) NonRetriable() {}

// Unwrap returns the error of the rate limiter.
func (u unsentError) Unwrap() error { return u.error }
