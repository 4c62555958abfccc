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

// Config has the fields of azure.json that describe the identity of the cluster. It never prints secret and password.
type Config struct {
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
func (c Config) String() string {
	return fmt.Sprintf("cloud %q, tenant %q, client %q, managed identity %t", c.Cloud, c.TenantID, c.ClientID,
		c.ManagedIdentity())
}

// GoString implements fmt.GoStringer.
func (c Config) GoString() string { return c.String() }

// ManagedIdentity reports whether the cluster has a managed identity: by its flag, or by the marker that AKS writes as
// the secret.
func (c Config) ManagedIdentity() bool {
	return c.UseManagedIdentity || strings.EqualFold(strings.TrimSpace(c.ClientSecret), managedIdentityMarker)
}

// configFile has the fields of azure.json, named as in the Kubernetes cloud provider. Names match in any letter case.
// Of a repeated field, the last one counts.
type configFile struct {
	Cloud                  text `json:"cloud"`
	TenantID               text `json:"tenantId"`
	ClientID               text `json:"aadClientId"`
	ClientSecret           text `json:"aadClientSecret"`
	ClientCertPath         text `json:"aadClientCertPath"`
	ClientCertPassword     text `json:"aadClientCertPassword"`
	UseManagedIdentity     flag `json:"useManagedIdentityExtension"`
	UserAssignedIdentityID text `json:"userAssignedIdentityID"`
}

func fieldNames() []string {
	return []string{"cloud", "tenantId", "aadClientId", "aadClientSecret", "aadClientCertPath", "aadClientCertPassword",
		"useManagedIdentityExtension", "userAssignedIdentityID"}
}

// errType is the error of a field with a value of the wrong type.
var errType = errors.New("neither text nor number")

// text is a string that also accepts a JSON number, because YAML ids can lack quotes.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(data []byte) error {
	switch {
	case string(data) == "null":
		return nil
	case data[0] == '{' || data[0] == '[':
		return errType
	case data[0] != '"':
		*t = text(data)
		return nil
	}
	var s string
	err := json.Unmarshal(data, &s)
	*t = text(s)
	return err
}

// flag is a boolean that also accepts a quoted value.
type flag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *flag) UnmarshalJSON(data []byte) error {
	var t text
	if err := t.UnmarshalJSON(data); err != nil || string(data) == "null" {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(string(t))) {
	case "true", "yes", "on", "y":
		*f = true
	case "false", "no", "off", "n", "":
		*f = false
	default:
		return errType
	}
	return nil
}

// ParseConfig reads azure.json in JSON or YAML and ignores unused fields. Errors never quote the file, because it holds
// a secret.
func ParseConfig(data []byte) (Config, error) {
	const next = "check the file on the node, or set keyVaultAuth to environment and configure credentials"
	if len(data) > limits.CloudConfigBytes {
		return Config{}, fault.Advise(fault.Invalid, next,
			"parsing azure.json: it has %d bytes, more than the %d that are allowed", len(data),
			limits.CloudConfigBytes)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var file configFile
	err := json.Unmarshal(data, &file)
	if err != nil && !json.Valid(data) {
		file = configFile{}
		err = fromYAML(data, &file)
	}
	switch {
	case errors.Is(err, errType), err != nil && json.Valid(data):
		return Config{}, fault.Advise(fault.Invalid, next,
			"parsing azure.json: one of the fields %s has the wrong type, or the file is not an object",
			strings.Join(fieldNames(), ", "))
	case err != nil:
		return Config{}, fault.Advise(fault.Invalid, next, "parsing azure.json: it is neither JSON nor YAML")
	}
	trim := func(t text) string { return strings.TrimSpace(string(t)) }
	return Config{Cloud: trim(file.Cloud), TenantID: trim(file.TenantID), ClientID: trim(file.ClientID),
		ClientSecret:   string(file.ClientSecret),
		ClientCertPath: trim(file.ClientCertPath), ClientCertPassword: string(file.ClientCertPassword),
		UseManagedIdentity:     bool(file.UseManagedIdentity),
		UserAssignedIdentityID: trim(file.UserAssignedIdentityID)}, nil
}

// fromYAML reads the scalar fields of a YAML mapping. It reads no nested values, so it never expands aliases.
func fromYAML(data []byte, file *configFile) error {
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
			return nil, errType
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
