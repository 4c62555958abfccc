package chartvalues

import (
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Comments maps the path of a key to its comment in values.yaml.
type Comments map[string]string

// ParseComments reads the comments directly above keys, and joins the lines of each.
func ParseComments(valuesYAML []byte) (Comments, error) {
	root, err := parseMapping(valuesYAML)
	if err != nil {
		return nil, err
	}
	comments := Comments{}
	lines := strings.Split(string(valuesYAML), "\n")
	walkKeys(root, "", func(path string, key, _ *yaml.Node) {
		if text := commentAbove(lines, key.Line-1); text != "" {
			comments[path] = text
		}
	})
	return comments, nil
}

// parseMapping returns the top-level mapping of values.yaml.
func parseMapping(valuesYAML []byte) (*yaml.Node, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(valuesYAML, &document); err != nil {
		return nil, err
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("values.yaml has no keys")
	}
	return document.Content[0], nil
}

// walkKeys visits every key of a YAML mapping and of the mappings below it.
func walkKeys(node *yaml.Node, path string, visit func(path string, key, value *yaml.Node)) {
	for i := 0; node.Kind == yaml.MappingNode && i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		whole := key.Value
		if path != "" {
			whole = path + "." + key.Value
		}
		visit(whole, key, value)
		walkKeys(value, whole, visit)
	}
}

// commentAbove returns the comment that ends directly above a line.
func commentAbove(lines []string, line int) string {
	var found []string
	for i := line - 1; i >= 0; i-- {
		text, ok := strings.CutPrefix(strings.TrimSpace(lines[i]), "#")
		if !ok {
			break
		}
		found = append(found, strings.TrimPrefix(strings.TrimSpace(text), "-- "))
	}
	slices.Reverse(found)
	return strings.Join(found, " ")
}
