package cache

import (
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// The sources of a result, as used in metric labels: a new call, a new call that the fallback vault answered, an
// in-flight call of another reader, and the cache.
const (
	SourceVault    = "vault"
	SourceFallback = "fallback"
	SourceInFlight = "shared"
	SourceCache    = "memory"
)

// Result is the result of a call: an object or an error.
type Result struct {
	Ref    keyvault.Ref
	Object keyvault.Object
	Err    error
	// RequestedAt is the time at which the call began.
	RequestedAt time.Time
	// RefreshInterval is the refresh interval of the object; zero if it is not refreshed.
	RefreshInterval time.Duration
	// EntriesByName maps lower-case names to the entries of a list.
	EntriesByName map[string]keyvault.Entry
	// Source is the source of the result for the reader who gets it.
	Source string

	// isListConfirmed is true for a list that was compared with another one, so that no entry is missing by mistake.
	isListConfirmed bool
	// confirmedAt is the start of the last list call that confirmed the result; zero if no list did.
	confirmedAt time.Time
	// lastRefreshedAt is the time of the last refresh.
	lastRefreshedAt time.Time
	// cachedBytes is the size that the cache counts for the result.
	cachedBytes int
}

// indexEntries indexes the entries of a list by name.
func (a *Result) indexEntries() {
	if a.Err != nil || a.Ref.Kind.ItemKind() == "" {
		return
	}
	a.EntriesByName = make(map[string]keyvault.Entry, len(a.Object.Entries))
	for _, e := range a.Object.Entries {
		a.EntriesByName[strings.ToLower(e.Name)] = e
	}
}

// asOf returns the latest time for which the vault confirmed the result.
func (a *Result) asOf() time.Time {
	if a.confirmedAt.After(a.RequestedAt) {
		return a.confirmedAt
	}
	return a.RequestedAt
}

// resultOverheadBytes is the approximate memory of a cached result besides its content, in bytes.
const resultOverheadBytes = 512

func (a *Result) size() int {
	size := resultOverheadBytes + a.Object.Value.Len() + len(a.Object.ContentType)
	for _, e := range a.Object.Entries {
		size += 2 * e.Size() // in the list and in its index
	}
	for name, value := range a.Object.Tags {
		size += len(name) + len(value)
	}
	return size
}

// copyObject returns the object with its own copy of the value. The cache wipes its value when the result is removed.
func (a *Result) copyObject() keyvault.Object {
	object := a.Object
	if object.Value.Len() > 0 {
		content := object.Value.Reveal()
		object.Value = keyvault.NewValue(content)
		clear(content)
	}
	return object
}

// copyFrom returns a copy for a reader.
func (a *Result) copyFrom(source string) Result {
	given := *a
	given.Object, given.Source = a.copyObject(), source
	return given
}

// copyWithoutValue returns a copy for a caller that compares the dates of results.
func (a *Result) copyWithoutValue() Result {
	given := *a
	given.Object.Value = keyvault.Value{}
	return given
}
