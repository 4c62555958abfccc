package fromapi

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/recipe/transform"
)

// resource holds the fields of an AzureKeyVaultSecret that a Recipe needs.
type resource struct {
	Spec struct {
		Vault struct {
			Name          string  `json:"name"`
			Object        *object `json:"object"`
			AzureIdentity *struct {
				Name string `json:"name"`
			} `json:"azureIdentity"`
		} `json:"vault"`
		Data []struct {
			Object    object   `json:"object"`
			DataKey   string   `json:"dataKey"`
			Transform []string `json:"transform"`
		} `json:"data"`
		DataFrom []struct {
			Match struct {
				Prefix string            `json:"prefix"`
				Regexp string            `json:"regexp"`
				Tags   map[string]string `json:"tags"`
			} `json:"match"`
			Rewrite struct {
				Source string `json:"source"`
				Target string `json:"target"`
			} `json:"rewrite"`
			Transform []string `json:"transform"`
		} `json:"dataFrom"`
		RefreshInterval json.RawMessage `json:"refreshInterval"`
		RolloutRestart  *rolloutRestart `json:"rolloutRestart"`
		Output          *output         `json:"output"`
	} `json:"spec"`
}

type object struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Version     string `json:"version"`
	ContentType string `json:"contentType"`
}

type output struct {
	AllowEmpty bool     `json:"allowEmpty"`
	Transform  []string `json:"transform"`
	Transforms []string `json:"transforms"`
	Secret     *struct {
		Name       string `json:"name"`
		Type       string `json:"type"`
		DataKey    string `json:"dataKey"`
		ChainOrder string `json:"chainOrder"`
		KeyFormat  string `json:"keyFormat"`
		Immutable  bool   `json:"immutable"`
		Metadata   struct {
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	} `json:"secret"`
	ConfigMap *struct {
		Name      string `json:"name"`
		DataKey   string `json:"dataKey"`
		KeyFormat string `json:"keyFormat"`
	} `json:"configMap"`
}

// Parse parses the JSON of an AzureKeyVaultSecret of any API version. An invalid resource gives fault.Invalid with the
// name of the field.
func Parse(content []byte) (recipe.Recipe, error) {
	var res resource
	if err := json.Unmarshal(content, &res); err != nil {
		return recipe.Recipe{}, fault.New(fault.Invalid, "parsing the AzureKeyVaultSecret: its JSON is not valid")
	}
	r := recipe.Recipe{Vault: res.Spec.Vault.Name}
	if id := res.Spec.Vault.AzureIdentity; id != nil {
		r.Identity = id.Name
	}
	err := checkFields(fieldRule{"spec.vault.name", r.Vault, vaultPattern,
		"use the vault's name alone, without a domain or a URL"})
	if err != nil {
		return recipe.Recipe{}, err
	}
	if r.RefreshInterval, err = parseRefreshInterval(res.Spec.RefreshInterval); err != nil {
		return recipe.Recipe{}, err
	}
	if r.Restart, err = parseRolloutRestart(res.Spec.RolloutRestart); err != nil {
		return recipe.Recipe{}, err
	}
	if err := addItems(&r, res); err != nil {
		return recipe.Recipe{}, err
	}
	if err := addOutput(&r, res.Spec.Output); err != nil {
		return recipe.Recipe{}, err
	}
	return r, nil
}

// The limits of spec.refreshInterval.
const (
	minRefresh = time.Second
	maxRefresh = 365 * 24 * time.Hour
)

// parseRefreshInterval parses a duration, or the number 0, which an unquoted 0 in YAML becomes.
func parseRefreshInterval(written json.RawMessage) (*time.Duration, error) {
	text := strings.Trim(string(written), `"`)
	if text == "" || text == "null" {
		return nil, nil
	}
	interval, err := time.ParseDuration(text)
	if err != nil || (interval != 0 && interval < minRefresh) || interval > maxRefresh {
		return nil, fault.New(fault.Invalid,
			"spec.refreshInterval %q is not valid; use 0 (read once) or a duration from 1s to 8760h, such as 90s "+
				"or 1h30m", text)
	}
	return &interval, nil
}

// addItems adds the object of spec.vault.object, or those of spec.data and the searches of spec.dataFrom.
func addItems(r *recipe.Recipe, res resource) error {
	data, one := res.Spec.Data, res.Spec.Vault.Object
	if (one != nil) == (len(data)+len(res.Spec.DataFrom) > 0) {
		return fault.New(fault.Invalid,
			"set either spec.vault.object, for one object, or spec.data and spec.dataFrom, for several")
	}
	if one != nil {
		r.Items = []recipe.Item{one.toItem()}
		return checkItem(r.Items[0], "spec.vault.object")
	}
	if err := checkCount(len(data), limits.DataItems, "spec.data"); err != nil {
		return err
	}
	r.MultipleItems = true
	taken := map[string]bool{}
	for i, d := range data {
		item, field := d.Object.toItem(), fmt.Sprintf("spec.data[%d]", i)
		item.DataKey, item.Transforms = d.DataKey, d.Transform
		if err := checkItem(item, field+".object"); err != nil {
			return err
		}
		if err := checkTransforms(item.Transforms, field+".transform"); err != nil {
			return err
		}
		if err := checkDataKey(item, field, taken); err != nil {
			return err
		}
		r.Items = append(r.Items, item)
	}
	return addSearches(r, res)
}

// checkSearch checks the combination of a search's fields.
func checkSearch(s recipe.Search, field string) error {
	switch {
	case s.Prefix == "" && s.Regexp == "" && len(s.Tags) == 0:
		return fault.New(fault.Invalid,
			"%s.match is empty and would match every secret of the vault; set prefix, regexp or tags", field)
	case s.Prefix != "" && s.Regexp != "":
		return fault.New(fault.Invalid, "%s.match has both prefix and regexp; keep one", field)
	case len(s.Target) > limits.ExpressionBytes:
		return fault.New(fault.Invalid, "%s.rewrite.target is longer than %d characters; use a shorter one", field,
			limits.ExpressionBytes)
	case s.Source == "" && s.Target != "":
		return fault.New(fault.Invalid,
			"%s.rewrite.source is empty; set the regular expression whose matches the target replaces", field)
	}
	return nil
}

func addSearches(r *recipe.Recipe, res resource) error {
	if err := checkCount(len(res.Spec.DataFrom), limits.DataFromSearches, "spec.dataFrom"); err != nil {
		return err
	}
	for i, d := range res.Spec.DataFrom {
		field := fmt.Sprintf("spec.dataFrom[%d]", i)
		s := recipe.Search{Prefix: d.Match.Prefix, Regexp: d.Match.Regexp, Tags: d.Match.Tags,
			Source: d.Rewrite.Source, Target: d.Rewrite.Target, Transforms: d.Transform}
		if err := checkSearch(s, field); err != nil {
			return err
		}
		if err := checkExpression(s.Regexp, field+".match.regexp"); err != nil {
			return err
		}
		if err := checkExpression(s.Source, field+".rewrite.source"); err != nil {
			return err
		}
		if err := checkTransforms(s.Transforms, field+".transform"); err != nil {
			return err
		}
		r.Searches = append(r.Searches, s)
	}
	return nil
}

func checkExpression(text, field string) error {
	_, err := recipe.CompileExpression(text)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, field)
	}
	return nil
}

