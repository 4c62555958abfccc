package gateway

import (
	"cmp"
	"flag"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/governor"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Limits are Azure's, or lower ones: the most calls in ten seconds that all who read together may make. What is zero is
// the default, or one reader.
type Limits struct {
	// Vault is of one vault, Subscription of all vaults together, as if they were of one subscription and region.
	Vault, Subscription int
	// Readers are the processes that share them.
	Readers int
}

// The defaults are a tenth below what Azure documents: 4,000 for a vault, and five times that for a subscription and
// region.
const (
	vaultLimit        = 3600
	subscriptionLimit = 18000
)

// Flags make the limits settings of a program.
func (l *Limits) Flags(flags *flag.FlagSet) {
	flags.IntVar(&l.Vault, "vault-limit", vaultLimit,
		"the most calls of one vault in ten seconds, by all readers together")
	flags.IntVar(&l.Subscription, "subscription-limit", subscriptionLimit,
		"the most calls of all vaults in ten seconds, by all readers together")
	flags.IntVar(&l.Readers, "readers", 1, "processes of this installation that read vaults")
}

// Fallbacks are the vaults that stand in for others, by the others' names.
type Fallbacks map[string]string

// Flags make the fallbacks a setting of a program.
func (f *Fallbacks) Flags(flags *flag.FlagSet) {
	flags.Func("vault-fallback", "VAULT=OTHER: OTHER is read while VAULT is not available; may be repeated", f.add)
}

var vaultName = regexp.MustCompile(`^[a-z0-9-]{3,24}$`)

func (f *Fallbacks) add(text string) error {
	name, other, _ := strings.Cut(strings.ToLower(text), "=")
	if !vaultName.MatchString(name) || !vaultName.MatchString(other) || name == other {
		return fault.Advise(fault.Invalid, "write the names of two vaults as VAULT=OTHER, see the value vaults",
			"%q is no fallback", text)
	}
	if *f == nil {
		*f = Fallbacks{}
	}
	(*f)[name] = other
	return nil
}

// governor bounds this process's part of the calls.
func (c Config) governor() (*governor.Governor, error) {
	l := c.Limits
	if l.Vault < 0 || l.Subscription < 0 || l.Readers < 0 {
		return nil, fault.Advise(fault.Invalid, "see the values under vaultLimits", "limits of calls must be positive")
	}
	part := func(limit, otherwise int) int { return max(cmp.Or(limit, otherwise)/max(l.Readers, 1), 2) }
	config := governor.Config{Clock: time.Now, PerVault: part(l.Vault, vaultLimit),
		InAll: part(l.Subscription, subscriptionLimit), Parallel: limits.CallsPerVault}
	if c.Observer != nil {
		config.Waited = c.Observer.Waited
	}
	return governor.New(config)
}

// governed makes each request to a vault wait for its turn: pages of lists, requests that are answered 401, and what
// the SDK tries again. Requests for tokens go another way, so an identity service that does not answer takes no vault's
// turns.
type governed struct {
	policy.Transporter
	pace *governor.Governor
}

// Do implements policy.Transporter.
func (g governed) Do(request *http.Request) (*http.Response, error) {
	leave, err := g.pace.Enter(request.Context(), vaultOf(request))
	if err != nil {
		return nil, unsent{err}
	}
	var answer governor.Answer
	defer func() { leave(answer) }()
	response, err := g.Transporter.Do(request)
	if err == nil {
		answer = governor.Answer{Status: response.StatusCode, RetryAfter: azure.RetryAfter(response)}
	}
	return response, err
}

func vaultOf(request *http.Request) string {
	vault, _, _ := strings.Cut(request.URL.Hostname(), ".")
	return strings.ToLower(vault)
}

// unsent is the error of a request that was not made. The SDK does not try such a one again.
type unsent struct{ error }

// NonRetriable is what the SDK asks for.
func (unsent) NonRetriable() {}

// Unwrap gives what the governor said.
func (u unsent) Unwrap() error { return u.error }
