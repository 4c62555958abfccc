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

// variables are an environment in which each can be found at once: a pod may have thousands, and each may use others.
type variables struct {
	environ []string
	// at is the place of each; of several of one name the first counts, as for a program.
	at map[string]int
}

func variablesOf(environ []string) variables {
	v := variables{environ, make(map[string]int, len(environ))}
	for i, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if _, known := v.at[name]; !known {
			v.at[name] = i
		}
	}
	return v
}

// value is that of a variable, as it is by now.
func (v variables) value(name string) (string, bool) {
	i, ok := v.at[name]
	if !ok {
		return "", false
	}
	_, value, found := strings.Cut(v.environ[i], "=")
	return value, found
}

// expandVariables expands these variables one after the other, each with what is there by then, as the kubelet would have.
func expandVariables(environ, names []string) []string {
	if len(names) == 0 {
		return environ
	}
	v := variablesOf(environ)
	for _, name := range names {
		if text, ok := v.value(name); ok {
			environ[v.at[name]] = name + "=" + envref.Expand(text, v.value)
		}
	}
	return environ
}

// expandArgs expands those args that the webhook named.
func expandArgs(args, environ, final []string) []string {
	args = slices.Clone(args)
	places := expansion(environ).Args
	if len(places) == 0 {
		return args
	}
	v := variablesOf(final)
	for _, i := range places {
		if i >= 0 && i < len(args) {
			args[i] = envref.Expand(args[i], v.value)
		}
	}
	return args
}
