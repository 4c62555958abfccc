package cloud

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// CustomCloudName is the name of a cloud that an environment file describes: Azure Stack Hub or another private cloud.
const CustomCloudName = "AzureStackCloud"

// IsCustom reports whether name selects a cloud that an environment file describes.
func IsCustom(name string) bool { return strings.EqualFold(strings.TrimSpace(name), CustomCloudName) }

// environmentFile has the required fields of the environment file of Azure's tools.
type environmentFile struct {
	Name                    string `json:"name"`
	ActiveDirectoryEndpoint string `json:"activeDirectoryEndpoint"`
	KeyVaultDNSSuffix       string `json:"keyVaultDNSSuffix"`
	RegistryDNSSuffix       string `json:"containerRegistryDNSSuffix,omitempty"`
	ResourceIdentifiers     struct {
		KeyVault string `json:"keyVault"`
	} `json:"resourceIdentifiers"`
}

// dnsSuffixPattern matches a domain of at least two labels. A single label such as "net" would make every host a vault.
var dnsSuffixPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$`)

// ParseCustom reads the environment file of a private cloud, in the JSON format of Azure's tools. Invalid input is
// fault.Invalid, and the error names the field.
func ParseCustom(content []byte) (Cloud, error) {
	var file environmentFile
	if len(content) > limits.CloudConfigBytes ||
		json.Unmarshal(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), &file) != nil {
		return Cloud{}, fault.NewWithNextStep(fault.Invalid,
			"use the format of Azure's tools, or the value global.customCloud",
			"the cloud's environment file is not JSON of at most %s", limits.Bytes(limits.CloudConfigBytes))
	}
	c := Cloud{Name: CustomCloudName, IsPrivate: true,
		VaultSuffix: strings.TrimPrefix(strings.ToLower(file.KeyVaultDNSSuffix), ".")}
	if !dnsSuffixPattern.MatchString(c.VaultSuffix) {
		return Cloud{}, fault.NewWithNextStep(fault.Invalid, "use a suffix such as vault.example.org",
			"keyVaultDNSSuffix %.80q of the cloud is not a DNS suffix", file.KeyVaultDNSSuffix)
	}
	if c.RegistrySuffix = strings.TrimPrefix(strings.ToLower(file.RegistryDNSSuffix), "."); c.RegistrySuffix != "" &&
		!dnsSuffixPattern.MatchString(c.RegistrySuffix) {
		return Cloud{}, fault.NewWithNextStep(fault.Invalid, "use a suffix such as azurecr.example.org",
			"containerRegistryDNSSuffix %.80q of the cloud is not a DNS suffix", file.RegistryDNSSuffix)
	}
	var err error
	if c.Authority, err = parseHTTPSURL("activeDirectoryEndpoint", file.ActiveDirectoryEndpoint); err != nil {
		return Cloud{}, err
	}
	audience := file.ResourceIdentifiers.KeyVault
	if audience == "" {
		audience = "https://" + c.VaultSuffix
	}
	if audience, err = parseHTTPSURL("resourceIdentifiers.keyVault", audience); err != nil {
		return Cloud{}, err
	}
	c.VaultScope = strings.TrimSuffix(audience, "/") + "/.default"
	return c, nil
}

// FormatSetting returns the cloud as text that ParseSetting reads.
func (c Cloud) FormatSetting() string {
	if !c.IsPrivate {
		return c.Name
	}
	file := environmentFile{Name: c.Name, ActiveDirectoryEndpoint: c.Authority, KeyVaultDNSSuffix: c.VaultSuffix,
		RegistryDNSSuffix: c.RegistrySuffix}
	file.ResourceIdentifiers.KeyVault = strings.TrimSuffix(c.VaultScope, "/.default")
	content, err := json.Marshal(file)
	if err != nil {
		return "" // marshaling a struct of strings does not fail
	}
	return string(content)
}

// ParseSetting reads the text form of a cloud: the name of a known cloud, or the environment file of a private one.
func ParseSetting(text string) (Cloud, error) {
	if strings.HasPrefix(text, "{") {
		return ParseCustom([]byte(text))
	}
	return Parse(text)
}

// parseHTTPSURL checks an https URL and returns it with a trailing slash.
func parseHTTPSURL(field, text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fault.NewWithNextStep(fault.Invalid, "write https://HOST, without user, query or fragment",
			"%s %.80q of the cloud is not a valid https URL", field, text)
	}
	return strings.TrimSuffix(text, "/") + "/", nil
}
