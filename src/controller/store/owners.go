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

// otherOwners are the other resources with fields in an output, and the uids of owners that no longer exist. The
// resources can be objects of the cache and must not be changed.
type otherOwners struct {
	older, younger []*v2beta1.AzureKeyVaultSecret
	// deletedUIDs holds the uids of owners that no longer exist.
	deletedUIDs []string
}

// findOtherOwners returns the other owners of the object. Most outputs have a single owner and need no lookup.
func (s *Store) findOtherOwners(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret,
	live output.Live) (otherOwners, error) {
	r := otherOwners{deletedUIDs: output.OtherOwnerUIDs(live, OwnerOf(resource))}
	// With OBJECT_LABELS the cache holds only some of the resources, and it can be stale. An owner that the cache does
	// not have is therefore looked up at the API server. While the object still has the 1.8 entry, only the API server
	// is read: if the entry were removed too early, a resource that has just begun to use the output would lose its
	// key.
	readers := []client.Reader{s.Client, s.APIReader}
	if output.HasV1Fields(live) {
		readers = readers[1:]
	}
	for _, from := range readers {
		if len(r.deletedUIDs) == 0 {
			break
		}
		var all v2beta1.AzureKeyVaultSecretList
		if err := from.List(ctx, &all, client.InNamespace(resource.Namespace),
			client.UnsafeDisableDeepCopy); err != nil {
			return r, fmt.Errorf("listing the AzureKeyVaultSecrets of %s: %w", resource.Namespace, err)
		}
		r.addExisting(all.Items, resource)
	}
	return r, nil
}

// addExisting sorts existing owners into older and younger ones, and removes them from the uids of owners that no
// longer exist.
func (r *otherOwners) addExisting(all []v2beta1.AzureKeyVaultSecret, resource *v2beta1.AzureKeyVaultSecret) {
	for i := range all {
		other := &all[i]
		at := slices.Index(r.deletedUIDs, string(other.UID))
		if at < 0 {
			continue
		}
		r.deletedUIDs = slices.Delete(r.deletedUIDs, at, at+1)
		if isOlder(other, resource) {
			r.older = append(r.older, other)
		} else {
			r.younger = append(r.younger, other)
		}
	}
}

// isOlder decides which of two resources keeps a data key. The result is the same on every replica and after every
// restart.
func isOlder(a, b *v2beta1.AzureKeyVaultSecret) bool {
	at, bt := a.CreationTimestamp.Truncate(time.Second), b.CreationTimestamp.Truncate(time.Second)
	if at.Equal(bt) {
		return a.UID < b.UID
	}
	return at.Before(bt)
}

// refuseShared rejects changes that are not possible while other resources use the object: adding an owner beyond the
// limit, recreating the object, and making it immutable, because then each resource in turn would recreate it.
func (r otherOwners) refuseShared(live output.Live, d output.Desired) error {
	if feeding := len(r.older) + len(r.younger); feeding >= limits.ResourcesPerOutput &&
		!output.HasFieldsOf(live, string(d.Owner.UID)) {
		return fault.New(fault.Conflict,
			"%s %q already gets data from %d AzureKeyVaultSecrets (limit %d); list several vault objects in "+
				"spec.data of one resource, or choose another name in spec.output", live.Kind, live.Name, feeding,
			limits.ResourcesPerOutput)
	}
	reason := output.RecreateReason(live, d)
	if reason == "" && d.Immutable && !live.Immutable {
		reason = "must become immutable"
	}
	if reason == "" {
		return nil
	}
	for _, other := range slices.Concat(r.older, r.younger) {
		if hasOutput(other, live) || output.HasFieldsOf(live, string(other.UID)) {
			return fault.New(fault.Conflict,
				"%s %q %s, but AzureKeyVaultSecret %q also writes to it; choose another name in spec.output",
				live.Kind, live.Name, reason, other.Name)
		}
	}
	return nil
}

// removableOwners returns the owners whose data can be deleted: this owner, and owners that no longer exist.
func (r otherOwners) removableOwners(owner output.Owner) []output.Owner {
	owners := []output.Owner{owner}
	for _, uid := range r.deletedUIDs {
		owners = append(owners, output.Owner{UID: types.UID(uid)})
	}
	return owners
}

// dropContestedKeys leaves out the data keys that an older resource holds, and returns a conflict for them.
func (s *Store) dropContestedKeys(live output.Live, m *Result, others otherOwners) error {
	claims := output.KeysOfOtherOwners(live, m.Desired)
	var conflict error
	for _, other := range others.older {
		keys := claims[string(other.UID)]
		if len(keys) == 0 {
			continue
		}
		m.Desired = m.Desired.WithoutKeys(keys)
		conflict = fault.New(fault.Conflict,
			"%s %q already has the data key %s from AzureKeyVaultSecret %q, which is older; "+
				"choose another dataKey or name in spec.output", live.Kind, live.Name, strings.Join(keys, ", "),
			other.Name)
	}
	return conflict
}

// removeOrphanedKeys removes the data keys of owners that no longer exist. The garbage collector does not remove them,
// because the object still has another owner. Secrets of a type that can require these keys are skipped.
func (s *Store) removeOrphanedKeys(ctx context.Context, m *Result, live output.Live, others otherOwners) error {
	for _, uid := range others.deletedUIDs {
		if live.IsTypedSecret() || !output.HasFieldsOf(live, uid) {
			continue
		}
		version, err := s.removeOwnerFields(ctx, live, output.Owner{UID: types.UID(uid)})
		if errors.Is(err, errObjectGone) {
			return nil
		}
		if err != nil {
			return err
		}
		m.ResourceVersion = version
	}
	return nil
}
