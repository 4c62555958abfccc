package fromapi

import (
	"encoding/json"
	"regexp"
	"slices"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/transform"
)

// resource is the part of an AzureKeyVaultSecret that a recipe is made of.
type resource struct {
	Spec struct {
		Vault struct {
			Name   string `json:"name"`
			Object struct {
				Name        string `json:"name"`
				Type        string `json:"type"`
				Version     string `json:"version"`
				ContentType string `json:"contentType"`
			} `json:"object"`
			AzureIdentity *struct {
				Name string `json:"name"`
			} `json:"azureIdentity"`
		} `json:"vault"`
		Output *output `json:"output"`
	} `json:"spec"`
}

type output struct {
	Transform  []string `json:"transform"`
	Transforms []string `json:"transforms"`
	Secret     *struct {
		Name       string `json:"name"`
		Type       string `json:"type"`
		DataKey    string `json:"dataKey"`
		ChainOrder string `json:"chainOrder"`
	} `json:"secret"`
	ConfigMap *struct {
		Name    string `json:"name"`
		DataKey string `json:"dataKey"`
	} `json:"configMap"`
}

// Parse reads the JSON of an AzureKeyVaultSecret of any version. What can't work is fault.Invalid and names the field.
func Parse(object []byte) (recipe.Recipe, error) {
	var res resource
	if err := json.Unmarshal(object, &res); err != nil {
		return recipe.Recipe{}, fault.New(fault.Invalid, "reading the AzureKeyVaultSecret: it is not the JSON of one")
	}
	vault := res.Spec.Vault
	r := recipe.Recipe{
		Vault: vault.Name, Name: vault.Object.Name, Version: vault.Object.Version,
		Type: recipe.ObjectType(vault.Object.Type), ContentType: vault.Object.ContentType,
	}
	if vault.AzureIdentity != nil {
		r.Identity = vault.AzureIdentity.Name
	}
	if err := checkObject(r); err != nil {
		return recipe.Recipe{}, err
	}
	if err := addOutput(&r, res.Spec.Output); err != nil {
		return recipe.Recipe{}, err
	}
	return r, nil
}

// Patterns of what becomes a part of a URL or a name in Kubernetes, checked where it is used.
const (
	vaultPattern   = `^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$`
	objectPattern  = `^[a-zA-Z0-9-]{1,127}$`
	versionPattern = `^[a-zA-Z0-9]{0,64}$`
	namePattern    = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	dataKeyPattern = `^[-._a-zA-Z0-9]{0,253}$`
)

// rule is one field that has to match a pattern.
type rule struct{ field, value, pattern, hint string }

func check(rules ...rule) error {
	for _, r := range rules {
		if len(r.value) > 253 || !regexp.MustCompile(r.pattern).MatchString(r.value) {
			return fault.New(fault.Invalid, "%s %q is not valid; %s", r.field, r.value, r.hint)
		}
	}
	return nil
}

func checkObject(r recipe.Recipe) error {
	err := check(
		rule{"spec.vault.name", r.Vault, vaultPattern, "use the vault's name alone, without a domain or a URL"},
		rule{"spec.vault.object.name", r.Name, objectPattern, "use 1 to 127 letters, digits and hyphens"},
		rule{"spec.vault.object.version", r.Version, versionPattern, "use the version's identifier, or leave it empty for the latest"},
	)
	if err != nil {
		return err
	}
	if !slices.Contains(recipe.ObjectTypes(), r.Type) {
		return fault.New(fault.Invalid, "spec.vault.object.type %q is not known; use one of %v", r.Type, recipe.ObjectTypes())
	}
	if r.Type == recipe.MultiKey && r.ContentType != "application/x-json" && r.ContentType != "application/x-yaml" {
		return fault.New(fault.Invalid, "spec.vault.object.contentType %q is not valid for a multi-key-value-secret; "+
			"set it to application/x-json or application/x-yaml", r.ContentType)
	}
	return nil
}

func addOutput(r *recipe.Recipe, out *output) error {
	if out == nil {
		return nil
	}
	if len(out.Transform) > 0 && len(out.Transforms) > 0 {
		return fault.New(fault.Invalid, "spec.output has both transform and transforms; keep transform")
	}
	r.Transforms = append(out.Transform, out.Transforms...)
	for _, name := range r.Transforms {
		if !transform.Known(name) {
			return fault.New(fault.Invalid, "spec.output.transform %q is not known; use trim, base64encode or base64decode", name)
		}
	}
	if s := out.Secret; s != nil {
		r.Secret = &recipe.SecretOutput{Name: s.Name, Type: s.Type, DataKey: s.DataKey, ChainOrder: s.ChainOrder}
	}
	if c := out.ConfigMap; c != nil {
		r.ConfigMap = &recipe.ConfigMapOutput{Name: c.Name, DataKey: c.DataKey}
	}
	return checkOutput(*r)
}

func checkOutput(r recipe.Recipe) error {
	const nameHint = "use a DNS subdomain name: lower-case letters, digits, hyphens and dots"
	const keyHint = "use letters, digits, hyphens, underscores and dots"
	if s := r.Secret; s != nil {
		if s.Type == "kubernetes.io/service-account-token" || s.Type == "bootstrap.kubernetes.io/token" {
			return fault.New(fault.Invalid, "spec.output.secret.type %q is reserved for credentials of the cluster itself; use another type", s.Type)
		}
		err := check(rule{"spec.output.secret.name", s.Name, namePattern, nameHint},
			rule{"spec.output.secret.dataKey", s.DataKey, dataKeyPattern, keyHint})
		if err != nil {
			return err
		}
	}
	if c := r.ConfigMap; c != nil {
		return check(rule{"spec.output.configMap.name", c.Name, namePattern, nameHint},
			rule{"spec.output.configMap.dataKey", c.DataKey, dataKeyPattern, keyHint})
	}
	return nil
}
