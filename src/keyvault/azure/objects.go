package azure

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

type (
	secretClient struct {
		*azsecrets.Client
		host string
	}
	certificateClient struct {
		*azcertificates.Client
		host string
	}
	keyClient struct {
		*azkeys.Client
		host string
	}
)

func (s secretClient) fetchObject(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Kind == keyvault.KindSecretList {
		return s.listSecrets(ctx, ref)
	}
	answer, err := s.GetSecret(ctx, ref.Name, ref.Version, nil)
	if err != nil {
		return keyvault.Object{}, err
	}
	if answer.Value == nil || answer.ID == nil {
		return keyvault.Object{}, incompleteAnswerError()
	}
	object, err := newObject(ref, answer.ID, []byte(*answer.Value))
	if err != nil {
		return object, err
	}
	if answer.ContentType != nil {
		object.ContentType = *answer.ContentType
	}
	if a := answer.Attributes; a != nil {
		setDates(&object, a.Updated, a.NotBefore, a.Expires)
	}
	setTags(&object, answer.Tags)
	return object, nil
}

// The vault serves a disabled version of a certificate, because a certificate is public. It is rejected here, as the
// vault rejects a disabled secret.
func (c certificateClient) fetchObject(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Kind == keyvault.KindCertificateList {
		return c.listCertificates(ctx, ref)
	}
	answer, err := c.GetCertificate(ctx, ref.Name, ref.Version, nil)
	if err != nil {
		return keyvault.Object{}, err
	}
	if len(answer.CER) == 0 || answer.ID == nil {
		return keyvault.Object{}, incompleteAnswerError()
	}
	object, err := newObject(ref, answer.ID, answer.CER)
	if err != nil {
		return object, err
	}
	if a := answer.Attributes; a != nil {
		setDates(&object, a.Updated, a.NotBefore, a.Expires)
		err = checkEnabled(a.Enabled)
	}
	setTags(&object, answer.Tags)
	return object, err
}

func (k keyClient) fetchObject(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Kind == keyvault.KindKeyList {
		return k.listKeys(ctx, ref)
	}
	answer, err := k.GetKey(ctx, ref.Name, ref.Version, nil)
	if err != nil {
		return keyvault.Object{}, err
	}
	if answer.Key == nil || answer.Key.KID == nil || answer.Key.Kty == nil {
		return keyvault.Object{}, incompleteAnswerError()
	}
	object, err := newObject(ref, answer.Key.KID, publicJSONWebKey(answer.Key))
	if err != nil {
		return object, err
	}
	if a := answer.Attributes; a != nil {
		setDates(&object, a.Updated, a.NotBefore, a.Expires)
		err = checkEnabled(a.Enabled)
	}
	setTags(&object, answer.Tags)
	return object, err
}

// publicJSONWebKey returns the public JSON web key with the names of the standard: a vault uses the type RSA-HSM for
// keys in hardware, and the curve name P-256K for secp256k1 (RFC 8812).
func publicJSONWebKey(key *azkeys.JSONWebKey) []byte {
	number := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	out := struct {
		ID    string `json:"kid"`
		Type  string `json:"kty"`
		Curve string `json:"crv,omitempty"`
		N     string `json:"n,omitempty"`
		E     string `json:"e,omitempty"`
		X     string `json:"x,omitempty"`
		Y     string `json:"y,omitempty"`
	}{ID: string(*key.KID), Type: strings.TrimSuffix(string(*key.Kty), "-HSM"), N: number(key.N), E: number(key.E),
		X: number(key.X), Y: number(key.Y)}
	if key.Crv != nil {
		out.Curve = string(*key.Crv)
	}
	if out.Curve == string(azkeys.CurveNameP256K) {
		out.Curve = "secp256k1"
	}
	content, _ := json.Marshal(out) // marshaling a struct of strings does not fail
	return content
}

// objectID is the id of an object: a URL with its name and version.
type objectID interface {
	Name() string
	Version() string
}

func newObject(ref keyvault.Ref, id objectID, value []byte) (keyvault.Object, error) {
	version := id.Version()
	if !strings.EqualFold(id.Name(), ref.Name) || version == "" ||
		(ref.Version != "" && !strings.EqualFold(version, ref.Version)) {
		return keyvault.Object{}, fault.NewWithNextStep(fault.Malformed,
			"check what is between the cluster and the vault, such as a caching proxy",
			"the vault returned another object or version")
	}
	if len(value) > limits.VaultValueBytes {
		return keyvault.Object{}, fault.NewWithNextStep(fault.Malformed, "store a smaller value",
			"the value has %d bytes, more than the limit of %d", len(value), limits.VaultValueBytes)
	}
	return keyvault.Object{Ref: ref, Version: version, Value: keyvault.NewValue(value), Tags: map[string]string{}}, nil
}

func incompleteAnswerError() error {
	return fault.NewWithNextStep(fault.Malformed,
		"check what is between the cluster and the vault, such as a caching proxy",
		"the vault's response is incomplete: it has no value or no id")
}

func checkEnabled(is *bool) error {
	if is == nil || *is {
		return nil
	}
	return fault.NewWithNextStep(fault.Disabled, "enable this version in the vault, or set a version that is enabled",
		"it is disabled")
}

func setDates(object *keyvault.Object, updated, notBefore, expires *time.Time) {
	for to, from := range map[*time.Time]*time.Time{&object.Updated: updated, &object.NotBefore: notBefore,
		&object.Expires: expires} {
		if from != nil {
			*to = from.UTC()
		}
	}
}

func setTags(object *keyvault.Object, tags map[string]*string) {
	for name, value := range tags {
		if value != nil {
			object.Tags[name] = *value
		}
	}
}
