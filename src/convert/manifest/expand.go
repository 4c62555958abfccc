package manifest

import (
	"go.yaml.in/yaml/v3"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// expansion copies a tree of nodes without aliases and merge keys.
type expansion struct {
	reader *Reader
	doc    *Document
	// open are the anchors that are being expanded.
	open map[*yaml.Node]bool
}

// expand returns the tree without aliases and merge keys. It rejects what is too large or too deep, keys that are no
// texts, and keys that occur twice.
func (r *Reader) expand(doc *Document, root *yaml.Node) (*yaml.Node, error) {
	return expansion{r, doc, map[*yaml.Node]bool{}}.copyNode(root, 0)
}

func (e expansion) copyNode(node *yaml.Node, depth int) (*yaml.Node, error) {
	if depth > limits.ConvertDepth {
		return nil, e.doc.errorAt(node, "the document is nested more than %d levels deep", limits.ConvertDepth)
	}
	if e.reader.elements++; e.reader.elements > limits.ConvertElements {
		return nil, e.doc.errorAt(node, "%v", errTooManyElements)
	}
	if node.Kind == yaml.AliasNode {
		if e.open[node.Alias] {
			return nil, e.doc.errorAt(node, "the alias %q refers to a value that contains it", node.Value)
		}
		e.open[node.Alias] = true
		defer delete(e.open, node.Alias)
		return e.copyNode(node.Alias, depth+1)
	}
	to := *node
	to.Anchor, to.Content = "", nil
	if node.Kind == yaml.MappingNode {
		return &to, e.copyMapping(node, &to, depth)
	}
	for _, item := range node.Content {
		below, err := e.copyNode(item, depth+1)
		if err != nil {
			return nil, err
		}
		to.Content = append(to.Content, below)
	}
	return &to, nil
}

func (e expansion) copyMapping(node, to *yaml.Node, depth int) error {
	seen := map[string]bool{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			return e.doc.errorAt(key, "a key is not a text")
		}
		if key.Tag == "!!merge" {
			merged = append(merged, node.Content[i+1])
			continue
		}
		if seen[key.Value] {
			return e.doc.errorAt(key, "the key %q occurs twice", key.Value)
		}
		seen[key.Value] = true
		if err := e.addPair(to, key, node.Content[i+1], depth); err != nil {
			return err
		}
	}
	for _, source := range merged {
		if err := e.merge(to, source, seen, depth); err != nil {
			return err
		}
	}
	return nil
}

func (e expansion) addPair(to, key, value *yaml.Node, depth int) error {
	newKey, err := e.copyNode(key, depth+1)
	if err != nil {
		return err
	}
	newValue, err := e.copyNode(value, depth+1)
	to.Content = append(to.Content, newKey, newValue)
	return err
}

// merge adds the pairs of a merge key's value whose keys the mapping does not have.
func (e expansion) merge(to, source *yaml.Node, seen map[string]bool, depth int) error {
	from, err := e.copyNode(source, depth+1)
	if err != nil {
		return err
	}
	sources := []*yaml.Node{from}
	if from.Kind == yaml.SequenceNode {
		sources = from.Content
	}
	for _, one := range sources {
		if one.Kind != yaml.MappingNode {
			return e.doc.errorAt(source, "a merge key << needs a mapping")
		}
		for i := 0; i+1 < len(one.Content); i += 2 {
			if key := one.Content[i].Value; !seen[key] {
				seen[key] = true
				to.Content = append(to.Content, one.Content[i], one.Content[i+1])
			}
		}
	}
	return nil
}
