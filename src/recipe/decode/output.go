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

// The types of Secret with fixed data keys, and Opaque.
const (
	typeOpaque           = "Opaque"
	typeTLS              = "kubernetes.io/tls"
	typeDockerConfigJSON = "kubernetes.io/dockerconfigjson"
	typeDockerConfig     = "kubernetes.io/dockercfg"
	typeBasicAuth        = "kubernetes.io/basic-auth"
	typeSSHAuth          = "kubernetes.io/ssh-auth"
)

// The data keys of these types. Pods select a part of an object by the same names.
const (
	dataKeyCertificate = "tls.crt"
	dataKeyPrivateKey  = "tls.key"
	dataKeyUsername    = "username"
	dataKeyPassword    = "password"
)

// outputFormat is the part of an output's spec that decides how an item becomes data.
type outputFormat struct {
	// fieldPath is the path of the output in the resource, for error messages.
	fieldPath string
	// secretType is empty if the spec has no type, and for ConfigMaps.
	secretType            string
	dataKey               string
	chainOrder, keyFormat string
	// isPublic outputs are ConfigMaps, which many can read.
	isPublic bool
	// allowEmpty accepts the empty value of a secret.
	allowEmpty bool
}

func secretFormat(r recipe.Recipe) outputFormat {
	s := r.Secret
	return outputFormat{fieldPath: "spec.output.secret", secretType: s.Type, dataKey: s.DataKey,
		chainOrder: s.ChainOrder,
		keyFormat:  s.KeyFormat,
		allowEmpty: r.AllowEmpty}
}

func configMapFormat(r recipe.Recipe) outputFormat {
	return outputFormat{fieldPath: "spec.output.configMap", dataKey: r.ConfigMap.DataKey,
		keyFormat:  r.ConfigMap.KeyFormat,
		isPublic:   true,
		allowEmpty: r.AllowEmpty}
}

// forItem returns the shape for one of the recipe's items. With several items, each has its own data key, and the type
// of the Secret sets none.
func (s outputFormat) forItem(r recipe.Recipe, item recipe.Item) outputFormat {
	if !r.MultipleItems {
		return s
	}
	s.fieldPath, s.dataKey = "spec.data[]", item.DataKey
	if s.secretType != typeOpaque {
		s.secretType = ""
	}
	return s
}

// needsPrivateKey reports whether the output needs the private key of a certificate.
func (s outputFormat) needsPrivateKey() bool {
	return s.secretType == typeTLS || s.secretType == typeOpaque
}

// fixedDataKey returns the data key that the Secret's type sets for the value of a secret, empty if it sets none.
func (s outputFormat) fixedDataKey() string {
	return map[string]string{typeDockerConfigJSON: ".dockerconfigjson", typeDockerConfig: ".dockercfg",
		typeSSHAuth: "ssh-privatekey"}[s.secretType]
}

// hasKnownDataKeys reports whether the data keys are known without spec.output.secret.dataKey.
func (s outputFormat) hasKnownDataKeys(item recipe.Item) bool {
	switch item.Type {
	case recipe.MultiKey:
		return true
	case recipe.Secret:
		return s.fixedDataKey() != "" || s.secretType == typeTLS || s.secretType == typeBasicAuth
	case recipe.Certificate:
		return s.secretType == typeTLS
	default:
		return false
	}
}

func (s outputFormat) checkItem(item recipe.Item) error {
	switch {
	case item.Type == recipe.Key && s.secretType == typeTLS:
		return fault.New(fault.Invalid,
			"%s.type %q needs a certificate, but the object is a key; set the object's type to certificate, or use "+
				"another type of Secret", s.fieldPath, typeTLS)
	case s.dataKey == "" && !s.hasKnownDataKeys(item):
		return fault.New(fault.Invalid,
			"%s.dataKey is required for an object of type %s; set it to the key in the output", s.fieldPath, item.Type)
	}
	return nil
}

// decodeItem decodes one object to data and charges the budget.
func (s outputFormat) decodeItem(c FetchedItem, left *budget) (map[string]keyvault.Value, error) {
	var values map[string]keyvault.Value
	var err error
	switch c.Item.Type {
	case recipe.MultiKey:
		values, err = decodeEntries(c.Item, c.Object.Value, left)
	case recipe.Certificate:
		values, err = chargeValues(left)(s.certificateValues(c.Object))
	case recipe.Key:
		values, err = chargeValues(left)(s.singleValue(encodePublicKey(c.Object, s.keyFormat)))
	default:
		values, err = s.secretValues(c, left)
	}
	if err == nil && s.isPublic {
		err = checkNoPrivateKeys(values)
	}
	return values, err
}

func (s outputFormat) singleValue(v keyvault.Value, err error) (map[string]keyvault.Value, error) {
	if err != nil {
		return nil, err
	}
	return map[string]keyvault.Value{s.dataKey: v}, nil
}

// chargeValues charges values that one step decoded from one object. The size of the object limits them.
func chargeValues(left *budget) func(map[string]keyvault.Value, error) (map[string]keyvault.Value, error) {
	return func(values map[string]keyvault.Value, err error) (map[string]keyvault.Value, error) {
		for _, value := range values {
			if err == nil {
				err = left.chargeBytes(value.Len())
			}
		}
		return values, err
	}
}

func (s outputFormat) secretValues(c FetchedItem, left *budget) (map[string]keyvault.Value, error) {
	value, err := left.applyTransforms(c.Item, c.Object.Value)
	if err != nil {
		return nil, err
	}
	if value.Len() == 0 && !s.allowEmpty {
		return nil, emptyValueError(c.Item)
	}
	switch s.secretType {
	case typeTLS:
		return certificateAndKey(value, s.chainOrder)
	case typeBasicAuth:
		return splitBasicAuth(value)
	case typeDockerConfigJSON, typeDockerConfig:
		if !json.Valid(value.Reveal()) {
			return nil, fault.New(fault.Malformed,
				"the value is not JSON, which a Secret of type %s requires; correct it in the vault", s.secretType)
		}
	}
	if key := s.fixedDataKey(); key != "" {
		s.dataKey = key
	}
	return s.singleValue(value, nil)
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

// FallbackVault returns the name of the fallback vault that an object was read from, empty if there is none.
func FallbackVault(contents []FetchedItem) string {
	for _, content := range contents {
		if other := content.Object.FallbackVault; other != "" {
			return other
		}
	}
	return ""
}
