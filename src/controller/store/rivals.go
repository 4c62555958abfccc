package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// rivals are the other resources with fields in an output, and the uids of owners that no longer exist. The resources
// can be objects of the cache and must not be changed.
type rivals struct {
	elder, younger []*v2beta1.AzureKeyVaultSecret
	// gone holds the uids of owners that no longer exist.
	gone []string
}

// others returns the other owners of the object. Most outputs have a single owner and need no lookup.
func (s *Store) others(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, live output.Live) (rivals, error) {
	r := rivals{gone: output.Others(live, OwnerOf(resource))}
	// With OBJECT_LABELS the cache holds only some of the resources, and it can be stale. An owner that the cache does
	// not have is therefore looked up at the API server. While the object still has the 1.8 entry, only the API server
	// is read: if the entry were removed too early, a resource that has just begun to use the output would lose its
	// key.
	readers := []client.Reader{s.Client, s.Live}
	if output.IsLegacy(live) {
		readers = readers[1:]
	}
	for _, from := range readers {
		if len(r.gone) == 0 {
			break
		}
		var all v2beta1.AzureKeyVaultSecretList
		if err := from.List(ctx, &all, client.InNamespace(resource.Namespace),
			client.UnsafeDisableDeepCopy); err != nil {
			return r, fmt.Errorf("listing the AzureKeyVaultSecrets of %s: %w", resource.Namespace, err)
		}
		r.find(all.Items, resource)
	}
	return r, nil
}

// find sorts existing owners into older and younger ones, and removes them from the uids of owners that no longer
// exist.
func (r *rivals) find(all []v2beta1.AzureKeyVaultSecret, resource *v2beta1.AzureKeyVaultSecret) {
	for i := range all {
		other := &all[i]
		at := slices.Index(r.gone, string(other.UID))
		if at < 0 {
			continue
		}
		r.gone = slices.Delete(r.gone, at, at+1)
		if elder(other, resource) {
			r.elder = append(r.elder, other)
		} else {
			r.younger = append(r.younger, other)
		}
	}
}

// elder decides which of two resources keeps a data key. The result is the same on every replica and after every
// restart.
func elder(a, b *v2beta1.AzureKeyVaultSecret) bool {
	at, bt := a.CreationTimestamp.Truncate(time.Second), b.CreationTimestamp.Truncate(time.Second)
	if at.Equal(bt) {
		return a.UID < b.UID
	}
	return at.Before(bt)
}

// share rejects changes that are not possible while other resources use the object: adding an owner beyond the limit,
// recreating the object, and making it immutable, because then each resource in turn would recreate it.
func (r rivals) share(live output.Live, d output.Desired) error {
	if feeding := len(r.elder) + len(r.younger); feeding >= limits.ResourcesPerOutput &&
		!output.Applied(live, string(d.Owner.UID)) {
		return fault.New(fault.Conflict,
			"%s %q already gets data from %d AzureKeyVaultSecrets (limit %d); list several vault objects in "+
				"spec.data of one resource, or choose another name in spec.output", live.Kind, live.Name, feeding,
			limits.ResourcesPerOutput)
	}
	reason := output.Fixed(live, d)
	if reason == "" && d.Immutable && !live.Immutable {
		reason = "must become immutable"
	}
	if reason == "" {
		return nil
	}
	for _, other := range slices.Concat(r.elder, r.younger) {
		if feeds(other, live) || output.Applied(live, string(other.UID)) {
			return fault.New(fault.Conflict,
				"%s %q %s, but AzureKeyVaultSecret %q also writes to it; choose another name in spec.output",
				live.Kind, live.Name, reason, other.Name)
		}
	}
	return nil
}

// left returns the owners whose data can be deleted: this owner, and owners that no longer exist.
func (r rivals) left(owner output.Owner) []output.Owner {
	owners := []output.Owner{owner}
	for _, uid := range r.gone {
		owners = append(owners, output.Owner{UID: types.UID(uid)})
	}
	return owners
}

// yield leaves out the data keys that an older resource holds, and returns a conflict for them.
func (s *Store) yield(live output.Live, m *Made, others rivals) error {
	claims := output.Claims(live, m.Desired)
	var conflict error
	for _, other := range others.elder {
		keys := claims[string(other.UID)]
		if len(keys) == 0 {
			continue
		}
		m.Desired = m.Desired.Without(keys)
		conflict = fault.New(fault.Conflict,
			"%s %q already has the data key %s from AzureKeyVaultSecret %q, which is older; "+
				"choose another dataKey or name in spec.output", live.Kind, live.Name, strings.Join(keys, ", "),
			other.Name)
	}
	return conflict
}

// evict removes the data keys of owners that no longer exist. The garbage collector does not remove them, because the
// object still has another owner. Secrets of a type that can require these keys are skipped.
func (s *Store) evict(ctx context.Context, m *Made, live output.Live, others rivals) error {
	for _, uid := range others.gone {
		if live.Typed() || !output.Applied(live, uid) {
			continue
		}
		version, err := s.withdraw(ctx, live, output.Owner{UID: types.UID(uid)})
		if errors.Is(err, errGone) {
			return nil
		}
		if err != nil {
			return err
		}
		m.Version = version
	}
	return nil
}
