package injector

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// expansion is what the webhook left to expand; what can't be read is none.
func expansion(environ []string) (e wire.Expansion) {
	_ = json.Unmarshal([]byte(valueOf(environ, wire.EnvExpand)), &e)
	return e
}

// expandVariables expands these variables one after the other, each with what is there by then, as the kubelet would have.
func expandVariables(environ, names []string) []string {
	for _, name := range names {
		at := slices.IndexFunc(environ, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
		if at >= 0 {
			environ[at] = name + "=" + expanded(strings.TrimPrefix(environ[at], name+"="), environ)
		}
	}
	return environ
}

// expandArgs expands those args that the webhook named.
func expandArgs(args, environ, final []string) []string {
	args = slices.Clone(args)
	for _, i := range expansion(environ).Args {
		if i >= 0 && i < len(args) {
			args[i] = expanded(args[i], final)
		}
	}
	return args
}

func expanded(text string, environ []string) string {
	return envref.Expand(text, func(name string) (string, bool) {
		for _, entry := range environ {
			if value, ok := strings.CutPrefix(entry, name+"="); ok {
				return value, true
			}
		}
		return "", false
	})
}
