package legacy

import (
	"context"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// shares are what strangers can make us do, since a client proves nothing here. Addresses share it, so that some is
// left for others; each of the two steps has its own, so that a client that can't do the second takes nothing of it by
// the first.
type shares struct {
	atOnce                       *fairshare.Pool
	lookups, validations, tokens *fairshare.Rate
	// reports are lines and events about pods, shared by namespaces; refusals are lines about refusals.
	reports, refusals *fairshare.Rate
}

func newShares() shares {
	rate := func(perSecond int64) *fairshare.Rate { return fairshare.NewRate(perSecond, time.Second, time.Now) }
	return shares{atOnce: fairshare.NewPool(limits.LegacyRequestsAtOnce), lookups: rate(limits.LegacyLookupsPerSecond),
		validations: rate(limits.LegacyStepsPerSecond),
		tokens:      rate(limits.LegacyStepsPerSecond), reports: rate(limits.LegacyReportsPerSecond),
		refusals: rate(limits.LegacyReportsPerSecond)}
}

// enter lets a request in when its address may have another one; leave ends it.
func (s *shares) enter(ctx context.Context, rate *fairshare.Rate, from string) (leave func(), err error) {
	tooMany := fault.New(fault.Throttled, "too many requests of pods of an older version from address %s", from)
	if rate.Wait(ctx, from) != nil || s.atOnce.Acquire(ctx, from, 1) != nil {
		return nil, tooMany
	}
	return func() { s.atOnce.Release(from, 1) }, nil
}

// nameOf is the pod that the path names. What can't be a name is not looked for, and not repeated.
func nameOf(r *http.Request) (types.NamespacedName, error) {
	namespace, pod := r.PathValue("namespace"), r.PathValue("pod")
	if len(namespace) > validation.DNS1123LabelMaxLength || len(pod) > validation.DNS1123SubdomainMaxLength ||
		validation.IsDNS1123Label(namespace) != nil || validation.IsDNS1123Subdomain(pod) != nil {
		return types.NamespacedName{}, fault.New(fault.Denied, "there can be no pod of that name")
	}
	return types.NamespacedName{Namespace: namespace, Name: pod}, nil
}

// secretOf is the Secret that the query names; empty if none can be.
func secretOf(r *http.Request) string {
	if len(r.URL.RawQuery) > limits.LegacyQueryBytes {
		return ""
	}
	secret := r.URL.Query().Get("secret")
	if validation.IsDNS1123Subdomain(secret) != nil {
		return ""
	}
	return secret
}
