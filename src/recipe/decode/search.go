package decode

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// maxFound bounds the secrets of one resource.
const maxFound = 500

// Expand makes items of what the recipe's searches find in the list of the vault's secrets, in the order of their names. What the recipe names
// itself has the say over a data key. A search that finds nothing is fault.NotFound, so that an output does not lose all its data by a typing error.
func Expand(r recipe.Recipe, entries []keyvault.Entry) (recipe.Recipe, error) {
	named, found := map[string]bool{}, map[string]string{}
	for _, item := range r.Items {
		named[item.DataKey] = true
	}
	r.Items = slices.Clone(r.Items)
	sorted := slices.SortedFunc(slices.Values(entries), func(a, b keyvault.Entry) int { return cmp.Compare(a.Name, b.Name) })
	for i, s := range r.Searches {
		find := finder(s)
		matches := 0
		for _, entry := range sorted {
			key, ok := find(entry)
			if !ok {
				continue
			}
			matches++
			if !isKey(key) {
				return r, fault.New(fault.Malformed, "the secret %q becomes the data key %q, which is none; correct spec.dataFrom[%d].rewrite", entry.Name, key, i)
			}
			other, taken := found[key]
			if taken && other != entry.Name {
				return r, fault.New(fault.Malformed, "the secrets %q and %q both become the data key %q; rewrite one in spec.dataFrom, or name it in spec.data", other, entry.Name, key)
			}
			if taken || named[key] {
				continue
			}
			found[key] = entry.Name
			r.Items = append(r.Items, recipe.Item{Name: entry.Name, Type: recipe.Secret, DataKey: key, Transforms: s.Transforms})
		}
		if matches == 0 {
			return r, fault.New(fault.NotFound, "no secret of vault %q matches spec.dataFrom[%d].match; correct it, or check that the secrets are enabled", r.Vault, i)
		}
	}
	if len(found) > maxFound {
		return r, fault.New(fault.Malformed, "spec.dataFrom finds %d secrets, more than the %d that are allowed; narrow it", len(found), maxFound)
	}
	return r, nil
}

// finder gives the data key of an entry, and whether it matches. What belongs to a certificate never does, as in the portal: it holds a private key,
// and is meant to be asked for as a certificate. The expressions were checked with the recipe.
func finder(s recipe.Search) func(keyvault.Entry) (string, bool) {
	matches, rewrites := regexp.MustCompile(s.Regexp), regexp.MustCompile(s.Source)
	return func(e keyvault.Entry) (string, bool) {
		if e.Disabled || e.Managed {
			return "", false
		}
		for name, value := range s.Tags {
			if got, ok := e.Tags[name]; !ok || got != value {
				return "", false
			}
		}
		if !strings.HasPrefix(e.Name, s.Prefix) || !matches.MatchString(e.Name) {
			return "", false
		}
		if s.Source == "" {
			return e.Name, true
		}
		return rewrites.ReplaceAllString(e.Name, s.Target), true
	}
}
