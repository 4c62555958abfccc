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

// The types of Secret that have data keys of their own.
const (
	typeOpaque           = "Opaque"
	typeTLS              = "kubernetes.io/tls"
	typeDockerConfigJSON = "kubernetes.io/dockerconfigjson"
	typeDockerConfig     = "kubernetes.io/dockercfg"
	typeBasicAuth        = "kubernetes.io/basic-auth"
	typeSSHAuth          = "kubernetes.io/ssh-auth"
)

// The data keys of these types, and names by which pods ask for a part.
const (
	keyCertificate = "tls.crt"
	keyPrivate     = "tls.key"
	keyUsername    = "username"
	keyPassword    = "password"
)

// shape is what an output wants of an item.
type shape struct {
	// field is the output's path in the spec, for messages.
	field string
	// secretType is empty where no type was said, and for ConfigMaps.
	secretType            string
	dataKey               string
	chainOrder, keyFormat string
	// public outputs can be read by many.
	public bool
	// allowEmpty lets a secret's empty value become one of the output.
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

// of is the shape for one of the recipe's items. Of several, each has a data key of its own, whatever the Secret's
// type.
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

// private says whether a certificate's private key is wanted.
func (s shape) private() bool { return s.secretType == typeTLS || s.secretType == typeOpaque }

// fixed is the data key that the type gives a secret's value, empty if the user says it.
func (s shape) fixed() string {
	return map[string]string{typeDockerConfigJSON: ".dockerconfigjson", typeDockerConfig: ".dockercfg",
		typeSSHAuth: "ssh-privatekey"}[s.secretType]
}

// named says whether the data keys are known without the user.
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
			"%s.type %q can't be made of a key, which has no certificate; use type certificate, or another type of "+
				"Secret", s.field, typeTLS)
	case s.dataKey == "" && !s.named(item):
		return fault.New(fault.Invalid,
			"%s.dataKey is required for an object of type %s; set it to the key in the output", s.field, item.Type)
	}
	return nil
}

// values makes the data of one object, and charges the budget.
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

// charged charges values that were made of one object at once; what they are made of bounds them.
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
				"the value is no JSON, which a Secret of type %s holds; correct it in the vault", s.secretType)
		}
	}
	if key := s.fixed(); key != "" {
		s.dataKey = key
	}
	return s.one(value, nil)
}

// ErrEmpty is the cause of an error about a secret without content.
var ErrEmpty = errors.New("the value is empty")

// emptyValue refuses a secret without content: the vault may hold it by mistake, and it would replace a good value.
func emptyValue(item recipe.Item) error {
	return &fault.Error{Kind: fault.Malformed, Doing: fmt.Sprintf("reading the value of secret %q", item.Name),
		Cause: ErrEmpty,
		Next:  "the output keeps what it has; store a value in the vault, or set spec.output.allowEmpty to true"}
}

// credentials splits at the first colon: a password may hold more of them, a user name none.
func credentials(value keyvault.Value) (map[string]keyvault.Value, error) {
	username, password, ok := bytes.Cut(value.Reveal(), []byte(":"))
	if !ok {
		return nil, fault.New(fault.Malformed, "the value has no colon; write user name and password as NAME:PASSWORD")
	}
	return map[string]keyvault.Value{keyUsername: keyvault.NewValue(username),
		keyPassword: keyvault.NewValue(password)}, nil
}

// Fallback is the vault that was read in place of the one that is meant, empty if none was.
func Fallback(contents []Content) string {
	for _, content := range contents {
		if other := content.Object.Fallback; other != "" {
			return other
		}
	}
	return ""
}
