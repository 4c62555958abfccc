package decode

import (
	"encoding/json"
	"strconv"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// Flag is a type that exists only in a test of docs/contributing/recipes.md: a secret with a JSON object such as
// {"on": true, "owner": "team-a"}.
const Flag recipe.ObjectType = "flag"

// flagObject is the object type of a flag.
type flagObject struct{ commonObject }

type flagContent struct {
	On    bool   `json:"on"`
	Owner string `json:"owner"`
}

func parseFlag(v keyvault.Value) (flagContent, error) {
	var content flagContent
	if json.Unmarshal(v.Reveal(), &content) != nil {
		return content, fault.New(fault.Malformed, "the value is not a flag; store JSON such as {\"on\": true}")
	}
	return content, nil
}

func (flagObject) typeName() recipe.ObjectType { return Flag }

func (flagObject) vaultKind(bool) keyvault.Kind { return keyvault.KindSecret }

func (flagObject) checkOutput(f outputFormat) error { return f.requireDataKey(Flag) }

func (flagObject) outputData(f outputFormat, item FetchedItem, left *budget) (map[string]keyvault.Value, error) {
	content, err := parseFlag(item.Object.Value)
	return chargeValues(left)(f.singleValue(keyvault.NewValue([]byte(strconv.FormatBool(content.On))), err))
}

func (flagObject) queryParts() []string { return []string{"owner"} }

func (flagObject) variableValue(q Query, o keyvault.Object) (keyvault.Value, error) {
	content, err := parseFlag(o.Value)
	if q.Part == "owner" {
		return keyvault.NewValue([]byte(content.Owner)), err
	}
	return keyvault.NewValue([]byte(strconv.FormatBool(content.On))), err
}
