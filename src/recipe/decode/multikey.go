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

// contentJSON is the content type of an object that holds its entries as JSON; the other one is YAML.
const contentJSON = "application/x-json"

// maxKey is the longest key of a Secret that Kubernetes allows.
const maxKey = 253

var keyShape = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

// isKey says whether Kubernetes allows a text as a key of a Secret: keys become file names, so none leads to another
// folder.
func isKey(text string) bool {
	return len(text) <= maxKey && keyShape.MatchString(text) && text != "." && !strings.HasPrefix(text, "..")
}

// entries are the values of a multi-key object by key, each transformed and charged. Errors are fault.Malformed and
// quote no values.
func entries(item recipe.Item, v keyvault.Value, left *budget) (map[string]keyvault.Value, error) {
	texts, err := readEntries(item, v, left)
	if err != nil {
		return nil, err
	}
	values := make(map[string]keyvault.Value, len(texts))
	for key, text := range texts {
		if !isKey(key) {
			return nil, notAKey(key)
		}
		if values[key], err = left.transformed(item, keyvault.NewValue(text)); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// notAKey names the key, shortened: it is the name of a setting.
func notAKey(key string) error {
	const most = 80
	if len(key) > most {
		key = strings.ToValidUTF8(key[:most], "") + "…"
	}
	return fault.New(fault.Malformed,
		"the entry %q can't be a key of a Secret or ConfigMap, which has letters, digits, hyphens, underscores "+
			"and dots; rename it in the vault (.NET reads __ as :), or let a pod read it alone: NAME@azurekeyvault?KEY",
		key)
}

// readEntries gives the texts of all entries. Strings are as they are; numbers, booleans and other scalars keep their
// source text, null is empty; what is nested becomes compact JSON.
func readEntries(item recipe.Item, v keyvault.Value, left *budget) (map[string][]byte, error) {
	if v.Len() > limits.StructuredBytes {
		return nil, fault.New(fault.Malformed, "the object is larger than %s; store fewer entries in it",
			limits.Bytes(limits.StructuredBytes))
	}
	content := v.Reveal()
	if isUTF16(content) {
		return nil, fault.New(fault.Malformed, "the object is UTF-16; store it as UTF-8")
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	var texts map[string][]byte
	var err error
	if item.ContentType == contentJSON {
		texts, err = fromJSON(content)
	} else {
		texts, err = fromYAML(content, left.left)
	}
	switch {
	case err != nil:
		return nil, err
	case len(texts) == 0:
		return nil, fault.New(fault.Malformed, "the object has no entries; write at least one")
	case len(texts) > limits.Entries:
		return nil, fault.New(fault.Malformed, "the object has %d entries, more than the %d that are allowed",
			len(texts), limits.Entries)
	}
	return texts, nil
}

// isUTF16 knows it by its byte-order mark, or by the zero in one of the first two bytes, which no text has.
func isUTF16(content []byte) bool {
	return bytes.HasPrefix(content, []byte{0xFE, 0xFF}) || bytes.HasPrefix(content, []byte{0xFF, 0xFE}) ||
		len(content) > 1 && (content[0] == 0) != (content[1] == 0)
}

// fromJSON takes the last one of entries with the same key.
func fromJSON(content []byte) (map[string][]byte, error) {
	malformed := fault.New(fault.Malformed,
		"the object is not a JSON object; correct it in the vault, or spec.vault.object.contentType")
	var raw map[string]json.RawMessage
	// The parser would put U+FFFD in the place of bytes that are no text.
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
