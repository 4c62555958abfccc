package inject

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// PrintableName is a name for messages and log lines: shortened, and without characters that are not printable.
// Admission comes before validation, so a name can have any length and any content.
func PrintableName(name string) string {
	if len(name) > limits.AdmissionNameBytes {
		name = name[:limits.AdmissionNameBytes] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
}