// checkCount rejects lists that are longer than the CRD's schema allows: a resource can be older than the limit in the
// schema.
func checkCount(count, most int, field string) error {
	if count > most {
		return fault.New(fault.Invalid, "%s has %d elements, more than the limit of %d; use several resources",
			field, count, most)
	}
	return nil
}

func (o object) toItem() recipe.Item {
	return recipe.Item{Name: o.Name, Version: o.Version, Type: recipe.ObjectType(o.Type), ContentType: o.ContentType}
}

// checkDataKey checks that each item has a unique data key, except objects whose entries have keys.
func checkDataKey(item recipe.Item, field string, taken map[string]bool) error {
	switch {
	case decode.HasEntries(item.Type) && item.DataKey != "":
		return fault.New(fault.Invalid,
			"%s.dataKey can't be set for a %s, whose entries have their own keys; remove it", field, item.Type)
	case decode.HasEntries(item.Type):
		return nil
	case item.DataKey == "":
		return fault.New(fault.Invalid, "%s.dataKey is required; set it to the key in the output", field)
	case taken[item.DataKey]:
		return fault.New(fault.Invalid, "%s.dataKey %q is used twice; choose a different one", field, item.DataKey)
	}
	taken[item.DataKey] = true
	return checkFields(fieldRule{field + ".dataKey", item.DataKey, dataKeyPattern, dataKeyHint})
}

// pattern describes a text that becomes part of a URL or a name in Kubernetes.
type pattern struct {
	expression *regexp.Regexp
	maxLength  int
}

