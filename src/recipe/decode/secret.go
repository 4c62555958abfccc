package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// Secret is the type of a secret with one value.
const Secret recipe.ObjectType = "secret"

// secretObject is the object type of a secret with one value.
type secretObject struct{ commonObject }

func (secretObject) typeName() recipe.ObjectType { return Secret }

func (secretObject) vaultKind(bool) keyvault.Kind { return keyvault.KindSecret }

func (secretObject) checkOutput(f outputFormat) error {
	if f.fixedDataKey() != "" || f.secretType == typeTLS || f.secretType == typeBasicAuth {
		return nil
	}
	return f.requireDataKey(Secret)
}

func (secretObject) outputData(f outputFormat, item FetchedItem, left *budget) (map[string]keyvault.Value, error) {
	value, err := left.applyTransforms(item.Item, item.Object.Value)
	if err != nil {
		return nil, err
	}
	if value.Len() == 0 && !f.allowEmpty {
		return nil, emptyValueError(item.Item)
	}
	switch f.secretType {
	case typeTLS:
		return certificateAndKey(value, f.chainOrder, left.parser.Parse)
	case typeBasicAuth:
		return splitBasicAuth(value)
	case typeDockerConfigJSON, typeDockerConfig:
		if !json.Valid(value.Reveal()) {
			return nil, fault.New(fault.Malformed,
				"the value is not JSON, which a Secret of type %s requires; correct it in the vault", f.secretType)
		}
	}
	if key := f.fixedDataKey(); key != "" {
		f.dataKey = key
	}
	return f.singleValue(value, nil)
}

func (secretObject) queryParts() []string { return []string{dataKeyUsername, dataKeyPassword} }

func (secretObject) variableValue(q Query, o keyvault.Object) (keyvault.Value, error) {
	value, err := newVariableBudget().applyTransforms(q.Item, o.Value)
	if err != nil || q.Part == "" {
		return value, err
	}
	both, err := splitBasicAuth(value)
	return both[q.Part], err
}

// ErrEmptyValue is the cause of the error about a secret with an empty value.
var ErrEmptyValue = errors.New("the value is empty")

// emptyValueError returns the error that rejects an empty value, which would replace a good value of the output.
func emptyValueError(item recipe.Item) error {
	return &fault.Error{Kind: fault.Malformed, Operation: fmt.Sprintf("reading the value of secret %q", item.Name),
		Cause: ErrEmptyValue,
		Next:  "the output keeps its data; store a value in the vault, or set spec.output.allowEmpty to true"}
}

// splitBasicAuth splits the value at the first colon, because a password can contain colons and a user name can't.
func splitBasicAuth(value keyvault.Value) (map[string]keyvault.Value, error) {
	username, password, ok := bytes.Cut(value.Reveal(), []byte(":"))
	if !ok {
		return nil, fault.New(fault.Malformed, "the value has no colon; write user name and password as NAME:PASSWORD")
	}
	return map[string]keyvault.Value{dataKeyUsername: keyvault.NewValue(username),
		dataKeyPassword: keyvault.NewValue(password)}, nil
}
