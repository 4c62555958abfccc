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
	keyCertificate = "tls.crt"
	keyPrivate     = "tls.key"
	keyUsername    = "username"
	keyPassword    = "password"
)

// shape is the part of an output's spec that decides how an item becomes data.
type shape struct {
	// field is the path of the output in the resource, for error messages.
	field string
	// secretType is empty if the spec has no type, and for ConfigMaps.
	secretType            string
	dataKey               string
	chainOrder, keyFormat string
	// public outputs are ConfigMaps, which many can read.
	public bool
	// allowEmpty accepts the empty value of a secret.
	allowEmpty bool
}

func shapeOfSecret(r recipe.Recipe) shape {
	s := r.Secret
	return shape{field: "spec.output.secret", secretType: s.Type, dataKey: s.DataKey, chainOrder: s.ChainOrder,
		keyFormat:  s.KeyFormat,
		allowEmpty: r.AllowEmpty}
}

func shapeOfConfigMap(r recipe.Recipe) shape {
	return shape{field: "spec.output.configMap", dataKey: r.ConfigMap.DataKey, keyFormat: r.ConfigMap.KeyFormat,
		public:     true,
		allowEmpty: r.AllowEmpty}
}

// of returns the shape for one of the recipe's items. With several items, each has its own data key, and the type of
// the Secret sets none.
func (s shape) of(r recipe.Recipe, item recipe.Item) shape {
	if !r.Several {
		return s
	}
	s.field, s.dataKey = "spec.data[]", item.DataKey
	if s.secretType != typeOpaque {
		s.secretType = ""
	}
	return s
}

// private reports whether the output needs the private key of a certificate.
func (s shape) private() bool { return s.secretType == typeTLS || s.secretType == typeOpaque }

// fixed returns the data key that the Secret's type sets for the value of a secret, empty if it sets none.
func (s shape) fixed() string {
	return map[string]string{typeDockerConfigJSON: ".dockerconfigjson", typeDockerConfig: ".dockercfg",
		typeSSHAuth: "ssh-privatekey"}[s.secretType]
}

// named reports whether the data keys are known without spec.output.secret.dataKey.
func (s shape) named(item recipe.Item) bool {
	switch item.Type {
	case recipe.MultiKey:
		return true
	case recipe.Secret:
		return s.fixed() != "" || s.secretType == typeTLS || s.secretType == typeBasicAuth
	case recipe.Certificate:
		return s.secretType == typeTLS
	default:
		return false
	}
}

func (s shape) check(item recipe.Item) error {
	switch {
	case item.Type == recipe.Key && s.secretType == typeTLS:
		return fault.New(fault.Invalid,
			"%s.type %q needs a certificate, but the object is a key; set the object's type to certificate, or use "+
				"another type of Secret", s.field, typeTLS)
	case s.dataKey == "" && !s.named(item):
		return fault.New(fault.Invalid,
			"%s.dataKey is required for an object of type %s; set it to the key in the output", s.field, item.Type)
	}
	return nil
}

// values decodes one object to data and charges the budget.
func (s shape) values(c Content, left *budget) (map[string]keyvault.Value, error) {
	var values map[string]keyvault.Value
	var err error
	switch c.Item.Type {
	case recipe.MultiKey:
		values, err = entries(c.Item, c.Object.Value, left)
	case recipe.Certificate:
		values, err = charged(left)(s.ofCertificate(c.Object))
	case recipe.Key:
		values, err = charged(left)(s.one(keyAs(c.Object, s.keyFormat)))
	default:
		values, err = s.ofSecret(c, left)
	}
	if err == nil && s.public {
		err = nothingPrivate(values)
	}
	return values, err
}

func (s shape) one(v keyvault.Value, err error) (map[string]keyvault.Value, error) {
	if err != nil {
		return nil, err
	}
	return map[string]keyvault.Value{s.dataKey: v}, nil
}

// charged charges values that one step decoded from one object. The size of the object limits them.
func charged(left *budget) func(map[string]keyvault.Value, error) (map[string]keyvault.Value, error) {
	return func(values map[string]keyvault.Value, err error) (map[string]keyvault.Value, error) {
		for _, value := range values {
			if err == nil {
				err = left.charge(value.Len())
			}
		}
		return values, err
	}
}

func (s shape) ofSecret(c Content, left *budget) (map[string]keyvault.Value, error) {
	value, err := left.transformed(c.Item, c.Object.Value)
	if err != nil {
		return nil, err
	}
	if value.Len() == 0 && !s.allowEmpty {
		return nil, emptyValue(c.Item)
	}
	switch s.secretType {
	case typeTLS:
		return pair(value, s.chainOrder)
	case typeBasicAuth:
		return credentials(value)
	case typeDockerConfigJSON, typeDockerConfig:
		if !json.Valid(value.Reveal()) {
			return nil, fault.New(fault.Malformed,
				"the value is not JSON, which a Secret of type %s requires; correct it in the vault", s.secretType)
		}
	}
	if key := s.fixed(); key != "" {
		s.dataKey = key
	}
	return s.one(value, nil)
}

// ErrEmpty is the cause of the error about a secret with an empty value.
var ErrEmpty = errors.New("the value is empty")

// emptyValue returns the error that rejects an empty value, which would replace a good value of the output.
func emptyValue(item recipe.Item) error {
	return &fault.Error{Kind: fault.Malformed, Doing: fmt.Sprintf("reading the value of secret %q", item.Name),
		Cause: ErrEmpty,
		Next:  "the output keeps its data; store a value in the vault, or set spec.output.allowEmpty to true"}
}

// credentials splits the value at the first colon, because a password can contain colons and a user name can't.
func credentials(value keyvault.Value) (map[string]keyvault.Value, error) {
	username, password, ok := bytes.Cut(value.Reveal(), []byte(":"))
	if !ok {
		return nil, fault.New(fault.Malformed, "the value has no colon; write user name and password as NAME:PASSWORD")
	}
	return map[string]keyvault.Value{keyUsername: keyvault.NewValue(username),
		keyPassword: keyvault.NewValue(password)}, nil
}

// Fallback returns the name of the fallback vault that an object was read from, empty if there is none.
func Fallback(contents []Content) string {
	for _, content := range contents {
		if other := content.Object.Fallback; other != "" {
			return other
		}
	}
	return ""
}
