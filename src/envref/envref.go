package envref

import (
	"regexp"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// marker is what makes a value look like a reference.
const marker = "@azurekeyvault"

// maxLength bounds a reference before it is matched: a DNS subdomain, the marker, and a data key.
const maxLength = 253 + len(marker) + 1 + 253

// grammar is a DNS-1123 subdomain (any letter case in labels, as the predecessor had it), the marker, and an optional
// query that may be any data key of a Secret.
var grammar = regexp.MustCompile(
	`^([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)@azurekeyvault(?:\?([-._a-zA-Z0-9]*))?$`)

// Ref is a parsed reference.
type Ref struct {
	// Name of the AzureKeyVaultSecret, in the pod's own namespace.
	Name string
	// Query selects a part of the object; empty is its default.
	Query string
}

// String prints the reference as users write it.
func (r Ref) String() string {
	if r.Query == "" {
		return r.Name + marker
	}
	return r.Name + marker + "?" + r.Query
}

// Parse reads a value that Meant says is a reference; blanks, newlines and invisible characters around it don't count.
// Anything else that does not match the grammar is fault.Invalid; the error does not quote the value, which may be a
// secret that merely resembles a reference.
func Parse(value string) (Ref, error) {
	value = strings.TrimFunc(value, isBlank)
	if len(value) <= maxLength {
		if m := grammar.FindStringSubmatch(value); m != nil && len(m[1]) <= 253 {
			return Ref{Name: m[1], Query: m[2]}, nil
		}
	}
	return Ref{}, fault.New(fault.Invalid, "the value is meant as a reference but is not one; "+
		"write name@azurekeyvault or name@azurekeyvault?key, in lower case and without quotes, where name is an "+
		"AzureKeyVaultSecret of the pod's namespace")
}
