package decode

import (
	"bytes"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// Query is what a reference asks of an item.
type Query struct {
	Item recipe.Item
	// Part is what stands behind the question mark, empty if the item says it all.
	Part string
}

// Pick finds the item that a reference is about: of several, the part names it by its data key. What the type does not
// know is fault.Invalid.
func Pick(r recipe.Recipe, part string) (Query, error) {
	if !r.Several {
		q := Query{Item: r.Items[0], Part: part}
		return q, q.check()
	}
	var keys []string
	for _, item := range r.Items {
		if item.DataKey == part {
			return Query{Item: item}, nil
		}
		keys = append(keys, item.DataKey)
	}
	return Query{}, fault.New(fault.Invalid,
		"the resource brings several objects; name one by its data key, NAME@azurekeyvault?KEY, of %s",
		strings.Join(keys, ", "))
}

// parts are what may be asked of an object of the type; nil means anything.
func parts(t recipe.ObjectType) []string {
	switch t {
	case recipe.Certificate:
		return []string{"", keyCertificate, keyPrivate, formatRaw}
	case recipe.Key:
		return []string{"", formatPEM, formatJWK}
	case recipe.MultiKey:
		return nil
	default:
		return []string{"", keyUsername, keyPassword}
	}
}

func (q Query) check() error {
	if q.Item.Type == recipe.MultiKey && q.Part == "" {
		return fault.New(fault.Invalid,
			"an object of type %s has several values; name the one that you want: NAME@azurekeyvault?KEY", q.Item.Type)
	}
	known := parts(q.Item.Type)
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

// Private says whether a certificate's private key is asked for, which is in the secret of the same name.
func (q Query) Private() bool { return q.Item.Type == recipe.Certificate && q.Part == keyPrivate }

// Kind says as which kind of object the query wants the item; private is whether a query of the same item is.
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

// Variable makes the value of an environment variable.
func Variable(q Query, o keyvault.Object) (keyvault.Value, error) {
	if err := q.check(); err != nil {
		return keyvault.Value{}, err
	}
	switch q.Item.Type {
	case recipe.Certificate:
		return certificatePart(q.Part, o)
	case recipe.Key:
		return keyPart(q.Part, o)
	case recipe.MultiKey:
		return entry(q, o.Value)
	}
	value, err := variableBudget().transformed(q.Item, o.Value)
	if err != nil || q.Part == "" {
		return value, err
	}
	both, err := credentials(value)
	return both[q.Part], err
}

func certificatePart(part string, o keyvault.Object) (keyvault.Value, error) {
	switch part {
	case keyPrivate:
		return privatePEM(o)
	case formatRaw:
		return rawCertificate(o)
	}
	return publicPEM(o)
}

func keyPart(part string, o keyvault.Object) (keyvault.Value, error) {
	value, err := keyAs(o, part)
	if err == nil && part == "" && bytes.IndexByte(value.Reveal(), 0) >= 0 {
		return keyvault.Value{}, fault.New(fault.Malformed,
			"the bytes of the key hold a NUL, which no environment variable can; ask for ?pem or ?jwk")
	}
	return value, err
}

// entry is the one that the query names; no other has to be a key that Kubernetes allows.
func entry(q Query, v keyvault.Value) (keyvault.Value, error) {
	all, err := readEntries(q.Item, v, variableBudget())
	if err != nil {
		return keyvault.Value{}, err
	}
	text, ok := all[q.Part]
	if !ok {
		return keyvault.Value{}, fault.New(fault.NotFound,
			"the object has no entry %q; add it in the vault, or correct what follows the question mark", q.Part)
	}
	return variableBudget().transformed(q.Item, keyvault.NewValue(text))
}
