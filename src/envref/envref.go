package envref

import (
	"regexp"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// marker is the text that every reference contains.
const marker = "@azurekeyvault"

// maxReferenceLength is the maximum length of a reference in bytes: a DNS subdomain, the marker, and a data key.
const maxReferenceLength = 253 + len(marker) + 1 + 253

// referencePattern is a DNS-1123 subdomain (in any letter case, as in v1), the marker, and an optional query. The query
// can be any data key of a Secret.
var referencePattern = regexp.MustCompile(
	`^([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)@azurekeyvault(?:\?([-._a-zA-Z0-9]*))?$`)

// Reference is a parsed reference.
type Reference struct {
	// Name of the AzureKeyVaultSecret, in the namespace of the pod.
	Name string
	// Query selects a part of the vault object. Empty selects the default part.
	Query string
}

// String is the reference as users write it.
func (r Reference) String() string {
	if r.Query == "" {
		return r.Name + marker
	}
	return r.Name + marker + "?" + r.Query
}

// Parse parses a reference. It ignores blanks, newlines and invisible characters around the reference. The error for
// any other value is fault.Invalid. It does not quote the value, which can be a secret that only resembles a reference.
func Parse(value string) (Reference, error) {
	value = strings.TrimFunc(value, isBlank)
	if len(value) <= maxReferenceLength {
		if m := referencePattern.FindStringSubmatch(value); m != nil && len(m[1]) <= 253 {
			return Reference{Name: m[1], Query: m[2]}, nil
		}
	}
	return Reference{}, fault.New(fault.Invalid, "the value is meant as a reference but is not one; "+
		"write name@azurekeyvault or name@azurekeyvault?key, in lower case and without quotes, where name is an "+
		"AzureKeyVaultSecret of the pod's namespace")
}
