package inject

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Shown is a name as messages and log lines show it. A pod is admitted before anybody has checked its names, so they
// may be of any length and hold anything.
func Shown(name string) string {
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
