// Package azurenames makes a cluster's DNS answer the names of Azure services with the address of the emulator, so that
// a product that knows nothing of emulators talks to it.
package azurenames

import (
	"fmt"
	"regexp"
	"strings"
)

// emulator is the Service that answers for Azure.
const emulator = "azure-emulator.azure-emulator.svc.cluster.local"

// NoSuchVault begins the names of vaults that do not exist in DNS.
const NoSuchVault = "no-such-"

// Names are the patterns of the names: hosts, and suffixes with a leading dot.
func Names() []string {
	return []string{
		"login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn",
		"login.partner.microsoftonline.cn",
		".vault.azure.net", ".vault.usgovcloudapi.net", ".vault.azure.cn",
		".azurecr.io", ".azurecr.us", ".azurecr.cn",
		// A private cloud, which only the emulator has.
		"login.private.example", ".vault.private.example",
	}
}

// Rewrites are the lines for a Corefile.
func Rewrites() string {
	var out strings.Builder
	fmt.Fprintf(&out, "    rewrite stop {\n        name regex ^%s[^.]+\\.vault\\.azure\\.net\\.?$ %[1]sname.default.svc."+
		"cluster.local\n        answer auto\n    }\n", NoSuchVault)
	for _, name := range Names() {
		pattern := "^" + regexp.QuoteMeta(name) + `\.?$`
		if strings.HasPrefix(name, ".") {
			pattern = `^[^.]+` + regexp.QuoteMeta(name) + `\.?$`
		}
		fmt.Fprintf(&out, "    rewrite stop {\n        name regex %s %s\n        answer auto\n    }\n", pattern,
			emulator)
	}
	return out.String()
}

// Corefile is the whole configuration of a local cluster's DNS. Nothing is forwarded: the cluster knows no other names.
func Corefile() string {
	return ".:53 {\n    errors\n    health\n    ready\n" + Rewrites() +
		"    kubernetes cluster.local in-addr.arpa ip6.arpa {\n        pods insecure\n        ttl 5\n    }\n    " +
		"reload\n}\n"
}
