package rights

import (
	"fmt"
	"strings"
)

// Table is Markdown of roles, with a row for each rule. Code leads to src, from the folder that links says.
func Table(roles []Role, links string) string {
	var page strings.Builder
	page.WriteString("| Role | Where | Resource | Verbs | Why | Code |\n|---|---|---|---|---|---|\n")
	for _, role := range roles {
		for _, rule := range role.Rules {
			fmt.Fprintf(&page, "| `%s` | %s | %s | %s | %s | [%s](%s/%s) |\n", role.Example(), where(role, rule), code(rule.objects(false)),
				code(strings.Fields(rule.Verbs)), rule.Why, rule.By, links, rule.By)
		}
	}
	return page.String()
}

// where says where a rule holds, and what has to be switched on.
func where(role Role, rule Rule) string {
	text := string(role.Scope)
	if role.Narrow != "" {
		text += ", or `" + role.Narrow + "`"
	}
	for _, value := range []string{role.When, rule.When} {
		if value != "" && role.Scope != Tenants {
			text += ", only with `" + value + "`"
		}
	}
	return text
}

func code(words []string) string { return "`" + strings.Join(words, "`, `") + "`" }
