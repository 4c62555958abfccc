package decode

import (
	"bytes"
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

// knownParts returns the valid parts for an object type; nil means that any part is valid.
func knownParts(t recipe.ObjectType) []string {
	switch t {
	case recipe.Certificate:
		return []string{"", dataKeyCertificate, dataKeyPrivateKey, formatRaw}
	case recipe.Key:
		return []string{"", formatPEM, formatJWK}
	case recipe.MultiKey:
		return nil
	default:
		return []string{"", dataKeyUsername, dataKeyPassword}
	}
}

func (q Query) checkPart() error {
	if q.Item.Type == recipe.MultiKey && q.Part == "" {
		return fault.New(fault.Invalid,
			"an object of type %s has several values; select one with NAME@azurekeyvault?KEY", q.Item.Type)
	}
	known := knownParts(q.Item.Type)
	if known == nil {
		return nil
	}
	for _, part := range known {
		if part == q.Part {
			return nil
		}
	}
	return fault.New(fault.Invalid,
		"the query %q is not known for an object of type %s; use %s, or remove the question mark and what follows",
		q.Part, q.Item.Type, strings.Join(known[1:], ", "))
}

// NeedsPrivateKey reports whether the query selects the private key of a certificate, which is in the secret of the
// same name.
func (q Query) NeedsPrivateKey() bool {
	return q.Item.Type == recipe.Certificate && q.Part == dataKeyPrivateKey
}

// Kind returns the kind of vault object to read for the query. The argument private is true if any query of the same
// item selects its private key.
func (q Query) Kind(private bool) keyvault.Kind {
	switch {
	case q.Item.Type == recipe.Key:
		return keyvault.KindKey
	case q.Item.Type == recipe.Certificate && !private:
		return keyvault.KindCertificate
	default:
		return keyvault.KindSecret
	}
}

// VariableValue decodes an object to the value of an environment variable.
func VariableValue(q Query, o keyvault.Object) (keyvault.Value, error) {
	if err := q.checkPart(); err != nil {
		return keyvault.Value{}, err
	}
	switch q.Item.Type {
	case recipe.Certificate:
		return certificatePart(q.Part, o)
	case recipe.Key:
		return keyPart(q.Part, o)
	case recipe.MultiKey:
		return decodeEntry(q, o.Value)
	}
	value, err := newVariableBudget().applyTransforms(q.Item, o.Value)
	if err != nil || q.Part == "" {
		return value, err
	}
	both, err := splitBasicAuth(value)
	return both[q.Part], err
}

func certificatePart(part string, o keyvault.Object) (keyvault.Value, error) {
	switch part {
	case dataKeyPrivateKey:
		return privateKeyPEM(o)
	case formatRaw:
		return certificateBase64(o)
	}
	return certificatePEM(o)
}

func keyPart(part string, o keyvault.Object) (keyvault.Value, error) {
	value, err := encodePublicKey(o, part)
	if err == nil && part == "" && bytes.IndexByte(value.Reveal(), 0) >= 0 {
		return keyvault.Value{}, fault.New(fault.Malformed,
			"the modulus of the key has a NUL byte, which an environment variable can't hold; use ?pem or ?jwk")
	}
	return value, err
}

// decodeEntry returns the entry that the query selects. The names of entries need not be valid data keys here.
func decodeEntry(q Query, v keyvault.Value) (keyvault.Value, error) {
	all, err := parseEntries(q.Item, v, newVariableBudget())
	if err != nil {
		return keyvault.Value{}, err
	}
	text, ok := all[q.Part]
	if !ok {
		return keyvault.Value{}, fault.New(fault.NotFound,
			"the object has no entry %q; add it in the vault, or correct the name after the question mark", q.Part)
	}
	return newVariableBudget().applyTransforms(q.Item, keyvault.NewValue(text))
}
