package rule

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Rule allows namespaces to read vaults. Each item is a name, or a pattern in which * matches any characters.
type Rule struct {
	Namespaces []string `json:"namespaces"`
	Vaults     []string `json:"vaults"`
}

// Rules are alternatives: one matching rule allows a read. An empty list allows every namespace to read every vault.
type Rules []Rule

// pattern matches valid names and name patterns.
var pattern = regexp.MustCompile(`^[a-zA-Z0-9*-]{1,63}$`)

// Parse reads rules from JSON; an empty text gives no rules. Invalid input is fault.Invalid.
func Parse(text string) (Rules, error) {
	if text == "" {
		return nil, nil
	}
	var rules Rules
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&rules) != nil {
		return nil, fault.Advise(fault.Invalid, "write it as [{\"namespaces\": [...], \"vaults\": [...]}]",
			"vaultRules is not a valid JSON list of rules")
	}
	for n, r := range rules {
		if len(r.Namespaces) == 0 || len(r.Vaults) == 0 {
			return nil, fault.Advise(fault.Invalid, "set both namespaces and vaults",
				"item %d of vaultRules lacks namespaces or vaults", n+1)
		}
		for _, text := range slices.Concat(r.Namespaces, r.Vaults) {
			if !pattern.MatchString(text) {
				return nil, fault.Advise(fault.Invalid, "use letters, digits, hyphens and *",
					"%q in vaultRules is neither a name nor a valid pattern", text)
			}
		}
	}
	return rules, nil
}

// Set replaces the rules with those in the JSON text, which is the value of a flag.
func (r *Rules) Set(text string) (err error) {
	*r, err = Parse(text)
	return err
}

// Check returns fault.Denied if no rule allows the namespace to read the vault.
func (r Rules) Check(namespace, vault string) error {
	if len(r) == 0 || slices.ContainsFunc(r, func(one Rule) bool {
		return matches(one.Namespaces, namespace) && matches(one.Vaults, strings.ToLower(vault))
	}) {
		return nil
	}
	return fault.Advise(fault.Denied, "ask the administrator to allow it with the value vaultRules",
		"namespace %q is not allowed to read vault %q", namespace, vault)
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(strings.ToLower(p), name)
		return ok && err == nil
	})
}
