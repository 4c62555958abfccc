package conversion

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
)

// Values is the tree of chart values that stores and identities become.
type Values struct {
	tree map[string]any
	// serviceAccounts are the names of ServiceAccounts by namespace.
	serviceAccounts map[string][]string
	rules           []vaultRule
	// identity is what identifies the identity of the installation.
	identity string
	// needsRules is true if a store restricts the namespaces that may use it.
	needsRules bool
}

// vaultRule is a rule of the value vaultRules.
type vaultRule struct {
	namespaces []string
	vault      string
}

func newValues() *Values {
	return &Values{tree: map[string]any{}, serviceAccounts: map[string][]string{}}
}

func (v *Values) isEmpty() bool {
	return len(v.tree) == 0 && len(v.serviceAccounts) == 0 && !v.needsRules
}

// Set sets a value. It reports whether the value was not set, or set to the same.
func (v *Values) Set(value any, keys ...string) bool {
	tree := v.tree
	for _, key := range keys[:len(keys)-1] {
		below, ok := tree[key].(map[string]any)
		if !ok {
			below = map[string]any{}
			tree[key] = below
		}
		tree = below
	}
	last := keys[len(keys)-1]
	if old, ok := tree[last]; ok && !reflect.DeepEqual(old, value) {
		return false
	}
	tree[last] = value
	return true
}

// AllowServiceAccount lets resources of a namespace use a ServiceAccount.
func (v *Values) AllowServiceAccount(namespace, name string) {
	if !slices.Contains(v.serviceAccounts[namespace], name) {
		v.serviceAccounts[namespace] = append(v.serviceAccounts[namespace], name)
	}
}

// AllowVault lets namespaces read a vault. It matters only if a store restricts the namespaces that may use it.
func (v *Values) AllowVault(vault string, namespaces []string) {
	slices.Sort(namespaces)
	v.rules = append(v.rules, vaultRule{slices.Compact(namespaces), vault})
}

// RequireRules makes vaultRules a part of the values.
func (v *Values) RequireRules() { v.needsRules = true }

// HasRules reports whether vaultRules are a part of the values.
func (v *Values) HasRules() bool { return v.needsRules }

// encode returns the values as YAML.
func (v *Values) encode() (string, error) {
	var node yaml.Node
	if err := node.Encode(v.tree); err != nil {
		return "", err
	}
	node.Style = 0 // that of an empty map is on one line
	if accounts := listNode(); len(v.serviceAccounts) > 0 {
		for _, namespace := range slices.Sorted(maps.Keys(v.serviceAccounts)) {
			one := flowMapping()
			AddPair(one, "namespace", TextNode(namespace))
			AddPair(one, "names", listNode(v.serviceAccounts[namespace]...))
			accounts.Content = append(accounts.Content, one)
		}
		accounts.Style = 0
		identity := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		AddPair(identity, "serviceAccounts", accounts)
		AddPair(&node, "identity", identity)
	}
	if v.needsRules {
		AddPair(&node, "vaultRules", v.rulesNode())
	}
	return manifest.Encode(&node)
}

func flowMapping() *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: yaml.FlowStyle}
}

// listNode returns a list of texts on one line.
func listNode(texts ...string) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
	for _, text := range texts {
		list.Content = append(list.Content, TextNode(text))
	}
	return list
}

// rulesNode returns vaultRules, with the vaults that the same namespaces may read in one rule.
func (v *Values) rulesNode() *yaml.Node {
	vaults := map[string][]string{}
	for _, rule := range v.rules {
		key := strings.Join(rule.namespaces, " ")
		if !slices.Contains(vaults[key], rule.vault) {
			vaults[key] = append(vaults[key], rule.vault)
		}
	}
	rules := listNode()
	rules.Style = 0
	for _, key := range slices.Sorted(maps.Keys(vaults)) {
		one := flowMapping()
		AddPair(one, "namespaces", listNode(strings.Fields(key)...))
		AddPair(one, "vaults", listNode(vaults[key]...))
		rules.Content = append(rules.Content, one)
	}
	return rules
}
