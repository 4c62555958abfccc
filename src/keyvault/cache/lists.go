package cache

import (
	"context"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// fetchConfirmed calls the vault. A list that lacks an entry of the cached list is read again before it replaces it,
// and so is one that has no cached list to be compared with, if its reader needs a confirmed list. An entry is dropped
// only if both lists lack it, so a truncated response does not remove keys from Secrets. confirmed is true for a list
// that was compared with another one.
func (c *Cache) fetchConfirmed(ctx context.Context, ref keyvault.Ref) (list keyvault.Object, confirmed bool,
	err error) {
	list, err = c.next.Fetch(ctx, ref)
	if err != nil || ref.Kind.ItemKind() == "" {
		return list, false, err
	}
	complete, compared := c.compareWithCached(list)
	if complete && (compared || !keyvault.PurposeOf(ctx).ConfirmList) {
		return list, compared, nil
	}
	again, err := c.next.Fetch(ctx, ref)
	if err != nil {
		return keyvault.Object{}, false, err
	}
	in := lowerCaseNames(again)
	for _, e := range list.Entries {
		if !in[strings.ToLower(e.Name)] {
			again.Entries = append(again.Entries, e)
		}
	}
	return again, true, nil
}

// compareWithCached reports whether a list has all entries of the cached list, and whether there is a cached list.
func (c *Cache) compareWithCached(list keyvault.Object) (complete, compared bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.results.get(list.Ref)
	if !ok || known.Err != nil {
		return true, false
	}
	in := lowerCaseNames(list)
	for name := range known.EntriesByName {
		if !in[name] {
			return false, true
		}
	}
	return true, true
}

func lowerCaseNames(list keyvault.Object) map[string]bool {
	names := make(map[string]bool, len(list.Entries))
	for _, e := range list.Entries {
		names[strings.ToLower(e.Name)] = true
	}
	return names
}
