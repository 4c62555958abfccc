package convert_test

import (
	"regexp"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/convert"
)

// exemption is a value that has no effect, with the reason.
type exemption struct {
	path, value, reason string
}

// exemptions are values whose absence means the same, or that other products need alone.
func exemptions() []exemption {
	const anyValue = ".*"
	return []exemption{
		{`\.apiVersion`, "v1", "of a List, a Secret or a ConfigMap"},
		{`\.type`, "Opaque", "the default"},
		{`\.spec\.secretObjects\[\]\.type`, "Opaque", "the default"},
		{`.*\.secretStoreRef\.kind`, "SecretStore", "the default"},
		{`\.spec\.secretStoreRef\.name`, "unknown", "--vault is for all stores"},
		{`\.spec\.refreshInterval`, "1h", "the default"},
		{`\.spec\.target\.creationPolicy`, "Owner", "the default"},
		{`\.spec\.target\.deletionPolicy`, "Retain", "the default"},
		{`\.spec\.target\.manifest\.apiVersion`, "v1", "the only one of a ConfigMap"},
		{`\.spec\.target\.template\.engineVersion`, "v2", "the default"},
		{`.*\.remoteRef\.metadataPolicy`, "None", "the default"},
		{`.*\.remoteRef\.decodingStrategy`, "None", "the default"},
		{`.*\.conversionStrategy`, "Default", "the default; names in Key Vault need no conversion"},
		{`.*\.find\.path`, anyValue, "Azure has no paths, so External Secrets Operator ignores it"},
		{`\.spec\.data\[\]\.secretKey`, "unused", "there is no Secret with creationPolicy None"},
		{`.*\.azurekv\.authType`, "ServicePrincipal", "the default"},
		{`.*\.azurekv\.environmentType`, "PublicCloud", "the default"},
		{`.*\.azurekv\.useAzureSDK`, anyValue, "a library of External Secrets Operator"},
		{`.*\.azurekv\.tenantId`, anyValue, "a managed identity has one tenant"},
		{`.*\.customCloudConfig\.resourceManagerEndpoint`, anyValue, "akv2k8s does not call it"},
		{`.*\.customCloudConfig\.keyVaultDNSSuffix`, anyValue, "the suffix of vaultUrl is the same"},
		{`\.spec\.parameters\.tenantI[dD]`, anyValue, "the installation or the ServiceAccount has it"},
		{`\.spec\.parameters\.usePodIdentity`, "false", "the default"},
	}
}

// isDefault reports whether a value means the same as its absence.
func isDefault(path, value string) bool {
	if meaningless.MatchString(path) {
		return true
	}
	path = strings.TrimPrefix(path, ".items[]")
	for _, e := range exemptions() {
		if regexp.MustCompile("^"+e.path+"$").MatchString(path) && regexp.MustCompile("^"+e.value+"$").MatchString(value) {
			return true
		}
	}
	return false
}

var index = regexp.MustCompile(`\[\d+\]`)
var quoted = regexp.MustCompile(`\["([^"]*)"\]`)

// wholeDocument matches findings about a document that is not in the output.
var wholeDocument = regexp.MustCompile(`^(the document has no kind|the export is not in the output)`)

// coveredByFinding reports whether a finding is about the field or what it is in.
func coveredByFinding(findings []convert.Finding, path string) bool {
	for _, f := range findings {
		if wholeDocument.MatchString(f.Text) {
			return true
		}
		about := "." + quoted.ReplaceAllString(index.ReplaceAllString(f.Path, "[]"), ".$1")
		if f.Path != "" && (path == about || strings.HasPrefix(path, about+".") || strings.HasPrefix(path, about+"[")) {
			return true
		}
	}
	return false
}
