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

// shares are limits of the work for unauthenticated clients, divided among client addresses. The two steps of the
// protocol have separate limits, so that a client that can do only the first cannot use up the limit of the second.
type shares struct {
	atOnce                       *fairshare.Pool
	lookups, validations, tokens *fairshare.Rate
	// reports limits log lines and events about pods, by namespace. refusals limits log lines about rejected requests,
	// by address.
	reports, refusals *fairshare.Rate
}

func newShares() shares {
	rate := func(perSecond int64) *fairshare.Rate { return fairshare.NewRate(perSecond, time.Second, time.Now) }
	return shares{atOnce: fairshare.NewPool(limits.LegacyRequestsAtOnce), lookups: rate(limits.LegacyLookupsPerSecond),
		validations: rate(limits.LegacyStepsPerSecond),
		tokens:      rate(limits.LegacyStepsPerSecond), reports: rate(limits.LegacyReportsPerSecond),
		refusals: rate(limits.LegacyReportsPerSecond)}
}

// enter waits until the limits allow a request of the address. leave releases its slot.
func (s *shares) enter(ctx context.Context, rate *fairshare.Rate, from string) (leave func(), err error) {
	tooMany := fault.New(fault.Throttled, "too many requests of akv2k8s 1.8 pods from address %s", from)
	if rate.Wait(ctx, from) != nil || s.atOnce.Acquire(ctx, from, 1) != nil {
		return nil, tooMany
	}
	return func() { s.atOnce.Release(from, 1) }, nil
}

// nameOf returns the pod that the path names. Errors do not quote an invalid name.
func nameOf(r *http.Request) (types.NamespacedName, error) {
	namespace, pod := r.PathValue("namespace"), r.PathValue("pod")
	if len(namespace) > validation.DNS1123LabelMaxLength || len(pod) > validation.DNS1123SubdomainMaxLength ||
		validation.IsDNS1123Label(namespace) != nil || validation.IsDNS1123Subdomain(pod) != nil {
		return types.NamespacedName{}, fault.New(fault.Denied, "the path has no valid namespace and pod name")
	}
	return types.NamespacedName{Namespace: namespace, Name: pod}, nil
}

// secretOf returns the name of the Secret in the query, or "" if there is no valid one.
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
