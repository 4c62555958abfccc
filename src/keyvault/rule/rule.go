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

// Rule lets namespaces read vaults. Each is a name, or a pattern in which * stands for any letters.
type Rule struct {
	Namespaces []string `json:"namespaces"`
	Vaults     []string `json:"vaults"`
}

// Rules are alternatives. Without any, every namespace may read every vault.
type Rules []Rule

// pattern is what a name or a pattern is made of.
var pattern = regexp.MustCompile(`^[a-zA-Z0-9*-]{1,63}$`)

// Parse reads the JSON of Rules; an empty text is none. What can't work is fault.Invalid.
func Parse(text string) (Rules, error) {
	if text == "" {
		return nil, nil
	}
	var rules Rules
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&rules) != nil {
		return nil, fault.Advise(fault.Invalid, "write a list of {namespaces: [...], vaults: [...]}",
			"vaultRules can't be read")
	}
	for n, r := range rules {
		if len(r.Namespaces) == 0 || len(r.Vaults) == 0 {
			return nil, fault.Advise(fault.Invalid, "give it namespaces and vaults",
				"item %d of vaultRules is half set", n+1)
		}
		for _, text := range slices.Concat(r.Namespaces, r.Vaults) {
			if !pattern.MatchString(text) {
				return nil, fault.Advise(fault.Invalid, "write letters, digits, hyphens and *",
					"%q in vaultRules is neither a name nor a pattern with *", text)
			}
		}
	}
	return rules, nil
}

// Set replaces the rules by those of the JSON, as a flag does.
func (r *Rules) Set(text string) (err error) {
	*r, err = Parse(text)
	return err
}

// Check is nil if the namespace may read the vault, else fault.Denied.
func (r Rules) Check(namespace, vault string) error {
	if len(r) == 0 || slices.ContainsFunc(r, func(one Rule) bool {
		return matches(one.Namespaces, namespace) && matches(one.Vaults, strings.ToLower(vault))
	}) {
		return nil
	}
	return fault.Advise(fault.Denied, "ask its administrator to add it to the value vaultRules",
		"namespace %q may not read vault %q in this installation", namespace, vault)
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(strings.ToLower(p), name)
		return ok && err == nil
	})
}
