package cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// managedIdentityMarker is the client id and secret that AKS writes for a cluster with a managed identity.
const managedIdentityMarker = "msi"

// AzureJSON has the fields of azure.json that describe the identity of the cluster. It never prints secret and
// password.
type AzureJSON struct {
	Cloud                  string
	TenantID               string
	ClientID               string
	ClientSecret           string
	ClientCertPath         string
	ClientCertPassword     string
	UseManagedIdentity     bool
	UserAssignedIdentityID string
}

// String describes the identity without its secrets.
func (c AzureJSON) String() string {
	return fmt.Sprintf("cloud %q, tenant %q, client %q, managed identity %t", c.Cloud, c.TenantID, c.ClientID,
		c.HasManagedIdentity())
}

// GoString implements fmt.GoStringer.
func (c AzureJSON) GoString() string { return c.String() }

// HasManagedIdentity reports whether the cluster has a managed identity: by its flag, or by the marker that AKS writes
// as the secret.
func (c AzureJSON) HasManagedIdentity() bool {
	return c.UseManagedIdentity || strings.EqualFold(strings.TrimSpace(c.ClientSecret), managedIdentityMarker)
}

// azureJSONFile has the fields of azure.json, named as in the Kubernetes cloud provider. Names match in any letter
// case. Of a repeated field, the last one counts.
type azureJSONFile struct {
	Cloud                  looseString `json:"cloud"`
	TenantID               looseString `json:"tenantId"`
	ClientID               looseString `json:"aadClientId"`
	ClientSecret           looseString `json:"aadClientSecret"`
	ClientCertPath         looseString `json:"aadClientCertPath"`
	ClientCertPassword     looseString `json:"aadClientCertPassword"`
	UseManagedIdentity     looseBool   `json:"useManagedIdentityExtension"`
	UserAssignedIdentityID looseString `json:"userAssignedIdentityID"`
}

func fieldNames() []string {
	return []string{"cloud", "tenantId", "aadClientId", "aadClientSecret", "aadClientCertPath", "aadClientCertPassword",
		"useManagedIdentityExtension", "userAssignedIdentityID"}
}

// errFieldType is the error of a field with a value of the wrong type.
var errFieldType = errors.New("neither text nor number")

// looseString is a string that also accepts a JSON number, because YAML ids can lack quotes.
type looseString string

// UnmarshalJSON implements json.Unmarshaler.
func (t *looseString) UnmarshalJSON(data []byte) error {
	switch {
	case string(data) == "null":
		return nil
	case data[0] == '{' || data[0] == '[':
		return errFieldType
	case data[0] != '"':
		*t = looseString(data)
		return nil
	}
	var s string
	err := json.Unmarshal(data, &s)
	*t = looseString(s)
	return err
}

// looseBool is a boolean that also accepts a quoted value.
type looseBool bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *looseBool) UnmarshalJSON(data []byte) error {
	var t looseString
	if err := t.UnmarshalJSON(data); err != nil || string(data) == "null" {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(string(t))) {
	case "true", "yes", "on", "y":
		*f = true
	case "false", "no", "off", "n", "":
		*f = false
	default:
		return errFieldType
	}
	return nil
}

// ParseAzureJSON reads azure.json in JSON or YAML and ignores unused fields. Errors never quote the file, because it
// holds a secret.
func ParseAzureJSON(data []byte) (AzureJSON, error) {
	const next = "check the file on the node, or set keyVaultAuth to environment and configure credentials"
	if len(data) > limits.CloudConfigBytes {
		return AzureJSON{}, fault.NewWithNextStep(fault.Invalid, next,
			"parsing azure.json: it has %d bytes, more than the %d that are allowed", len(data),
			limits.CloudConfigBytes)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var file azureJSONFile
	err := json.Unmarshal(data, &file)
	if err != nil && !json.Valid(data) {
		file = azureJSONFile{}
		err = decodeYAML(data, &file)
	}
	switch {
	case errors.Is(err, errFieldType), err != nil && json.Valid(data):
		return AzureJSON{}, fault.NewWithNextStep(fault.Invalid, next,
			"parsing azure.json: one of the fields %s has the wrong type, or the file is not an object",
			strings.Join(fieldNames(), ", "))
	case err != nil:
		return AzureJSON{}, fault.NewWithNextStep(fault.Invalid, next,
			"parsing azure.json: it is neither JSON nor YAML")
	}
	trim := func(t looseString) string { return strings.TrimSpace(string(t)) }
	return AzureJSON{Cloud: trim(file.Cloud), TenantID: trim(file.TenantID), ClientID: trim(file.ClientID),
		ClientSecret:   string(file.ClientSecret),
		ClientCertPath: trim(file.ClientCertPath), ClientCertPassword: string(file.ClientCertPassword),
		UseManagedIdentity:     bool(file.UseManagedIdentity),
		UserAssignedIdentityID: trim(file.UserAssignedIdentityID)}, nil
}

// decodeYAML reads the scalar fields of a YAML mapping. It reads no nested values, so it never expands aliases.
func decodeYAML(data []byte, file *azureJSONFile) error {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return errors.New("not YAML")
	}
	if len(document.Content) == 0 {
		return nil
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
			return nil
		}
		return errors.New("not a mapping")
	}
	fields, err := scalarFields(root)
	if err != nil {
		return err
	}
	content, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, file)
}

// scalarFields returns the known fields of a mapping as JSON.
func scalarFields(root *yaml.Node) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		at := slices.IndexFunc(fieldNames(),
			func(name string) bool { return strings.EqualFold(name, root.Content[i].Value) })
		if at < 0 {
			continue
		}
		value := root.Content[i+1]
		if value.Alias != nil {
			value = value.Alias
		}
		if value.Kind != yaml.ScalarNode {
			return nil, errFieldType
		}
		if value.Tag == "!!null" {
			continue
		}
		encoded, err := json.Marshal(value.Value)
		if err != nil {
			return nil, err
		}
		fields[fieldNames()[at]] = encoded
	}
	return fields, nil
}
