package decode

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// Expand adds an item to the recipe for each secret that its searches find in the list of the vault's secrets, in the
// order of their names. An item of the recipe takes precedence over a secret with the same data key. A search without
// matches gives fault.NotFound, so a typing error does not empty an output. It stops between two names when ctx
// ends.
func Expand(ctx context.Context, r recipe.Recipe, entries []keyvault.Entry) (recipe.Recipe, error) {
	finders, err := compileSearches(r, entries)
	if err != nil {
		return r, err
	}
	e := expansion{recipe: r, taken: map[string]bool{}, found: map[string]string{}}
	for _, item := range r.Items {
		e.taken[item.DataKey] = true
	}
	e.recipe.Items = slices.Clone(r.Items)
	sorted := slices.SortedFunc(slices.Values(entries),
		func(a, b keyvault.Entry) int { return cmp.Compare(a.Name, b.Name) })
	for i, find := range finders {
		if err := e.search(ctx, i, find, sorted); err != nil {
			return r, err
		}
	}
	return e.recipe, nil
}

// expansion is a recipe while searches add items to it.
type expansion struct {
	recipe recipe.Recipe
	// taken are the data keys of the recipe's own items.
	taken map[string]bool
	// found maps the data keys of added items to the names of their secrets.
	found map[string]string
}

func (e *expansion) search(ctx context.Context, i int, find finder, sorted []keyvault.Entry) error {
	matches := 0
	for _, entry := range sorted {
		if err := ctx.Err(); err != nil {
			return fault.Wrap(fault.Unavailable, err, "searching the vault's secrets")
		}
		if !find.matches(entry) {
			continue
		}
		matches++
		if err := e.add(i, find, entry); err != nil {
			return err
		}
	}
	if matches == 0 {
		return fault.New(fault.NotFound,
			"no secret of vault %q matches spec.dataFrom[%d].match; correct it, or check that the secrets are enabled",
			e.recipe.Vault, i)
	}
	return nil
}

func (e *expansion) add(i int, find finder, entry keyvault.Entry) error {
	key, ok := find.key(entry.Name)
	if !ok {
		return fault.New(fault.Malformed,
			"the secret %q becomes a data key that Kubernetes does not allow; correct spec.dataFrom[%d].rewrite "+
				"so that keys have letters, digits, hyphens, underscores and dots", entry.Name, i)
	}
	other, found := e.found[key]
	switch {
	case found && other != entry.Name:
		return fault.New(fault.Malformed,
			"the secrets %q and %q both become the data key %q; rewrite one in spec.dataFrom, or name it in spec.data",
			other, entry.Name, key)
	case found || e.taken[key]:
		return nil
	case len(e.found) == limits.FoundSecrets:
		return fault.New(fault.Malformed,
			"spec.dataFrom finds more than the %d secrets that are allowed; narrow its match",
			limits.FoundSecrets)
	}
	e.found[key] = entry.Name
	e.recipe.Items = append(e.recipe.Items,
		recipe.Item{Name: entry.Name, Type: recipe.Secret, DataKey: key, Transforms: find.Transforms})
	return nil
}

// finder is a search with its compiled expressions.
type finder struct {
	recipe.Search
	match, rewrite recipe.Expression
}

// compileSearches compiles the expressions of all searches. It rejects expressions that would need more than
// limits.SearchSteps steps for the names of the entries.
func compileSearches(r recipe.Recipe, entries []keyvault.Entry) ([]finder, error) {
	bytesOfNames, steps := 0, 0
	for _, entry := range entries {
		bytesOfNames += len(entry.Name) + 1
	}
	var finders []finder
	for i, s := range r.Searches {
		f := finder{Search: s}
		var err error
		if f.match, err = recipe.CompileExpression(s.Regexp); err != nil {
			return nil, err
		}
		if f.rewrite, err = recipe.CompileExpression(s.Source); err != nil {
			return nil, err
		}
		if s.Regexp != "" {
			steps += f.match.Instructions * bytesOfNames
		}
		if s.Source != "" {
			steps += f.rewrite.Instructions * bytesOfNames
		}
		if steps > limits.SearchSteps {
			return nil, fault.New(fault.Invalid,
				"the regular expressions up to spec.dataFrom[%d] are too expensive for the %d secrets of vault %q; "+
					"use match.prefix, or simpler expressions", i, len(entries), r.Vault)
		}
		finders = append(finders, f)
	}
	return finders, nil
}

// matches reports whether the search finds an entry. It excludes the secret of a certificate, as the Azure portal does,
// because it contains a private key and is read as an object of type certificate.
func (f finder) matches(e keyvault.Entry) bool {
	if e.Disabled || e.Managed || !strings.HasPrefix(e.Name, f.Prefix) {
		return false
	}
	for name, value := range f.Tags {
		if got, ok := e.Tags[name]; !ok || got != value {
			return false
		}
	}
	return f.Regexp == "" || f.match.MatchString(e.Name)
}

// key returns the data key for the name of a secret, and whether Kubernetes allows it. It stops as soon as the key is
// too long, because each match can add a long target.
func (f finder) key(name string) (string, bool) {
	if f.Source == "" {
		return name, isKey(name)
	}
	var key []byte
	copied := 0
	for _, match := range f.rewrite.FindAllStringSubmatchIndex(name, -1) {
		key = append(key, name[copied:match[0]]...)
		key = f.rewrite.ExpandString(key, f.Target, name, match)
		if copied = match[1]; len(key) > maxKey {
			return "", false
		}
	}
	key = append(key, name[copied:]...)
	return string(key), isKey(string(key))
}
