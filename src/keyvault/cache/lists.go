package cache

import (
	"context"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// fetchConfirmed calls the vault. A list that lacks an entry of the cached list is read again before it replaces it. An
// entry is dropped only if both lists lack it, so a truncated response does not remove keys from Secrets.
func (c *Cache) fetchConfirmed(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	list, err := c.next.Fetch(ctx, ref)
	if err != nil || ref.Kind.ItemKind() == "" || !c.lacksCachedEntries(list) {
		return list, err
	}
	again, err := c.next.Fetch(ctx, ref)
	if err != nil {
		return keyvault.Object{}, err
	}
	in := lowerCaseNames(again)
	for _, e := range list.Entries {
		if !in[strings.ToLower(e.Name)] {
			again.Entries = append(again.Entries, e)
		}
	}
	return again, nil
}

// lacksCachedEntries reports whether a list lacks an entry of the cached list.
func (c *Cache) lacksCachedEntries(list keyvault.Object) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.results.get(list.Ref)
	if !ok || known.Err != nil {
		return false
	}
	in := lowerCaseNames(list)
	for name := range known.EntriesByName {
		if !in[name] {
			return true
		}
	}
	return false
}

func lowerCaseNames(list keyvault.Object) map[string]bool {
	names := make(map[string]bool, len(list.Entries))
	for _, e := range list.Entries {
		names[strings.ToLower(e.Name)] = true
	}
	return names
}
