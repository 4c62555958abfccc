package manifest

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// SetText replaces the text of a scalar in the document.
func (f Field) SetText(text string) {
	f.node.Value, f.node.Tag, f.node.Style = text, "!!str", 0
	f.doc.isEdited = true
}

// Remove removes a field from the mapping.
func (f Field) Remove(key string) {
	if f.node == nil || f.node.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(f.node.Content); i += 2 {
		if f.node.Content[i].Value == key {
			f.node.Content = slices.Delete(f.node.Content, i, i+2)
			f.doc.isEdited = true
			return
		}
	}
}

// Put sets a field of the mapping to a text.
func (f Field) Put(key, text string) {
	f.doc.isEdited = true
	if below := f.Get(key); below.node != nil {
		below.SetText(text)
		return
	}
	f.node.Content = append(f.node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key},
		&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text})
}

// Text returns the document as YAML that ends with a newline: its own text if it is a whole document that was not
// edited.
func (d *Document) Text() (string, error) {
	if !d.isEdited && d.text != "" {
		return strings.TrimSuffix(d.text, "\n") + "\n", nil
	}
	return Encode(d.root)
}

// Encode returns a node as YAML, with an indentation of two.
func Encode(node *yaml.Node) (string, error) {
	var out strings.Builder
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return "", err
	}
	return out.String(), encoder.Close()
}

// PutBelow sets a text in a mapping that is a field of this one. It adds the mapping if it is missing.
func (f Field) PutBelow(mapping, key, text string) {
	if below := f.Get(mapping); below.IsMapping() {
		below.Put(key, text)
		return
	}
	f.Remove(mapping)
	f.node.Content = append(f.node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: mapping},
		&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"})
	f.Get(mapping).Put(key, text)
}

// Rename renames a field of the mapping.
func (f Field) Rename(from, to string) {
	for i := 0; f.IsMapping() && i+1 < len(f.node.Content); i += 2 {
		if f.node.Content[i].Value == from {
			f.node.Content[i].Value = to
			f.doc.isEdited = true
		}
	}
}
