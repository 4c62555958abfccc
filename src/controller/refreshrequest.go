package controller

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"time"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/schedule"
	"github.com/akv2k8s/akv2k8s/src/controller/state"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// plainRequestPattern matches values of the annotation that go into the status unchanged.
var plainRequestPattern = regexp.MustCompile(`^[-_.:+a-zA-Z0-9]+$`)

// refreshRequest returns the value of the annotation that requests a refresh, as the status shows it: unchanged, or its
// SHA-256 if it is long or has unusual characters. It is empty without a request.
func refreshRequest(resource *v2beta1.AzureKeyVaultSecret) string {
	value := resource.Annotations[wire.AnnotationRefresh]
	if value == "" || len(value) <= limits.RefreshRequestBytes && plainRequestPattern.MatchString(value) {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// openRequest returns the request that the vault has not answered; empty if there is none. The status in the cache can
// be older than what is remembered.
func openRequest(resource *v2beta1.AzureKeyVaultSecret, last state.Resource) string {
	done := resource.Status.Refresh
	if last.Synced && last.UID == resource.UID {
		done = last.Refresh.Done
	}
	if asked := refreshRequest(resource); asked != done {
		return asked
	}
	return ""
}

// timeToRequestedRefresh returns how long a new request must wait, so that a resource causes at most one such refresh a
// second, and a namespace only a part of those of all. Without a new request, isNew is false: a request for which the
// vault did not answer is retried like any failure.
func (s *resourceSync) timeToRequestedRefresh() (wait time.Duration, isNew bool) {
	if s.request == "" || s.request == s.last.Refresh.Tried {
		return 0, false
	}
	wait = s.last.Refresh.TriedAt.Add(limits.RefreshRequestInterval).Sub(s.Clock())
	if wait <= 0 && !s.requests.Allow(s.resource.Namespace) {
		wait = schedule.AddJitter(s.resource.UID, limits.RefreshRequestInterval)
	}
	return wait, true
}

// beginRequestedRefresh remembers that the vault is called for the request.
func (s *resourceSync) beginRequestedRefresh() {
	if s.request == "" {
		return
	}
	s.last.Refresh.Tried, s.last.Refresh.TriedAt = s.request, s.Clock()
	s.last = s.state.Put(s.name, s.last)
}

// answeredRequest returns the last request that the vault has answered: the current one, unless the vault did not
// answer and is called again.
func (s *resourceSync) answeredRequest() string {
	if s.request != "" && !fault.KindOf(s.err).IsTransient() {
		return s.request
	}
	if s.last.Synced && s.last.UID == s.resource.UID {
		return s.last.Refresh.Done
	}
	return s.resource.Status.Refresh
}
