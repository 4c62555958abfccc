package state

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Resource is what the controller remembers of a resource.
type Resource struct {
	// Synced is true after the first sync, whether it succeeded or failed. A sync that was deferred does not count.
	Synced bool
	// UID, Generation, Labels and Annotations are those of the resource at the last sync. The annotation that requests
	// a refresh is left out.
	UID                 types.UID
	Generation          int64
	Labels, Annotations map[string]string
	// Outputs are the outputs of the last sync.
	Outputs []Output
	// Objects are the vault objects that the last successful sync read; empty if it reused the outputs.
	Objects []keyvault.Ref
	// RefreshAt is the time of the next refresh or retry.
	RefreshAt time.Time
	// FailureKind is the kind of the last sync's error; empty after a success.
	FailureKind fault.Kind
	// FailureCount is the number of consecutive failures before the last one.
	FailureCount int
	// Restart is the restart of workloads that waits for its time.
	Restart Restart
	// SucceededAt is the end of the last successful sync; zero if there was none.
	SucceededAt time.Time
	// ExpiresAt is the first expiry date of the resource's vault objects; zero if no object expires.
	ExpiresAt time.Time
	// DeferredSince is the time since which the reads of the resource have been deferred; zero if they are not.
	DeferredSince time.Time
	// Claim is this process's claim on the resource.
	Claim Claim
	// Watch is about a resource that only pods use.
	Watch Watch
	// Refresh is the last requested refresh.
	Refresh RequestedRefresh
}

// Watch is what the controller remembers of a resource that only pods use.
type Watch struct {
	// FirstReadAt is the time of the first read by this process; zero if it has not been determined.
	FirstReadAt time.Time
	// ValueHash is the keyed hash of the objects, as in the status; empty before the first read.
	ValueHash string
	// ReadsAlternative is true if the identity may not read the objects by their first kind; see
	// decode.AlternativeKind.
	ReadsAlternative bool
}

// RequestedRefresh is what the controller remembers of the annotation that requests refreshes. The requests have at
// most limits.RefreshRequestBytes bytes or are hashes.
type RequestedRefresh struct {
	// Tried is the last request for which the vault was called, at TriedAt.
	Tried   string
	TriedAt time.Time
	// Done is the last request that the vault has answered.
	Done string
}

// Output is what the controller remembers of an output. It has no field for data: no secret data stays in memory after
// a sync.
type Output struct {
	Kind output.Kind
	Name string
	// Hash is the keyed hash of all its data.
	Hash string
	// ResourceVersion is the resourceVersion at which the output was last known to be in sync; empty if it was not
	// written because of a conflict.
	ResourceVersion string
	// CreatedAt is the creation time of an object that existed before the sync.
	CreatedAt time.Time
	// SoleOwner is true if no other resource had fields in the object at that resourceVersion.
	SoleOwner bool
	// Shared is true if the object also holds data of others.
	Shared bool
}

// Restart is a scheduled restart of workloads; zero means none.
type Restart struct {
	// ChangedAt is the time of the last change of the data.
	ChangedAt time.Time
	// PreviousVersion is the version of the data before the first change that it includes.
	PreviousVersion string
	// At is the time of the restart, or of the next attempt.
	At time.Time
	// Attempts is the number of attempts; a workload can have to wait.
	Attempts int
	// NeedsSlot is true if the last attempt found that other restarts must finish first.
	NeedsSlot bool
}

// Claim records that this process wrote its installation into the status of a resource. A different installation in the
// status after that belongs to a running process; one from before can be uninstalled.
type Claim struct {
	// UID is the uid of the resource when it was claimed.
	UID types.UID
	// ClaimedAt is the time of the claim; zero if this process has made none.
	ClaimedAt time.Time
	// Contested is true if another installation was found.
	Contested bool
}

// IsCurrentFor reports whether the resource was synced with its current uid, spec, labels and annotations.
func (r Resource) IsCurrentFor(resource *v2beta1.AzureKeyVaultSecret) bool {
	return r.Synced && r.UID == resource.UID && r.Generation == resource.Generation &&
		maps.Equal(r.Labels, resource.Labels) && maps.Equal(r.Annotations, AnnotationsOf(resource))
}

// AnnotationsOf returns the annotations of a resource without the one that requests a refresh, which can be large and
// change often.
func AnnotationsOf(resource *v2beta1.AzureKeyVaultSecret) map[string]string {
	if _, ok := resource.Annotations[wire.AnnotationRefresh]; !ok {
		return resource.Annotations
	}
	kept := maps.Clone(resource.Annotations)
	delete(kept, wire.AnnotationRefresh)
	return kept
}

// WakeTime returns the time of the next action: a refresh or a restart.
func (r Resource) WakeTime() time.Time {
	if !r.Restart.At.IsZero() && r.Restart.At.Before(r.RefreshAt) {
		return r.Restart.At
	}
	return r.RefreshAt
}
