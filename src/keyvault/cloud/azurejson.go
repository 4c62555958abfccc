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

// managedIdentityMarker is what AKS writes as client id and secret of a cluster with a managed identity.
const managedIdentityMarker = "msi"

// Config is the part of azure.json that says who the cluster is. Secret and password are never printed.
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

// String and GoString keep the client secret out of every print of a Config.
func (c Config) String() string {
	return fmt.Sprintf("cloud %q, tenant %q, client %q, managed identity %t", c.Cloud, c.TenantID, c.ClientID,
		c.ManagedIdentity())
}

// GoString implements fmt.GoStringer.
func (c Config) GoString() string { return c.String() }

// ManagedIdentity says whether the cluster has a managed identity: by the flag, or by the marker that AKS writes as
// secret.
func (c Config) ManagedIdentity() bool {
	return c.UseManagedIdentity || strings.EqualFold(strings.TrimSpace(c.ClientSecret), managedIdentityMarker)
}

// configFile has the fields of azure.json as Kubernetes' cloud provider names them. It reads them in any letter case,
// and of a field that is there twice it takes the last.
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

// errType is of a field that holds something else than it may.
var errType = errors.New("neither text nor number")

// text is a string; a number stands for its own digits, as ids without quotes do in YAML.
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

// flag is a boolean, also one in quotes.
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

// ParseConfig reads azure.json: JSON as JSON, and else YAML. Fields that the product does not use are ignored. An error
// never quotes the file, because the file holds a secret.
func ParseConfig(data []byte) (Config, error) {
	const next = "check the file on the node, or set keyVaultAuth to environment and give credentials of your own"
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
			"parsing azure.json: one of the fields %s has the wrong type, or the file is no object",
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

// fromYAML takes the fields out of a YAML mapping, and nothing below them, so that no alias is ever expanded.
func fromYAML(data []byte, file *configFile) error {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return errors.New("no YAML")
	}
	if len(document.Content) == 0 {
		return nil
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
			return nil
		}
		return errors.New("no mapping")
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

// scalarFields are the fields of a mapping that azure.json knows, as JSON.
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
