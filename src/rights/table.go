package rights

import (
	"fmt"
	"slices"
	"strings"
)

// MarkdownTable renders roles as a Markdown table with a row for each rule. links is the relative path from the page to
// src.
func MarkdownTable(roles []Role, links string) string {
	var page strings.Builder
	page.WriteString("| Role | Where | Resource | Verbs | Why | Code |\n|---|---|---|---|---|---|\n")
	for _, role := range roles {
		for _, rule := range role.Rules {
			fmt.Fprintf(&page, "| `%s` | %s | %s | %s | %s | [%s](%s/%s) |\n", role.ExampleName(),
				describeScope(role, rule),
				codeSpans(rule.namedResources(false)),
				codeSpans(strings.Fields(rule.Verbs)), rule.Reason, rule.Package, links, rule.Package)
		}
	}
	return page.String()
}

// describeScope describes the scope of a rule and the values that it depends on.
func describeScope(role Role, rule Rule) string {
	text := string(role.Scope)
	if role.NamespacesValue != "" {
		text += ", or `" + role.NamespacesValue + "`"
	}
	if role.Scope == ScopeTenants {
		return text
	}
	for _, word := range slices.Concat(strings.Fields(role.Condition), strings.Fields(rule.Condition)) {
		if path, negated := strings.CutPrefix(word, "!"); negated {
			text += ", not with `" + path + "`"
		} else {
			text += ", only with `" + path + "`"
		}
	}
	return text
}

func codeSpans(words []string) string { return "`" + strings.Join(words, "`, `") + "`" }
