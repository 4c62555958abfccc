package decode

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// MultiKey is the type of a secret whose value is a JSON or YAML object with several values.
const MultiKey recipe.ObjectType = "multi-key-value-secret"

// The content types of a multi-key object.
const (
	contentTypeJSON = "application/x-json"
	contentTypeYAML = "application/x-yaml"
)

// multiKeyObject is the object type of a secret with several values.
type multiKeyObject struct{ commonObject }

func (multiKeyObject) typeName() recipe.ObjectType { return MultiKey }

func (multiKeyObject) vaultKind(bool) keyvault.Kind { return keyvault.KindSecret }

func (multiKeyObject) checkItem(item recipe.Item, field string) error {
	if item.ContentType == contentTypeJSON || item.ContentType == contentTypeYAML {
		return nil
	}
	return fault.New(fault.Invalid, "%s.contentType %q is not valid for a %s; set it to %s or %s", field,
		item.ContentType, MultiKey, contentTypeJSON, contentTypeYAML)
}

func (multiKeyObject) hasEntries() bool { return true }

func (multiKeyObject) fingerprint(item FetchedItem, left *budget) (keyvault.Value, error) {
	_, err := parseEntries(item.Item, item.Object.Value, left)
	return item.Object.Value, err
}

func (multiKeyObject) checkOutput(outputFormat) error { return nil }

func (multiKeyObject) outputData(_ outputFormat, item FetchedItem, left *budget) (map[string]keyvault.Value, error) {
	return decodeEntries(item.Item, item.Object.Value, left)
}

// variableValue returns the entry that the query selects. The names of entries need not be valid data keys here.
func (multiKeyObject) variableValue(q Query, o keyvault.Object) (keyvault.Value, error) {
	all, err := parseEntries(q.Item, o.Value, newVariableBudget())
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

// maxDataKeyLength is the maximum length of a key of a Secret in Kubernetes.
const maxDataKeyLength = 253

var dataKeyPattern = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

// isDataKey reports whether Kubernetes allows a text as a key of a Secret. Keys become file names, so they can't point
// to another directory.
func isDataKey(text string) bool {
	return len(text) <= maxDataKeyLength && dataKeyPattern.MatchString(text) && text != "." &&
		!strings.HasPrefix(text, "..")
}

// decodeEntries decodes a multi-key object to values by key, and transforms and charges each. Errors are
// fault.Malformed and quote no values.
func decodeEntries(item recipe.Item, v keyvault.Value, left *budget) (map[string]keyvault.Value, error) {
	texts, err := parseEntries(item, v, left)
	if err != nil {
		return nil, err
	}
	values := make(map[string]keyvault.Value, len(texts))
	for key, text := range texts {
		if !isDataKey(key) {
			return nil, invalidDataKeyError(key)
		}
		if values[key], err = left.applyTransforms(item, keyvault.NewValue(text)); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// invalidDataKeyError returns the error for an invalid data key. It quotes the key, shortened, because the key is not a
// value.
func invalidDataKeyError(key string) error {
	const most = 80
	if len(key) > most {
		key = strings.ToValidUTF8(key[:most], "") + "…"
	}
	return fault.New(fault.Malformed,
		"the entry %q can't be a key of a Secret or ConfigMap, whose keys have letters, digits, hyphens, "+
			"underscores and dots; rename it in the vault (.NET reads __ as :)",
		key)
}

// parseEntries parses a multi-key object and returns the texts of its entries. Strings are unchanged; numbers, booleans
// and other scalars keep their source text; null becomes empty; nested values become compact JSON.
func parseEntries(item recipe.Item, v keyvault.Value, left *budget) (map[string][]byte, error) {
	if v.Len() > limits.MultiKeyBytes {
		return nil, fault.New(fault.Malformed, "the object is larger than %s; store fewer entries in it",
			limits.Bytes(limits.MultiKeyBytes))
	}
	content := v.Reveal()
	if isUTF16(content) {
		return nil, fault.New(fault.Malformed, "the object is UTF-16; store it as UTF-8")
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	var texts map[string][]byte
	var err error
	if item.ContentType == contentTypeJSON {
		texts, err = parseJSONEntries(content)
	} else {
		texts, err = parseYAMLEntries(content, left.remaining)
	}
	switch {
	case err != nil:
		return nil, err
	case len(texts) == 0:
		return nil, fault.New(fault.Malformed, "the object has no entries; add at least one")
	case len(texts) > limits.MultiKeyEntries:
		return nil, fault.New(fault.Malformed,
			"the object has %d entries, more than the limit of %d; store fewer entries in it",
			len(texts), limits.MultiKeyEntries)
	}
	return texts, nil
}

// isUTF16 detects UTF-16 by its byte-order mark, or by a zero byte in the first two bytes, which UTF-8 text never has.
func isUTF16(content []byte) bool {
	return bytes.HasPrefix(content, []byte{0xFE, 0xFF}) || bytes.HasPrefix(content, []byte{0xFF, 0xFE}) ||
		len(content) > 1 && (content[0] == 0) != (content[1] == 0)
}

// parseJSONEntries parses a JSON object. Of entries with the same key, the last one wins.
func parseJSONEntries(content []byte) (map[string][]byte, error) {
	malformed := fault.New(fault.Malformed,
		"the object is not a JSON object; correct it in the vault, or spec.vault.object.contentType")
	var raw map[string]json.RawMessage
	// The JSON parser would replace invalid UTF-8 by U+FFFD.
	if !utf8.Valid(content) || json.Unmarshal(content, &raw) != nil || raw == nil {
		return nil, malformed
	}
	texts := make(map[string][]byte, len(raw))
	for key, value := range raw {
		switch value[0] {
		case '"':
			var text string
			if json.Unmarshal(value, &text) != nil {
				return nil, malformed
			}
			texts[key] = []byte(text)
		case '{', '[':
			var compact bytes.Buffer
			if json.Compact(&compact, value) != nil {
				return nil, malformed
			}
			texts[key] = compact.Bytes()
		case 'n':
			texts[key] = nil
		default:
			texts[key] = value
		}
	}
	return texts, nil
}
