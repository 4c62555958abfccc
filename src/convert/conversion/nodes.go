package conversion

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// Types of Secrets.
const (
	TypeTLS    = "kubernetes.io/tls"
	TypeOpaque = "Opaque"
)

// NewMapping returns an empty mapping with the style of another one.
func NewMapping(like manifest.Field) *yaml.Node {
	to := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	if node := like.Node(); node != nil {
		to.Style = node.Style
	}
	return to
}

// TextNode returns a text.
func TextNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

// AddPair adds a field to a mapping.
func AddPair(to *yaml.Node, key string, value *yaml.Node) {
	to.Content = append(to.Content, TextNode(key), value)
}

// decodeJSON decodes a node as the API server does, with whole numbers as int64.
func decodeJSON(node *yaml.Node, to any) error {
	var value any
	if err := node.Decode(&value); err != nil {
		return err
	}
	content, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return utiljson.Unmarshal(content, to)
}

// Indexed is the place of an item of a list.
func Indexed(list string, index int) string { return fmt.Sprintf("%s[%d]", list, index) }

// SortedKeys returns the keys of a map in order.
func SortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// DataKeyPattern matches valid keys of Secrets and ConfigMaps.
var DataKeyPattern = regexp.MustCompile(`^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,251}$`)

// NameWithSuffix returns a name that begins with another one and ends with a suffix.
func NameWithSuffix(name, suffix string) string {
	const most = 253
	if len(name)+len(suffix) > most {
		name = name[:most-len(suffix)]
	}
	return name + suffix
}

// invalidNameCharacters matches what a name of an object can't have.
var invalidNameCharacters = regexp.MustCompile(`[^a-z0-9.-]+`)

// ToName makes a name for an object from another text.
func ToName(text string) string {
	return strings.Trim(invalidNameCharacters.ReplaceAllString(strings.ToLower(text), "-"), "-.")
}

// Dropped says which data key the output will lack.
func Dropped(key string) string { return fmt.Sprintf("; the output has no key %q", key) }
