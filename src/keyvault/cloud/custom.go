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

// CustomName is what a cloud is called that a file describes: Azure Stack, or another private cloud.
const CustomName = "AzureStackCloud"

// IsCustom says whether the name is that of a cloud which a file describes.
func IsCustom(name string) bool { return strings.EqualFold(strings.TrimSpace(name), CustomName) }

// environmentFile is the part of the environment file of Azure's tools that the product needs.
type environmentFile struct {
	Name                    string `json:"name"`
	ActiveDirectoryEndpoint string `json:"activeDirectoryEndpoint"`
	KeyVaultDNSSuffix       string `json:"keyVaultDNSSuffix"`
	RegistryDNSSuffix       string `json:"containerRegistryDNSSuffix,omitempty"`
	ResourceIdentifiers     struct {
		KeyVault string `json:"keyVault"`
	} `json:"resourceIdentifiers"`
}

// dnsSuffix is a domain of two labels at least, so that a slip can't make every host a vault.
var dnsSuffix = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$`)

// ParseCustom reads the environment file of a private cloud, JSON as Azure's tools write it. What can't work is
// fault.Invalid and names the field.
func ParseCustom(content []byte) (Cloud, error) {
	var file environmentFile
	if len(content) > limits.CloudConfigBytes ||
		json.Unmarshal(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), &file) != nil {
		return Cloud{}, fault.Advise(fault.Invalid, "write it as Azure's tools do, or use the value global.customCloud",
			"the cloud's environment file is no JSON of at most %s", limits.Bytes(limits.CloudConfigBytes))
	}
	c := Cloud{Name: CustomName, Private: true,
		VaultSuffix: strings.TrimPrefix(strings.ToLower(file.KeyVaultDNSSuffix), ".")}
	if !dnsSuffix.MatchString(c.VaultSuffix) {
		return Cloud{}, fault.Advise(fault.Invalid, "write for example vault.example.org",
			"keyVaultDNSSuffix %.80q of the cloud is no DNS suffix", file.KeyVaultDNSSuffix)
	}
	if c.RegistrySuffix = strings.TrimPrefix(strings.ToLower(file.RegistryDNSSuffix), "."); c.RegistrySuffix != "" &&
		!dnsSuffix.MatchString(c.RegistrySuffix) {
		return Cloud{}, fault.Advise(fault.Invalid, "write for example azurecr.example.org",
			"containerRegistryDNSSuffix %.80q of the cloud is no DNS suffix", file.RegistryDNSSuffix)
	}
	var err error
	if c.Authority, err = httpsURL("activeDirectoryEndpoint", file.ActiveDirectoryEndpoint); err != nil {
		return Cloud{}, err
	}
	audience := file.ResourceIdentifiers.KeyVault
	if audience == "" {
		audience = "https://" + c.VaultSuffix
	}
	if audience, err = httpsURL("resourceIdentifiers.keyVault", audience); err != nil {
		return Cloud{}, err
	}
	c.VaultScope = strings.TrimSuffix(audience, "/") + "/.default"
	return c, nil
}

// Setting is the cloud as text, for ParseSetting.
func (c Cloud) Setting() string {
	if !c.Private {
		return c.Name
	}
	file := environmentFile{Name: c.Name, ActiveDirectoryEndpoint: c.Authority, KeyVaultDNSSuffix: c.VaultSuffix,
		RegistryDNSSuffix: c.RegistrySuffix}
	file.ResourceIdentifiers.KeyVault = strings.TrimSuffix(c.VaultScope, "/.default")
	content, err := json.Marshal(file)
	if err != nil {
		return "" // a struct of strings can always be written
	}
	return string(content)
}

// ParseSetting reads what Setting gave: a known cloud's name, or the environment file of a private one.
func ParseSetting(text string) (Cloud, error) {
	if strings.HasPrefix(text, "{") {
		return ParseCustom([]byte(text))
	}
	return Parse(text)
}

// httpsURL checks an address and gives it with a slash at its end.
func httpsURL(field, text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fault.Advise(fault.Invalid, "write https://HOST, without user, query or fragment",
			"%s %.80q of the cloud is no https URL", field, text)
	}
	return strings.TrimSuffix(text, "/") + "/", nil
}
