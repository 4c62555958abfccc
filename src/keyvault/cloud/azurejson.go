package cloud

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// managedIdentityMarker is what AKS writes as client id and secret of a cluster with a managed identity.
const managedIdentityMarker = "msi"

// maxConfigBytes bounds azure.json before it is parsed; the real file has about 2 KB.
const maxConfigBytes = 1 << 20

// Config is the part of azure.json that says who the cluster is. Secret and password are never printed.
type Config struct {
	Cloud                  string `yaml:"cloud"`
	TenantID               string `yaml:"tenantId"`
	ClientID               string `yaml:"aadClientId"`
	ClientSecret           string `yaml:"aadClientSecret"`
	ClientCertPath         string `yaml:"aadClientCertPath"`
	ClientCertPassword     string `yaml:"aadClientCertPassword"`
	UseManagedIdentity     bool   `yaml:"useManagedIdentityExtension"`
	UserAssignedIdentityID string `yaml:"userAssignedIdentityID"`
}

// String and GoString keep the client secret out of every print of a Config.
func (c Config) String() string {
	return fmt.Sprintf("cloud %q, tenant %q, client %q, managed identity %t", c.Cloud, c.TenantID, c.ClientID, c.ManagedIdentity())
}

// GoString implements fmt.GoStringer.
func (c Config) GoString() string { return c.String() }

// ManagedIdentity says whether the cluster has a managed identity: by the flag, or by the marker that AKS writes as secret.
func (c Config) ManagedIdentity() bool {
	return c.UseManagedIdentity || strings.EqualFold(c.ClientSecret, managedIdentityMarker)
}

// ParseConfig reads azure.json, as JSON or YAML. Fields that the product does not use are ignored. An error never quotes
// the file, because the file holds a secret.
func ParseConfig(data []byte) (Config, error) {
	var c Config
	if len(data) > maxConfigBytes {
		return c, fault.New(fault.Invalid, "parsing azure.json: it has %d bytes, more than the %d that are allowed", len(data), maxConfigBytes)
	}
	if err := yaml.Unmarshal(data, &c); err != nil { // JSON is YAML
		return Config{}, fault.New(fault.Invalid, "parsing azure.json: it is neither JSON nor YAML, or a field has the wrong type; check the file on the node")
	}
	return c, nil
}
