package conversion

import (
	"net/url"
	"regexp"
	"strings"
)

// vaultHost matches the host of a vault.
var vaultHost = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9])\.([a-z0-9-]+(\.[a-z0-9-]+)+)$`)

// ParseVaultURL returns the name of a vault and the DNS suffix of its cloud; both empty for a text of another form.
func ParseVaultURL(text string) (name, suffix string) {
	parsed, err := url.Parse(strings.TrimSpace(text))
	if err != nil || parsed.Scheme != "https" || strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "" {
		return "", ""
	}
	match := vaultHost.FindStringSubmatch(strings.ToLower(parsed.Hostname()))
	if match == nil || strings.HasPrefix(match[2], "managedhsm.") {
		return "", ""
	}
	return match[1], match[2]
}