// The patterns are compiled once, because every sync uses them. Their length limits are separate, because compiling a
// count such as {1,253} takes milliseconds, and the injector compiles the patterns when a container starts.
var (
	vaultPattern   = pattern{regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]+[a-zA-Z0-9]$`), 24}
	objectPattern  = pattern{regexp.MustCompile(`^[a-zA-Z0-9-]+$`), 127}
	versionPattern = pattern{regexp.MustCompile(`^[a-zA-Z0-9]*$`), 64}
	namePattern    = pattern{regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`),
		253}
	// A data key becomes a file name, so it can't be . and can't begin with two dots.
	dataKeyPattern = pattern{regexp.MustCompile(`^(\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*)?$`), 253}
	formatPattern  = pattern{regexp.MustCompile(`^(raw|pem|jwk)?$`), 3}
	orderPattern   = pattern{regexp.MustCompile(`^(ensureserverfirst)?$`), 17}
)

// fieldRule is a field with the pattern that it must match.
type fieldRule struct {
	field, value string
	pattern      pattern
	hint         string
}

func checkFields(rules ...fieldRule) error {
	for _, r := range rules {
		if len(r.value) > r.pattern.maxLength || !r.pattern.expression.MatchString(r.value) {
			return fault.New(fault.Invalid, "%s %q is not valid; %s", r.field, r.value, r.hint)
		}
	}
	return nil
}

func checkItem(item recipe.Item, field string) error {
	err := checkFields(
		fieldRule{field + ".name", item.Name, objectPattern, "use 1 to 127 letters, digits and hyphens"},
		fieldRule{field + ".version", item.Version, versionPattern,
			"use the version's identifier, or leave it empty for the latest"},
	)
	if err != nil {
		return err
	}
	return decode.CheckItem(item, field)
}

func checkTransforms(names []string, field string) error {
	if err := checkCount(len(names), limits.Transforms, field); err != nil {
		return err
	}
	for _, name := range names {
		if !transform.IsKnown(name) {
			return fault.New(fault.Invalid, "%s %q is not known; use trim, base64encode or base64decode", field, name)
		}
	}
	return nil
}

func addOutput(r *recipe.Recipe, out *output) error {
	if out == nil {
		return nil
	}
	r.AllowEmpty = out.AllowEmpty
	transforms := append(out.Transform, out.Transforms...)
	switch {
	case len(out.Transform) > 0 && len(out.Transforms) > 0:
		return fault.New(fault.Invalid, "spec.output has both transform and transforms; keep transform")
	case len(transforms) > 0 && r.MultipleItems:
		return fault.New(fault.Invalid,
			"spec.output.transform applies to spec.vault.object only; with several objects, set "+
				"spec.data[].transform or spec.dataFrom[].transform")
	case !r.MultipleItems:
		r.Items[0].Transforms = transforms
	}
	if err := checkTransforms(transforms, "spec.output.transform"); err != nil {
		return err
	}
	r.Outputs = out.toOutputs()
	for _, o := range r.Outputs {
		if err := checkOutput(o); err != nil {
			return err
		}
	}
	return nil
}

// toOutputs returns the outputs of each kind, in the order in which they are checked and written.
func (out *output) toOutputs() []recipe.Output {
	var all []recipe.Output
	if s := out.Secret; s != nil {
		all = append(all, recipe.Output{Kind: recipe.OutputSecret, Name: s.Name, Type: s.Type, DataKey: s.DataKey,
			ChainOrder: s.ChainOrder, KeyFormat: s.KeyFormat,
			Labels: s.Metadata.Labels, Annotations: s.Metadata.Annotations, Immutable: s.Immutable})
	}
	if c := out.ConfigMap; c != nil {
		all = append(all, recipe.Output{Kind: recipe.OutputConfigMap, Name: c.Name, DataKey: c.DataKey,
			KeyFormat: c.KeyFormat})
	}
	return all
}

// The hints in error messages.
const (
	nameHint    = "use a DNS subdomain name: lower-case letters, digits, hyphens and dots"
	dataKeyHint = "use letters, digits, hyphens, underscores and dots, but neither . alone nor two dots at the start"
	formatHint  = "use raw, pem or jwk"
	orderHint   = "use ensureserverfirst, or leave it empty for the order of the object"
)

func checkOutput(o recipe.Output) error {
	path := o.FieldPath()
	if o.Type == "kubernetes.io/service-account-token" || o.Type == "bootstrap.kubernetes.io/token" {
		return fault.New(fault.Invalid, "%s.type %q is reserved for credentials of the cluster; use another type", path,
			o.Type)
	}
	return checkFields(fieldRule{path + ".name", o.Name, namePattern, nameHint},
		fieldRule{path + ".dataKey", o.DataKey, dataKeyPattern, dataKeyHint},
		fieldRule{path + ".chainOrder", o.ChainOrder, orderPattern, orderHint},
		fieldRule{path + ".keyFormat", o.KeyFormat, formatPattern, formatHint})
}
