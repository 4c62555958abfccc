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
	identity := credential.Config{Mode: credential.Mode(c.Auth), Lookup: c.Lookup, CloudConfigFile: c.CloudConfigFile,
		ReadFile: os.ReadFile, Clock: time.Now}
	var err error
	if identity.Cloud, err = c.cloud(); err != nil {
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

// cloud is what AZURE_ENVIRONMENT says, else azure.json.
func (c Config) cloud() (cloud.Cloud, error) {
	name, _ := c.Lookup("AZURE_ENVIRONMENT")
	if name == "" && credential.Mode(c.Auth) == credential.CloudConfig {
		// A file that can't be read is told by the credential, which needs it too.
		if content, err := os.ReadFile(c.CloudConfigFile); err == nil {
			file, err := cloud.ParseConfig(content)
			if err != nil {
				return cloud.Cloud{}, err
			}
			name = file.Cloud
		}
	}
	if !cloud.IsCustom(name) {
		return cloud.Parse(name)
	}
	path, _ := c.Lookup("AZURE_ENVIRONMENT_FILEPATH")
	if path == "" {
		return cloud.Cloud{}, fmt.Errorf("the cloud is %s, but AZURE_ENVIRONMENT_FILEPATH is missing; set the value global.customCloud", cloud.CustomName)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return cloud.Cloud{}, fmt.Errorf("reading the cloud's environment file: %w; set the value global.customCloud, or mount the file", err)
	}
	return cloud.ParseCustom(content)
}
