package broker

import (
	"context"
	"errors"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Keys and values in the user info of a service-account token that is bound to a pod.
const (
	extraPodName         = "authentication.kubernetes.io/pod-name"
	extraPodUID          = "authentication.kubernetes.io/pod-uid"
	serviceAccountPrefix = "system:serviceaccount:"
)

// caller is the pod that sent the request, as the TokenReview reports it.
type caller struct {
	Namespace, ServiceAccount, Pod string
	UID                            types.UID
}

// identifyPod authenticates the pod by its token, and checks that the pod is alive and that its namespace is enabled.
// Unauthenticated clients can trigger these calls of the API server, so they are limited by client address.
func (c *podRequest) identifyPod(ctx context.Context) (*corev1.Pod, error) {
	token := bearerToken(c.r)
	if token == "" {
		return nil, fault.New(fault.Unauthenticated,
			"the request has no service-account token; only the injector in a pod can call the auth service")
	}
	if !c.limiters.identificationRate.Allow(c.clientAddress) {
		return nil, throttledError("too many requests from address %s (its share of %s)", c.clientAddress,
			limits.Rate(limits.AuthIdentificationsPerSecond))
	}
	ctx, cancel := context.WithTimeout(ctx, limits.AuthIdentificationTime)
	defer cancel()
	err := c.limiters.identificationSlots.Acquire(ctx, c.clientAddress, 1)
	if err != nil {
		return nil, throttledError("too many concurrent requests from address %s (its share of %d)", c.clientAddress,
			limits.AuthIdentificationsAtOnce)
	}
	defer c.limiters.identificationSlots.Release(c.clientAddress, 1)
	if c.caller, err = c.reviewToken(ctx, token); err != nil {
		return nil, err
	}
	if err := c.acquirePodSlot(); err != nil {
		return nil, err
	}
	return c.readCallerPod(ctx)
}

// reviewToken reviews the token. It must have our audience and be bound to a pod. The API server rejects a token whose
// pod no longer exists.
func (b *Broker) reviewToken(ctx context.Context, token string) (caller, error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token,
		Audiences: []string{wire.TokenAudience}}}
	if err := b.Reviewer.Create(ctx, review); err != nil {
		// A proxy or the API server can quote the token in its error.
		cause := errors.New(strings.ReplaceAll(err.Error(), token, keyvault.Redacted))
		return caller{}, fault.Wrap(fault.Unavailable, cause, "reviewing the pod's token")
	}
	if !review.Status.Authenticated || !slices.Contains(review.Status.Audiences, wire.TokenAudience) {
		return caller{}, fault.New(fault.Unauthenticated,
			"the pod's token is not valid: it is expired or not yet valid by the clock of the API server, it is not "+
				"issued for audience %s, or its pod no longer exists; recreate the pod; if that does not help, "+
				"compare the clocks",
			wire.TokenAudience)
	}
	return callerOf(review.Status.User)
}

func callerOf(user authenticationv1.UserInfo) (caller, error) {
	account, ok := strings.CutPrefix(user.Username, serviceAccountPrefix)
	namespace, name, _ := strings.Cut(account, ":")
	pod, uid := user.Extra[extraPodName], user.Extra[extraPodUID]
	if !ok || namespace == "" || name == "" || len(pod) != 1 || len(uid) != 1 || pod[0] == "" || uid[0] == "" {
		return caller{}, fault.New(fault.Unauthenticated,
			"the token is not bound to a pod; use a token that the kubelet mounted into a pod")
	}
	return caller{Namespace: namespace, ServiceAccount: name, Pod: pod[0], UID: types.UID(uid[0])}, nil
}
