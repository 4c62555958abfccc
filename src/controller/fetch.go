package controller

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// fetchObjects reads every object of the recipe, unless the outputs hold the data already. If reads fail, it returns
// the error of the first failed object in the order of the spec, so that the error is the same each time. It sets no
// objects then, because the output would be incomplete.
func (s *resourceSync) fetchObjects(ctx context.Context) error {
	if err := s.VaultRules.CheckAccess(s.resource.Namespace, s.recipe.Vault); err != nil {
		return err
	}
	if isDone, err := s.reuseFirstRead(ctx); err != nil || isDone {
		return err
	}
	ctx = keyvault.WithPurpose(ctx, s.readPurpose())
	if len(s.recipe.Searches) > 0 {
		if err := s.expandSearches(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.FetchTimeout)
	defer cancel()
	return s.readItems(ctx)
}

// readItems reads the objects of all items.
func (s *resourceSync) readItems(ctx context.Context) error {
	items := s.recipe.Items
	contents, failures := make([]decode.FetchedItem, len(items)), make([]error, len(items))
	var group errgroup.Group
	group.SetLimit(limits.ParallelReads)
	var total atomic.Int64
	for i, item := range items {
		group.Go(func() error {
			if total.Load() > limits.SyncObjectsBytes {
				return nil
			}
			object, err := s.readItem(ctx, item)
			total.Add(int64(object.Value.Len()))
			contents[i], failures[i] = decode.FetchedItem{Item: item, Object: object}, err
			return nil
		})
	}
	_ = group.Wait() // errors are evaluated below, in order
	if total.Load() > limits.SyncObjectsBytes {
		return &fault.Error{Kind: fault.Malformed,
			Operation: fmt.Sprintf("the vault objects of the resource have more than %s together",
				limits.Bytes(limits.SyncObjectsBytes)),
			Next: "a Secret can hold 1 MiB; use several AzureKeyVaultSecrets with fewer objects"}
	}
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	s.contents = contents
	return nil
}

// readItem reads the object of an item. If only pods use the resource and the identity may not read the object by its
// first kind, it is read by the other one, as pods can do: with the rights for secrets alone, a certificate can be read
// with its key. That is remembered, so that later refreshes make one call.
func (s *resourceSync) readItem(ctx context.Context, item recipe.Item) (keyvault.Object, error) {
	kind, other := decode.KindForOutput(s.recipe, item), keyvault.Kind("")
	if s.isForPodsOnly() {
		other = decode.AlternativeKind(item)
	}
	if other != "" && s.last.Watch.ReadsAlternative {
		kind, other = other, kind
	}
	object, err := s.readVault(ctx, s.recipe.ItemRef(item, kind))
	if other == "" || fault.KindOf(err) != fault.Denied {
		return object, err
	}
	if object, otherErr := s.readVault(ctx, s.recipe.ItemRef(item, other)); otherErr == nil {
		return object, nil
	}
	return object, err
}

// readPurpose returns the purpose of a read. The first sync of a resource, or of a new spec, has priority over
// refreshes, and so has a requested refresh. The first read of a resource that only pods use has not, because no output
// waits for it.
func (s *resourceSync) readPurpose() keyvault.Purpose {
	p := keyvault.Purpose{Namespace: s.resource.Namespace, Priority: keyvault.PriorityRefresh}
	isFirst := s.resource.Status.LastAzureUpdate == nil || s.resource.Status.ObservedGeneration != s.resource.Generation
	if s.request != "" || isFirst && !s.isForPodsOnly() {
		p.Priority = keyvault.PriorityFirstSync
	}
	if !s.recipe.IsReadOnce() {
		p.RefreshInterval = s.recipe.RefreshIntervalOr(s.RefreshInterval)
	}
	return p
}

// sharedReadMaxAge is the maximum age of a value that another resource or a repair has just read. Without it, many
// resources with the same object, or two controllers that overwrite each other's output, would cause as many vault
// calls.
const sharedReadMaxAge = 10 * time.Second

// readVault reads a vault object. The identity comes from the namespace's permissions, never from the resource alone. A
// requested refresh accepts no cached value.
func (s *resourceSync) readVault(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	ref.Identity = s.Identities.IdentityFor(s.resource.Namespace, s.recipe.Identity)
	maxAge := min(sharedReadMaxAge, s.recipe.RefreshIntervalOr(s.RefreshInterval)/2)
	if s.request != "" {
		maxAge = 0
	}
	object, err := s.Vault.Read(ctx, ref, maxAge)
	s.Metrics.CountVaultRead(err)
	return object, err
}

// expandSearches replaces the searches of the recipe by items, using the vault's list of secrets. If the outputs exist,
// two lists must agree that a secret is absent before its key is removed, also after a restart.
func (s *resourceSync) expandSearches(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.FetchTimeout)
	defer cancel()
	purpose := keyvault.PurposeOf(ctx)
	purpose.ConfirmList = s.resource.Status.LastAzureUpdate != nil
	ctx = keyvault.WithPurpose(ctx, purpose)
	list, err := s.readVault(ctx, s.recipe.SecretListRef())
	if err != nil {
		return err
	}
	share := s.DecodePool.ForNamespace(s.resource.Namespace)
	found, err := share.Do(ctx, share.CacheKey("searches", s.recipe, list),
		func(ctx context.Context) (decodepool.Output, error) {
			expanded, err := decode.ExpandSearches(ctx, s.recipe, list.Entries)
			return decodepool.Output{Items: expanded.Items}, err
		})
	if err == nil {
		s.recipe.Items = found.Items
	}
	return err
}

