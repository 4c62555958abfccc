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

// rivals are the other resources that have something of an output, in the order of their age; gone are uids of which
// there is no resource. The resources may be the cache's own and are read only.
type rivals struct {
	elder, younger []*v2beta1.AzureKeyVaultSecret
	gone           []string
}

// others finds them. Most outputs have one owner, and cost no look.
func (s *Store) others(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, live output.Live) (rivals, error) {
	r := rivals{gone: output.Others(live, OwnerOf(resource))}
	// With OBJECT_LABELS the cache has a part of the resources, and it may be behind: one that is not in it is gone
	// only if the API server says so. To end the predecessor's share it does not do at all: whoever has just begun to
	// feed the output would lose its key.
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

// find moves those that exist out of gone.
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

// elder decides between two resources that claim one data key, the same way on every replica and after every restart.
func elder(a, b *v2beta1.AzureKeyVaultSecret) bool {
	at, bt := a.CreationTimestamp.Truncate(time.Second), b.CreationTimestamp.Truncate(time.Second)
	if at.Equal(bt) {
		return a.UID < b.UID
	}
	return at.Before(bt)
}

// share refuses what can't be done to an object that other resources feed too: to feed it where too many do, to make it
// anew, and to make it immutable, which would be made anew by each of them in turn.
func (r rivals) share(live output.Live, d output.Desired) error {
	if feeding := len(r.elder) + len(r.younger); feeding >= limits.ResourcesPerOutput &&
		!output.Applied(live, string(d.Owner.UID)) {
		return fault.New(fault.Conflict,
			"%s %q already gets data from %d AzureKeyVaultSecrets (limit %d); bring several objects with spec.data "+
				"of one, or choose another name in spec.output", live.Kind, live.Name, feeding,
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
				"%s %q %s, but AzureKeyVaultSecret %q feeds it too; choose another name in spec.output",
				live.Kind, live.Name, reason, other.Name)
		}
	}
	return nil
}

// left are the owners whose data nobody else misses: the one, and those that are gone.
func (r rivals) left(owner output.Owner) []output.Owner {
	owners := []output.Owner{owner}
	for _, uid := range r.gone {
		owners = append(owners, output.Owner{UID: types.UID(uid)})
	}
	return owners
}

// yield leaves out the data keys that an elder holds.
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

// evict takes what resources left behind that no longer exist: their keys would stay for ever, since the object has an
// owner that lives. Typed Secrets need their keys, and are left to the garbage collector.
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
