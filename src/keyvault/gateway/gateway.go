package gateway

import (
	"fmt"
	"os"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/keyvault/reader"
	"github.com/akv2k8s/akv2k8s/src/trust"
)

// FetchTimeout bounds one read of a vault, retries and token included.
const FetchTimeout = 20 * time.Second

// Bounds of the reader that no setting needs to change.
const (
	parallel = 32
	entries  = 10000
)

// Config is what an installation says.
type Config struct {
	// Auth is AUTH_TYPE.
	Auth string
	// CloudConfigFile is the path of azure.json, read if Auth is azureCloudConfig.
	CloudConfigFile string
	// ExtraCAFile is the path of certificate authorities to believe besides the public ones; may be empty.
	ExtraCAFile string
	// Lookup reads an environment variable.
	Lookup func(string) (string, bool)
	// Keep is how long an answer stays in memory.
	Keep time.Duration
}

// Load reads the files and checks everything; it calls no vault.
func Load(c Config) (*reader.Reader, error) {
	identity := credential.Config{Mode: credential.Mode(c.Auth), Lookup: c.Lookup}
	name, _ := c.Lookup("AZURE_ENVIRONMENT")
	var err error
	if identity.Mode == credential.CloudConfig {
		if identity.File, err = cloudConfig(c.CloudConfigFile); err != nil {
			return nil, err
		}
		if name == "" {
			name = identity.File.Cloud
		}
	}
	if identity.Cloud, err = cloud.Parse(name); err != nil {
		return nil, err
	}
	var extra []byte
	if c.ExtraCAFile != "" {
		if extra, err = os.ReadFile(c.ExtraCAFile); err != nil {
			return nil, fmt.Errorf("reading the extra CA certificates: %w; see the value global.extraCACertificates", err)
		}
	}
	pool, err := trust.Pool(extra)
	if err != nil {
		return nil, err
	}
	transport := trust.Client(pool)
	identity.Transport = transport
	token, err := credential.New(identity)
	if err != nil {
		return nil, err
	}
	vaults, err := azure.New(azure.Config{Credential: token, Cloud: identity.Cloud, Transport: transport})
	if err != nil {
		return nil, err
	}
	return reader.New(reader.Config{Fetcher: vaults, Clock: time.Now, Parallel: parallel, Timeout: FetchTimeout, Keep: c.Keep, Entries: entries})
}

func cloudConfig(file string) (cloud.Config, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return cloud.Config{}, fmt.Errorf("reading azure.json: %w; allow the host path in the pod's policy, or set keyVaultAuth to environment", err)
	}
	return cloud.ParseConfig(content)
}
