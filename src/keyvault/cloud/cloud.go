package cloud

import (
	"regexp"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Cloud is one Azure cloud: everything about it that the product needs, from one setting.
type Cloud struct {
	// Name as Azure spells it, for example AzurePublicCloud.
	Name string
	// Authority is the https URL of Microsoft Entra ID, with a trailing slash.
	Authority string
	// VaultSuffix is the DNS suffix of vaults, without a leading dot.
	VaultSuffix string
	// VaultScope is the token scope for every vault of the cloud.
	VaultScope string
	// RegistrySuffix is the DNS suffix of container registries, without a leading dot; empty if the cloud has none.
	RegistrySuffix string
	// Private clouds have an authority that Microsoft's discovery does not know.
	Private bool
}

// vaultName is what Azure allows: 3-24 letters, digits and single hyphens, starting with a letter. The pattern is
// checked where a URL is made, whoever checked it before, so that a name can never become a URL on another host.
var vaultName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$`)

// known are the clouds by lower-case name; several names mean the same cloud because Azure's own tools disagree.
func known() map[string]Cloud {
	public := Cloud{"AzurePublicCloud", "https://login.microsoftonline.com/", "vault.azure.net",
		"https://vault.azure.net/.default", "azurecr.io", false}
	usGov := Cloud{"AzureUSGovernmentCloud", "https://login.microsoftonline.us/", "vault.usgovcloudapi.net",
		"https://vault.usgovcloudapi.net/.default", "azurecr.us", false}
	china := Cloud{"AzureChinaCloud", "https://login.chinacloudapi.cn/", "vault.azure.cn",
		"https://vault.azure.cn/.default", "azurecr.cn", false}
	return map[string]Cloud{
		"": public, "azurecloud": public, "azurepubliccloud": public,
		"azureusgovernment": usGov, "azureusgovernmentcloud": usGov,
		"azurechinacloud": china,
	}
}

// Parse gives the cloud of that name, in any letter case; the empty name is the public cloud. An unknown name is
// fault.Invalid and lists the known ones.
func Parse(name string) (Cloud, error) {
	if c, ok := known()[strings.ToLower(strings.TrimSpace(name))]; ok {
		return c, nil
	}
	return Cloud{}, fault.Advise(fault.Invalid,
		"use AzurePublicCloud, AzureUSGovernmentCloud or AzureChinaCloud, or the value global.customCloud",
		"cloud %.80q is not known", name)
}

// VaultURL is the address of a vault of the cloud. A name that Azure would not allow is fault.Invalid.
func (c Cloud) VaultURL(name string) (string, error) {
	if !vaultName.MatchString(name) || strings.Contains(name, "--") {
		return "", fault.Advise(fault.Invalid, "use the name alone (3 to 24 letters, digits and hyphens), not its URL",
			"%.80q is no vault name", name)
	}
	return "https://" + strings.ToLower(name) + "." + c.VaultSuffix, nil
}
