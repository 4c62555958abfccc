package decode

import (
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// Query selects an item, or a part of it, for an environment variable.
type Query struct {
	Item recipe.Item
	// Part is the text after the question mark of a reference, empty if the item is selected by its data key.
	Part string

	allowsNUL bool
}

// NewQuery returns the Query for the part of a reference. In a recipe with several items, the part is the data key of
// an item. An unknown part gives fault.Invalid.
func NewQuery(r recipe.Recipe, part string) (Query, error) {
	if !r.MultipleItems {
		q := Query{Item: r.Items[0], Part: part}
		return q, q.checkPart()
	}
	var keys []string
	for _, item := range r.Items {
		if item.DataKey == part {
			return Query{Item: item}, nil
		}
		keys = append(keys, item.DataKey)
	}
	return Query{}, fault.New(fault.Invalid,
		"the resource has several objects; select one by its data key with NAME@azurekeyvault?KEY, KEY being one of %s",
		strings.Join(keys, ", "))
}

func (q Query) checkPart() error {
	t := typeNamed(q.Item.Type)
	if t.hasEntries() {
		if q.Part == "" {
			return fault.New(fault.Invalid,
				"an object of type %s has several values; select one with NAME@azurekeyvault?KEY", q.Item.Type)
		}
		return nil
	}
	known := t.queryParts()
	if q.Part == "" || slices.Contains(known, q.Part) {
		return nil
	}
	advice := "remove the question mark and what follows"
	if len(known) > 0 {
		advice = "use " + strings.Join(known, ", ") + ", or " + advice
	}
	return fault.New(fault.Invalid, "the query %q is not known for an object of type %s; %s", q.Part, q.Item.Type,
		advice)
}

// NeedsPrivateKey reports whether the query selects the private key of a certificate, which is in the secret of the
// same name.
func (q Query) NeedsPrivateKey() bool { return typeNamed(q.Item.Type).needsPrivateKeyForPart(q.Part) }

// Kind returns the kind of vault object to read for the query. The argument private is true if any query of the same
// item selects its private key.
func (q Query) Kind(private bool) keyvault.Kind { return typeNamed(q.Item.Type).vaultKind(private) }

// VariableValue decodes an object to the value of an environment variable.
func VariableValue(q Query, o keyvault.Object) (keyvault.Value, error) {
	if err := q.checkPart(); err != nil {
		return keyvault.Value{}, err
	}
	return typeNamed(q.Item.Type).variableValue(q, o)
}
