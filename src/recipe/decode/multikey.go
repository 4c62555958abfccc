package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// contentJSON is the content type of an object that holds its entries as JSON; the other one is YAML.
const contentJSON = "application/x-json"

// maxEntries bounds the data keys of one object.
const maxEntries = 1000

// maxKey is the longest key of a Secret that Kubernetes allows.
const maxKey = 253

var keyShape = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

// isKey says whether Kubernetes allows a text as a key of a Secret.
func isKey(text string) bool { return len(text) <= maxKey && keyShape.MatchString(text) }

// entries are the values of a multi-key object by key. Strings are as they are; numbers, booleans, null and other scalars keep their source text;
// what is nested becomes compact JSON. Each is transformed. Errors are fault.Malformed and quote neither keys nor values.
func entries(item recipe.Item, v keyvault.Value) (map[string]keyvault.Value, error) {
	read := fromYAML
	if item.ContentType == contentJSON {
		read = fromJSON
	}
	texts, err := read(v.Reveal())
	switch {
	case err != nil:
		return nil, err
	case len(texts) == 0:
		return nil, fault.New(fault.Malformed, "the object has no entries; write at least one")
	case len(texts) > maxEntries:
		return nil, fault.New(fault.Malformed, "the object has %d entries, more than the %d that are allowed", len(texts), maxEntries)
	}
	values := make(map[string]keyvault.Value, len(texts))
	for key, text := range texts {
		if !isKey(key) {
			return nil, fault.New(fault.Malformed, "a key of the object can't be the key of a Secret; use letters, digits, hyphens, underscores and dots")
		}
		if values[key], err = transformed(item, keyvault.NewValue(text)); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func fromJSON(content []byte) (map[string][]byte, error) {
	malformed := fault.New(fault.Malformed, "the object is no JSON object; correct it in the vault, or spec.vault.object.contentType")
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
		default:
			texts[key] = value
		}
	}
	return texts, nil
}

func fromYAML(content []byte) (map[string][]byte, error) {
	malformed := fault.New(fault.Malformed, "the object is no YAML mapping; correct it in the vault, or spec.vault.object.contentType")
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, another yaml.Node
	if decoder.Decode(&document) != nil || len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, malformed
	}
	if !errors.Is(decoder.Decode(&another), io.EOF) {
		return nil, fault.New(fault.Malformed, "the object holds more than one YAML document; keep one")
	}
	mapping := document.Content[0].Content
	texts := make(map[string][]byte, len(mapping)/2)
	for i := 0; i+1 < len(mapping); i += 2 {
		key, value := mapping[i], mapping[i+1]
		if _, twice := texts[key.Value]; twice || key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			return nil, fault.New(fault.Malformed, "the object has a key twice, or one that is no text; keys have to be plain and different")
		}
		text, err := yamlText(value)
		if err != nil {
			return nil, malformed
		}
		texts[key.Value] = text
	}
	return texts, nil
}

// yamlText is a scalar's source text without its quotes, or the compact JSON of what is nested.
func yamlText(value *yaml.Node) ([]byte, error) {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if value.Kind == yaml.ScalarNode {
		return []byte(value.Value), nil
	}
	var nested any
	if err := value.Decode(&nested); err != nil { // refuses aliases that grow without bound
		return nil, err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(nested); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
