package convert_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.yaml.in/yaml/v3"
)

// meaningless are fields that a conversion may drop without a word: the API server or a controller sets them.
var meaningless = regexp.MustCompile(`^(\.items\[\])?\.(status|metadata\.(creationTimestamp|finalizers|generation|managedFields|` +
	`ownerReferences|resourceVersion|selfLink|uid|annotations\.kubectl\.kubernetes\.io/last-applied-configuration))\b`)

// TestUnknownFieldsAreSaid adds a field to each mapping of each input. It must be in the report, or in the output.
func TestUnknownFieldsAreSaid(t *testing.T) {
	const field = "zzInvented"
	tried := 0
	for _, c := range corpus(t) {
		documents := parts(t, c.content)
		for _, document := range documents {
			mappings(document, "", func(node *yaml.Node, path string) {
				if meaningless.MatchString(path) || isList(document) && !strings.HasPrefix(path, ".items") {
					return
				}
				style := node.Style
				node.Style = 0
				node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: field},
					&yaml.Node{Kind: yaml.ScalarNode, Value: "x"})
				result := convertText(t, c.name, join(t, documents), c.options)
				node.Content, node.Style = node.Content[:len(node.Content)-2], style
				tried++
				said := strings.Contains(output(result), field) || strings.Contains(report(result), field)
				assert.True(t, said || coveredByFinding(result.Findings, path), "%s: %s.%s was dropped without a word", c.name, path, field)
			})
		}
	}
	assert.Greater(t, tried, 800)
}

// TestEveryValueMatters removes each value of each input. That must change the output or the report; otherwise the value
// was read and then ignored.
func TestEveryValueMatters(t *testing.T) {
	tried := 0
	for _, c := range corpus(t) {
		documents := parts(t, c.content)
		before := convertText(t, c.name, join(t, documents), c.options)
		for _, document := range documents {
			mappings(document, "", func(node *yaml.Node, path string) {
				for i := 0; i+1 < len(node.Content); i += 2 {
					key, value := node.Content[i].Value, node.Content[i+1]
					if value.Kind != yaml.ScalarNode || value.Tag == "!!null" || isDefault(path+"."+key, value.Value) {
						continue
					}
					tried++
					whole := node.Content
					node.Content = slices.Delete(slices.Clone(whole), i, i+2)
					after := convertText(t, c.name, join(t, documents), c.options)
					node.Content = whole
					differs := withoutLines(report(before)) != withoutLines(report(after)) || output(before) != output(after)
					assert.True(t, differs || coveredByFinding(before.Findings, path+"."+key),
						"%s: %s.%s is read, but has no effect and is not reported", c.name, path, key)
				}
			})
		}
	}
	assert.Greater(t, tried, 1200)
}

// isList reports whether a document is a List, which is only a wrapper of its items.
func isList(document *yaml.Node) bool {
	for i := 0; i+1 < len(document.Content); i += 2 {
		if document.Content[i].Value == "kind" {
			return document.Content[i+1].Value == "List"
		}
	}
	return false
}

var lineNumber = regexp.MustCompile(`(?m)^([^:]*):\d+:`)

// withoutLines removes the line numbers of a report.
func withoutLines(text string) string { return lineNumber.ReplaceAllString(text, "$1:") }
