package chartvalues

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ValueRow is a value in the table of a page.
type ValueRow struct {
	// Path is the path with dots, Default the default as JSON, Description the comment in values.yaml.
	Path, Default, Description string
}

// ValueRows returns all values in the order of values.yaml.
func ValueRows(valuesYAML []byte) ([]ValueRow, error) {
	comments, err := ParseComments(valuesYAML)
	if err != nil {
		return nil, err
	}
	root, err := parseMapping(valuesYAML)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, path := range LeafPaths() {
		known[path] = true
	}
	var rows []ValueRow
	walkKeys(root, "", func(path string, _, value *yaml.Node) {
		if !known[path] || err != nil {
			return
		}
		var text string
		text, err = compactJSON(value)
		rows = append(rows, ValueRow{Path: path, Default: text, Description: comments[path]})
	})
	return rows, err
}

// compactJSON encodes a YAML value as JSON in one line.
func compactJSON(node *yaml.Node) (string, error) {
	var value any
	if err := node.Decode(&value); err != nil {
		return "", err
	}
	text, err := json.Marshal(value)
	return string(text), err
}

// MarkdownTable renders rows as Markdown tables, in sections by the first key.
func MarkdownTable(rows []ValueRow) string {
	var page strings.Builder
	section := "-"
	for _, row := range rows {
		first, _, nested := strings.Cut(row.Path, ".")
		if _, part := SchemaParts()[first]; !part || !nested {
			first = ""
		}
		if first != section {
			section = first
			fmt.Fprintf(&page, "\n### %s\n\n| Value | Default | What it does |\n|---|---|---|\n", sectionTitle(section))
		}
		fmt.Fprintf(&page, "| `%s` | `%s` | %s |\n", row.Path, strings.ReplaceAll(row.Default, "|", `\|`),
			strings.ReplaceAll(row.Description, "|", `\|`))
	}
	return strings.TrimPrefix(page.String(), "\n")
}

func sectionTitle(section string) string {
	if section == "" {
		return "The installation"
	}
	return "`" + section + "`"
}
