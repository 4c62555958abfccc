package cloud

import (
	"regexp"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Cloud has the endpoints and names of one Azure cloud.
type Cloud struct {
	// Name is the cloud's name as Azure spells it, for example AzurePublicCloud.
	Name string
	// Authority is the https URL of Microsoft Entra ID, with a trailing slash.
	Authority string
	// VaultSuffix is the DNS suffix of vaults, without a leading dot.
	VaultSuffix string
	// VaultScope is the token scope of all vaults in the cloud.
	VaultScope string
	// RegistrySuffix is the DNS suffix of container registries, without a leading dot; empty if the cloud has no
	// registries.
	RegistrySuffix string
	// IsPrivate marks a cloud whose authority is unknown to Microsoft's instance discovery.
	IsPrivate bool
}

// vaultNamePattern matches the names that Azure allows: 3 to 24 letters, digits and single hyphens, starting with a
// letter. VaultURL checks it regardless of earlier checks, so a name can never produce a URL on another host.
var vaultNamePattern = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$`)

// knownClouds maps lower-case names to clouds. Azure's tools use different names for the same cloud.
func knownClouds() map[string]Cloud {
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

// Parse returns the cloud with the given name, in any letter case; the empty name is the public cloud. An unknown name
// is fault.Invalid, and the error lists the known names.
func Parse(name string) (Cloud, error) {
	if c, ok := knownClouds()[strings.ToLower(strings.TrimSpace(name))]; ok {
		return c, nil
	}
	return Cloud{}, fault.NewWithNextStep(fault.Invalid,
		"use AzurePublicCloud, AzureUSGovernmentCloud or AzureChinaCloud, or the value global.customCloud",
		"cloud %.80q is not known", name)
}

// VaultURL returns the https URL of a vault in the cloud. A name that Azure does not allow is fault.Invalid.
func (c Cloud) VaultURL(name string) (string, error) {
	if !vaultNamePattern.MatchString(name) || strings.Contains(name, "--") {
		return "", fault.NewWithNextStep(fault.Invalid,
			"use the vault's name (3 to 24 letters, digits, hyphens), not its URL",
			"%.80q is not a vault name", name)
	}
	return "https://" + strings.ToLower(name) + "." + c.VaultSuffix, nil
}
