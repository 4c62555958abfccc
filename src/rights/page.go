package rights

import (
	"fmt"
	"slices"
	"strings"
)

// Table renders roles as a Markdown table with a row for each rule. links is the relative path from the page to src.
func Table(roles []Role, links string) string {
	var page strings.Builder
	page.WriteString("| Role | Where | Resource | Verbs | Why | Code |\n|---|---|---|---|---|---|\n")
	for _, role := range roles {
		for _, rule := range role.Rules {
			fmt.Fprintf(&page, "| `%s` | %s | %s | %s | %s | [%s](%s/%s) |\n", role.Example(), where(role, rule),
				code(rule.objects(false)),
				code(strings.Fields(rule.Verbs)), rule.Why, rule.By, links, rule.By)
		}
	}
	return page.String()
}

// where describes the scope of a rule and the values that it depends on.
func where(role Role, rule Rule) string {
	text := string(role.Scope)
	if role.Narrow != "" {
		text += ", or `" + role.Narrow + "`"
	}
	if role.Scope == Tenants {
		return text
	}
	for _, word := range slices.Concat(strings.Fields(role.When), strings.Fields(rule.When)) {
		if path, negated := strings.CutPrefix(word, "!"); negated {
			text += ", not with `" + path + "`"
		} else {
			text += ", only with `" + path + "`"
		}
	}
	return text
}

func code(words []string) string { return "`" + strings.Join(words, "`, `") + "`" }
