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

// ExpandSearches adds an item to the recipe for each secret that its searches find in the list of the vault's secrets,
// in the order of their names. An item of the recipe takes precedence over a secret with the same data key. A search
// without matches gives fault.NotFound, so a typing error does not empty an output. It stops between two names when ctx
// ends.
func ExpandSearches(ctx context.Context, r recipe.Recipe, entries []keyvault.Entry) (recipe.Recipe, error) {
	finders, stepsLeft, err := compileSearches(r, entries)
	if err != nil {
		return r, err
	}
	e := searchExpansion{recipe: r, entries: len(entries), stepsLeft: stepsLeft, explicitKeys: map[string]bool{},
		secretByDataKey: map[string]string{}}
	for _, item := range r.Items {
		e.explicitKeys[item.DataKey] = true
	}
	e.recipe.Items = slices.Clone(r.Items)
	sorted := slices.SortedFunc(slices.Values(entries),
		func(a, b keyvault.Entry) int { return cmp.Compare(a.Name, b.Name) })
	for i, find := range finders {
		if err := e.addMatches(ctx, i, find, sorted); err != nil {
			return r, err
		}
	}
	return e.recipe, nil
}

// searchExpansion is a recipe while searches add items to it.
type searchExpansion struct {
	recipe recipe.Recipe
	// entries is the number of secrets in the vault.
	entries int
	// stepsLeft are the steps left for the second and further matches of the rewrites in each name.
	stepsLeft int
	// explicitKeys are the data keys of the recipe's own items.
	explicitKeys map[string]bool
	// secretByDataKey maps the data keys of added items to the names of their secrets.
	secretByDataKey map[string]string
}

func (e *searchExpansion) addMatches(ctx context.Context, i int, find compiledSearch, sorted []keyvault.Entry) error {
	matches := 0
	for _, entry := range sorted {
		if err := ctx.Err(); err != nil {
			return fault.Wrap(fault.Unavailable, err, "searching the vault's secrets")
		}
		if !find.matchesEntry(entry) {
			continue
		}
		matches++
		if err := e.addItem(i, find, entry); err != nil {
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

func (e *searchExpansion) addItem(i int, find compiledSearch, entry keyvault.Entry) error {
	key, steps, ok := find.dataKeyOf(entry.Name)
	if e.stepsLeft -= steps; e.stepsLeft < 0 {
		return tooExpensiveError(e.recipe, i, e.entries)
	}
	if !ok {
		return fault.New(fault.Malformed,
			"the secret %q becomes a data key that Kubernetes does not allow; correct spec.dataFrom[%d].rewrite "+
				"so that keys have letters, digits, hyphens, underscores and dots", entry.Name, i)
	}
	other, found := e.secretByDataKey[key]
	switch {
	case found && other != entry.Name:
		return fault.New(fault.Malformed,
			"the secrets %q and %q both become the data key %q; rewrite one in spec.dataFrom, or name it in spec.data",
			other, entry.Name, key)
	case found || e.explicitKeys[key]:
		return nil
	case len(e.secretByDataKey) == limits.FoundSecrets:
		return fault.New(fault.Malformed,
			"spec.dataFrom finds more than the %d secrets that are allowed; narrow its match",
			limits.FoundSecrets)
	}
	e.secretByDataKey[key] = entry.Name
	e.recipe.Items = append(e.recipe.Items,
		recipe.Item{Name: entry.Name, Type: Secret, DataKey: key, Transforms: find.Transforms})
	return nil
}

// compiledSearch is a search with its compiled expressions.
type compiledSearch struct {
	recipe.Search
	matchExpression, rewriteExpression recipe.Expression
}

// tooExpensiveError is the error for searches that need more than limits.SearchSteps steps.
func tooExpensiveError(r recipe.Recipe, i, entries int) error {
	return fault.New(fault.Invalid,
		"the regular expressions up to spec.dataFrom[%d] are too expensive for the %d secrets of vault %q; "+
			"use match.prefix, or simpler expressions", i, entries, r.Vault)
}

// compileSearches compiles the expressions of all searches. It rejects expressions that would need more than
// limits.SearchSteps steps to find their first match in each name. It returns the steps that are left for further
// matches.
func compileSearches(r recipe.Recipe, entries []keyvault.Entry) ([]compiledSearch, int, error) {
	bytesOfNames, steps := 0, 0
	for _, entry := range entries {
		bytesOfNames += len(entry.Name) + 1
	}
	var finders []compiledSearch
	for i, s := range r.Searches {
		f := compiledSearch{Search: s}
		var err error
		if f.matchExpression, err = recipe.CompileExpression(s.Regexp); err != nil {
			return nil, 0, err
		}
		if f.rewriteExpression, err = recipe.CompileExpression(s.Source); err != nil {
			return nil, 0, err
		}
		if s.Regexp != "" {
			steps += f.matchExpression.Instructions * bytesOfNames
		}
		if s.Source != "" {
			steps += f.rewriteExpression.Instructions * bytesOfNames
		}
		if steps > limits.SearchSteps {
			return nil, 0, tooExpensiveError(r, i, len(entries))
		}
		finders = append(finders, f)
	}
	return finders, limits.SearchSteps - steps, nil
}

// matchesEntry reports whether the search finds an entry. It excludes the secret of a certificate, as the Azure portal
// does, because it contains a private key and is read as an object of type certificate.
func (f compiledSearch) matchesEntry(e keyvault.Entry) bool {
	if e.Disabled || e.Managed || !strings.HasPrefix(e.Name, f.Prefix) {
		return false
	}
	for name, value := range f.Tags {
		if got, ok := e.Tags[name]; !ok || got != value {
			return false
		}
	}
	return f.Regexp == "" || f.matchExpression.MatchString(e.Name)
}

// dataKeyOf returns the data key for the name of a secret, the steps for all matches after the first one, and whether
// Kubernetes allows the key. It stops as soon as the key is too long, because each match can add a long target. Every
// further match can take a look at all of the rest of the name.
func (f compiledSearch) dataKeyOf(name string) (key string, steps int, ok bool) {
	if f.Source == "" {
		return name, 0, isDataKey(name)
	}
	matches := f.rewriteExpression.FindAllStringSubmatchIndex(name, -1)
	for _, match := range matches {
		steps += f.rewriteExpression.Instructions * (len(name) - match[1])
	}
	key, ok = f.rewriteMatches(name, matches)
	return key, steps, ok
}

// rewriteMatches returns the name with each match replaced by the target, and whether Kubernetes allows it as a data
// key.
func (f compiledSearch) rewriteMatches(name string, matches [][]int) (string, bool) {
	var key []byte
	copied := 0
	for _, match := range matches {
		key = append(key, name[copied:match[0]]...)
		key = f.rewriteExpression.ExpandString(key, f.Target, name, match)
		if copied = match[1]; len(key) > maxDataKeyLength {
			return "", false
		}
	}
	key = append(key, name[copied:]...)
	return string(key), isDataKey(string(key))
}