// reuseFirstRead reports whether a resource that is read only once needs no read, and sets its outputs then.
func (s *resourceSync) reuseFirstRead(ctx context.Context) (isDone bool, err error) {
	switch {
	case !s.recipe.IsReadOnce() || s.request != "":
		return false, nil
	case s.isForPodsOnly():
		return s.isReadOnceDone(), nil
	}
	err = s.reuseOutputs(ctx)
	return s.outputs != nil, err
}

// isReadOnceDone reports whether the objects of a resource that only pods use, and that is read only once, were read
// with the current spec.
func (s *resourceSync) isReadOnceDone() bool {
	ready := meta.FindStatusCondition(s.resource.Status.Conditions, v2beta1.ConditionReady)
	return s.resource.Status.ValueHash != "" && ready != nil &&
		ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == s.resource.Generation
}

// reuseOutputs sets the outputs to the data that they already hold, for a resource that is read from the vault only
// once. So the vault is not read again after a restart, or when only labels change. The current spec must be synced,
// and the data must match the keyed hash in the status; otherwise the outputs are not set, and the vault is read.
func (s *resourceSync) reuseOutputs(ctx context.Context) error {
	ready := meta.FindStatusCondition(s.resource.Status.Conditions, v2beta1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != s.resource.Generation ||
		s.Hasher.UnavailableReason() != "" {
		return nil
	}
	owner := store.OwnerOf(s.resource)
	var outputs []store.Result
	matches := true
	for _, out := range s.recipe.Outputs {
		kind, err := output.KindNamed(out.Kind)
		if err != nil {
			return err
		}
		shown := kind.StatusFields(&s.resource.Status)
		data, err := s.store.OwnedData(ctx, output.Desired{Kind: kind, Name: *shown.Name, Owner: owner})
		if err != nil {
			return err
		}
		hash, err := s.Hasher.Hash(ctx, owner.UID, data)
		if err != nil {
			return err
		}
		desired, err := output.NewDesired(owner, out, data)
		if err != nil {
			return err
		}
		matches = matches && hash == *shown.Hash
		outputs = append(outputs, store.Result{Desired: desired, Hash: hash})
	}
	if matches {
		s.outputs = outputs
	}
	return nil
}

// objectRefs returns the vault objects that were read.
func (s *resourceSync) objectRefs() (refs []keyvault.Ref) {
	for _, content := range s.contents {
		refs = append(refs, content.Object.Ref)
	}
	return refs
}

// firstExpiry returns the first expiry date of the objects that the outputs hold; zero if no object expires. The status
// has it for outputs that were reused.
func (s *resourceSync) firstExpiry() (first time.Time) {
	if len(s.contents) == 0 && s.resource.Status.Expires != nil {
		return s.resource.Status.Expires.Time
	}
	for _, content := range s.contents {
		if at := content.Object.Expires; !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}
