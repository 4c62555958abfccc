package authservice

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

// requestLimiters are limits of the work for unauthenticated clients, divided among client addresses. The two steps of
// the protocol have separate limits, so that a client that can do only the first cannot use up the limit of the second.
type requestLimiters struct {
	requestSlots                          *fairshare.Pool
	lookupRate, validationRate, tokenRate *fairshare.RateLimiter
	// reportRate limits log lines and events about pods, by namespace. refusals limits log lines about rejected
	// requests, by address.
	reportRate, rejectionLogRate *fairshare.RateLimiter
}

func newRequestLimiters() requestLimiters {
	rate := func(perSecond int64) *fairshare.RateLimiter {
		return fairshare.NewRateLimiter(perSecond, time.Second, time.Now)
	}
	return requestLimiters{requestSlots: fairshare.NewPool(limits.V1RequestsAtOnce),
		lookupRate:     rate(limits.V1LookupsPerSecond),
		validationRate: rate(limits.V1StepsPerSecond),
		tokenRate:      rate(limits.V1StepsPerSecond), reportRate: rate(limits.V1ReportsPerSecond),
		rejectionLogRate: rate(limits.V1ReportsPerSecond)}
}

// acquireSlot waits until the limits allow a request of the address. leave releases its slot.
func (s *requestLimiters) acquireSlot(ctx context.Context, rate *fairshare.RateLimiter, from string) (leave func(),
	err error) {
	tooMany := fault.New(fault.Throttled, "too many requests of akv2k8s 1.8 pods from address %s", from)
	if rate.Wait(ctx, from) != nil || s.requestSlots.Acquire(ctx, from, 1) != nil {
		return nil, tooMany
	}
	return func() { s.requestSlots.Release(from, 1) }, nil
}

// podNameOf returns the pod that the path names. Errors do not quote an invalid name.
func podNameOf(r *http.Request) (types.NamespacedName, error) {
	namespace, pod := r.PathValue("namespace"), r.PathValue("pod")
	if len(namespace) > validation.DNS1123LabelMaxLength || len(pod) > validation.DNS1123SubdomainMaxLength ||
		validation.IsDNS1123Label(namespace) != nil || validation.IsDNS1123Subdomain(pod) != nil {
		return types.NamespacedName{}, fault.New(fault.Denied, "the path has no valid namespace and pod name")
	}
	return types.NamespacedName{Namespace: namespace, Name: pod}, nil
}

// secretNameOf returns the name of the Secret in the query, or "" if there is no valid one.
func secretNameOf(r *http.Request) string {
	if len(r.URL.RawQuery) > limits.V1QueryBytes {
		return ""
	}
	secret := r.URL.Query().Get("secret")
	if validation.IsDNS1123Subdomain(secret) != nil {
		return ""
	}
	return secret
}
