package decode

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// The YAML tags with special treatment.
const (
	tagNull   = "!!null"
	tagBool   = "!!bool"
	tagInt    = "!!int"
	tagFloat  = "!!float"
	tagBinary = "!!binary"
	tagMerge  = "!!merge"
)

var (
	errNotYAML = fault.New(fault.Malformed,
		"the object is not a YAML mapping; correct it in the vault, or spec.vault.object.contentType")
	errYAMLKey  = fault.New(fault.Malformed, "the object has a key that is not plain text; use plain text for keys")
	errTooLarge = fault.New(fault.Malformed,
		"the object's aliases or merge keys repeat too much data; write the values out")
	errTooDeep = fault.New(fault.Malformed, "the object is nested more than %d levels deep; store the entry as text",
		limits.MultiKeyDepth)
)

// parseYAMLEntries parses a YAML mapping. Of entries with the same key, the last one wins. The texts of all entries
// have at most maxBytes in total.
func parseYAMLEntries(content []byte, maxBytes int) (map[string][]byte, error) {
	root, err := singleYAMLDocument(content)
	if err != nil {
		return nil, err
	}
	w := yamlWriter{bytesLeft: maxBytes, nodesLeft: limits.YAMLNodes}
	fields, err := w.mappingFields(root, 0)
	if err != nil {
		return nil, err
	}
	texts := make(map[string][]byte, len(fields))
	for _, field := range fields {
		if texts[field.key], err = w.entryText(field.value); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// singleYAMLDocument returns the mapping of the only document. A document marker can follow it, but not a second
// document.
func singleYAMLDocument(content []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var first yaml.Node
	if decoder.Decode(&first) != nil || len(first.Content) != 1 || first.Content[0].Kind != yaml.MappingNode {
		return nil, errNotYAML
	}
	for {
		var next yaml.Node
		err := decoder.Decode(&next)
		switch {
		case errors.Is(err, io.EOF):
			return first.Content[0], nil
		case err != nil:
			return nil, errNotYAML
		case len(next.Content) != 1 || next.Content[0].Kind != yaml.ScalarNode || next.Content[0].Value != "":
			return nil, fault.New(fault.Malformed, "the object holds more than one YAML document; keep one")
		}
	}
}

// yamlWriter converts YAML nodes to texts. It limits the number of visited nodes and written bytes, because aliases and
// merge keys can expand a small document exponentially.
type yamlWriter struct {
	out       bytes.Buffer
	bytesLeft int
	nodesLeft int
}

// yamlField is one entry of a mapping.
type yamlField struct {
	key   string
	value *yaml.Node
}

// visitNode counts a visit of a node and resolves an alias.
func (w *yamlWriter) visitNode(node *yaml.Node, level int) (*yaml.Node, error) {
	if w.nodesLeft--; w.nodesLeft < 0 {
		return nil, errTooLarge
	}
	if level > limits.MultiKeyDepth+1 { // also stops an alias that contains itself
		return nil, errTooDeep
	}
	if node.Kind == yaml.AliasNode {
		return node.Alias, nil
	}
	return node, nil
}

// mappingFields returns the entries of a mapping, with unique keys. Own entries override merged ones, and later own
// entries override earlier ones.
func (w *yamlWriter) mappingFields(mapping *yaml.Node, level int) ([]yamlField, error) {
	var own, merged []yamlField
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, err := w.visitNode(mapping.Content[i], level)
		if err != nil {
			return nil, err
		}
		if key.Kind != yaml.ScalarNode {
			return nil, errYAMLKey
		}
		if key.Tag == tagMerge {
			if merged, err = w.addMergedFields(merged, mapping.Content[i+1], level+1); err != nil {
				return nil, err
			}
			continue
		}
		own = append(own, yamlField{key.Value, mapping.Content[i+1]})
	}
	return combineFields(own, merged), nil
}

// combineFields returns one field per key, in the order of the keys' first use: the last own value, or else the first
// merged value.
func combineFields(own, merged []yamlField) []yamlField {
	at := make(map[string]int, len(own))
	var all []yamlField
	for _, f := range own {
		if i, there := at[f.key]; there {
			all[i].value = f.value
			continue
		}
		at[f.key] = len(all)
		all = append(all, f)
	}
	for _, f := range merged {
		if _, there := at[f.key]; !there {
			at[f.key] = len(all)
			all = append(all, f)
		}
	}
	return all
}

// addMergedFields appends the fields of the value of a merge key, which is a mapping or a list of mappings.
func (w *yamlWriter) addMergedFields(fields []yamlField, value *yaml.Node, level int) ([]yamlField, error) {
	value, err := w.visitNode(value, level)
	if err != nil {
		return nil, err
	}
	switch value.Kind {
	case yaml.MappingNode:
		more, err := w.mappingFields(value, level+1)
		if w.nodesLeft -= len(more); w.nodesLeft < 0 {
			return nil, errTooLarge
		}
		return append(fields, more...), err
	case yaml.SequenceNode:
		for _, item := range value.Content {
			if fields, err = w.addMergedFields(fields, item, level+1); err != nil {
				return nil, err
			}
		}
		return fields, nil
	}
	return nil, errYAMLKey
}

// entryText returns the text of one entry: the source text of a scalar, without quotes, or the compact JSON of a nested
// value.
func (w *yamlWriter) entryText(node *yaml.Node) ([]byte, error) {
	w.out.Reset()
	target, err := w.visitNode(node, 0)
	if err != nil {
		return nil, err
	}
	if target.Kind != yaml.ScalarNode {
		err = w.writeJSON(node, 0)
		return bytes.Clone(w.out.Bytes()), err
	}
	text := []byte(target.Value)
	switch target.ShortTag() {
	case tagNull:
		return nil, nil
	case tagBinary:
		if text, err = base64.StdEncoding.AppendDecode(nil, text); err != nil {
			return nil, errNotYAML
		}
	}
	if w.bytesLeft -= len(text); w.bytesLeft < 0 {
		return nil, errTooLarge
	}
	return text, nil
}

// writeJSON appends a node to the output as JSON.
func (w *yamlWriter) writeJSON(node *yaml.Node, level int) error {
	node, err := w.visitNode(node, level)
	if err != nil {
		return err
	}
	switch node.Kind {
	case yaml.ScalarNode:
		return w.writeText(scalarJSON(node))
	case yaml.SequenceNode:
		return w.writeJSONList(node, level)
	case yaml.MappingNode:
		return w.writeJSONMapping(node, level)
	}
	return errNotYAML
}

func (w *yamlWriter) writeJSONList(node *yaml.Node, level int) error {
	opening := "["
	for _, item := range node.Content {
		if err := w.writeText(opening); err != nil {
			return err
		}
		if err := w.writeJSON(item, level+1); err != nil {
			return err
		}
		opening = ","
	}
	if len(node.Content) == 0 {
		return w.writeText("[]")
	}
	return w.writeText("]")
}

// writeText appends a text to the output and charges its bytes.
func (w *yamlWriter) writeText(s string) error {
	if w.bytesLeft -= len(s); w.bytesLeft < 0 {
		return errTooLarge
	}
	w.out.WriteString(s)
	return nil
}

func (w *yamlWriter) writeJSONMapping(node *yaml.Node, level int) error {
	fields, err := w.mappingFields(node, level)
	if err != nil {
		return err
	}
	opening := "{"
	for _, f := range fields {
		if err := w.writeText(opening + quoteJSON(f.key) + ":"); err != nil {
			return err
		}
		if err := w.writeJSON(f.value, level+1); err != nil {
			return err
		}
		opening = ","
	}
	if len(fields) == 0 {
		return w.writeText("{}")
	}
	return w.writeText("}")
}

// scalarJSON keeps the source text of a scalar, as a number if JSON allows it, else as a string. Only null and booleans
// are normalized to their JSON spelling.
func scalarJSON(node *yaml.Node) string {
	switch node.ShortTag() {
	case tagNull:
		return "null"
	case tagBool, tagInt, tagFloat:
		if lower := strings.ToLower(node.Value); json.Valid([]byte(lower)) && lower != "null" && lower[0] != '"' {
			return lower
		}
	}
	return quoteJSON(node.Value)
}

func quoteJSON(text string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(text) != nil { // can't happen: every string has a JSON form
		return `""`
	}
	return strings.TrimSuffix(out.String(), "\n")
}
