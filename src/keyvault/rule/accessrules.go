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

// AccessRule allows namespaces to read vaults. Each item is a name, or a pattern in which * matches any characters.
type AccessRule struct {
	Namespaces []string `json:"namespaces"`
	Vaults     []string `json:"vaults"`
}

// AccessRules are alternatives: one matching rule allows a read. An empty list allows every namespace to read every
// vault.
type AccessRules []AccessRule

// namePattern matches valid names and name patterns.
var namePattern = regexp.MustCompile(`^[a-zA-Z0-9*-]{1,63}$`)

// ParseRules reads rules from JSON; an empty text gives no rules. Invalid input is fault.Invalid.
func ParseRules(text string) (AccessRules, error) {
	if text == "" {
		return nil, nil
	}
	var rules AccessRules
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&rules) != nil {
		return nil, fault.NewWithNextStep(fault.Invalid, "write it as [{\"namespaces\": [...], \"vaults\": [...]}]",
			"vaultRules is not a valid JSON list of rules")
	}
	for n, r := range rules {
		if len(r.Namespaces) == 0 || len(r.Vaults) == 0 {
			return nil, fault.NewWithNextStep(fault.Invalid, "set both namespaces and vaults",
				"item %d of vaultRules lacks namespaces or vaults", n+1)
		}
		for _, text := range slices.Concat(r.Namespaces, r.Vaults) {
			if !namePattern.MatchString(text) {
				return nil, fault.NewWithNextStep(fault.Invalid, "use letters, digits, hyphens and *",
					"%q in vaultRules is neither a name nor a valid pattern", text)
			}
		}
	}
	return rules, nil
}

// Set replaces the rules with those in the JSON text, which is the value of a flag.
func (r *AccessRules) Set(text string) (err error) {
	*r, err = ParseRules(text)
	return err
}

// CheckAccess returns fault.Denied if no rule allows the namespace to read the vault.
func (r AccessRules) CheckAccess(namespace, vault string) error {
	if len(r) == 0 || slices.ContainsFunc(r, func(one AccessRule) bool {
		return matchesAny(one.Namespaces, namespace) && matchesAny(one.Vaults, strings.ToLower(vault))
	}) {
		return nil
	}
	return fault.NewWithNextStep(fault.Denied, "ask the administrator to allow it with the value vaultRules",
		"namespace %q is not allowed to read vault %q", namespace, vault)
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(strings.ToLower(p), name)
		return ok && err == nil
	})
}
