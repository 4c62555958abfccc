package controller

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// sharedReadMaxAge is the maximum age of a value that another resource or a repair has just read. Without it, many
// resources with the same object, or two controllers that overwrite each other's output, would cause as many vault
// calls.
const sharedReadMaxAge = 10 * time.Second

// expandSearches replaces the searches of the recipe by items, using the vault's list of secrets.
func (c *Controller) expandSearches(ctx context.Context, namespace string, r recipe.Recipe) (recipe.Recipe, error) {
	if len(r.Searches) == 0 {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.FetchTimeout)
	defer cancel()
	ref := r.SecretListRef()
	ref.Identity = c.Identities.IdentityFor(namespace, r.Identity)
	list, err := c.Vault.Read(ctx, ref, c.maxAnswerAge(r))
	c.Metrics.CountVaultRead(err)
	if err != nil {
		return r, err
	}
	share := c.DecodePool.ForNamespace(namespace)
	found, err := share.Do(ctx, share.CacheKey("searches", r, list),
		func(ctx context.Context) (decodepool.Output, error) {
			expanded, err := decode.ExpandSearches(ctx, r, list.Entries)
			return decodepool.Output{Items: expanded.Items}, err
		})
	if err == nil {
		r.Items = found.Items
	}
	return r, err
}

// readPurpose returns the purpose of a read. The first sync of a resource, or of a new spec, has priority over
// refreshes.
func (c *Controller) readPurpose(resource *v2beta1.AzureKeyVaultSecret, r recipe.Recipe) keyvault.Purpose {
	p := keyvault.Purpose{Namespace: resource.Namespace, Priority: keyvault.PriorityRefresh}
	if resource.Status.LastAzureUpdate == nil || resource.Status.ObservedGeneration != resource.Generation {
		p.Priority = keyvault.PriorityFirstSync
	}
	if !r.IsReadOnce() {
		p.RefreshInterval = r.RefreshIntervalOr(c.RefreshInterval)
	}
	return p
}

// maxAnswerAge returns the maximum age of an answer of the vault.
func (c *Controller) maxAnswerAge(r recipe.Recipe) time.Duration {
	return min(sharedReadMaxAge, r.RefreshIntervalOr(c.RefreshInterval)/2)
}

// fetchObjects reads every object of the recipe. If reads fail, it returns the error of the first failed object in the
// order of the spec, so that the error is the same each time. It returns no objects then, because the output would be
// incomplete.
func (c *Controller) fetchObjects(ctx context.Context, namespace string, r recipe.Recipe) ([]decode.FetchedItem,
	error) {
	ctx, cancel := context.WithTimeout(ctx, c.FetchTimeout)
	defer cancel()
	contents, failures := make([]decode.FetchedItem, len(r.Items)), make([]error, len(r.Items))
	var group errgroup.Group
	group.SetLimit(limits.ParallelReads)
	for i, item := range r.Items {
		group.Go(func() error {
			ref := r.ItemRef(item, decode.KindForOutput(r, item))
			// The identity comes from the namespace's permissions, never from the resource alone.
			ref.Identity = c.Identities.IdentityFor(namespace, r.Identity)
			object, err := c.Vault.Read(ctx, ref, c.maxAnswerAge(r))
			c.Metrics.CountVaultRead(err)
			contents[i], failures[i] = decode.FetchedItem{Item: item, Object: object}, err
			return nil
		})
	}
	_ = group.Wait() // errors are evaluated below, in order
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	return contents, nil
}

func objectRefs(contents []decode.FetchedItem) (refs []keyvault.Ref) {
	for _, content := range contents {
		refs = append(refs, content.Object.Ref)
	}
	return refs
}

// firstExpiry returns the first expiry date of the objects; zero if no object expires.
func firstExpiry(contents []decode.FetchedItem) (first time.Time) {
	for _, content := range contents {
		if at := content.Object.Expires; !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}
