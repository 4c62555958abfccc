package injector

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// expansion reads the variables and arguments that the webhook left for the injector to expand. If they can't be
// parsed, nothing is expanded.
func expansion(environ []string) (e wire.Expansion) {
	_ = json.Unmarshal([]byte(valueOf(environ, wire.EnvExpand)), &e)
	return e
}

// variables is an environment with an index by name: a pod can have thousands of variables, and each can use
// others.
type variables struct {
	environ []string
	// at maps a name to its position in environ. Of several variables with one name the first counts, as in
	// getenv.
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

// value is the current value of a variable.
func (v variables) value(name string) (string, bool) {
	i, ok := v.at[name]
	if !ok {
		return "", false
	}
	_, value, found := strings.Cut(v.environ[i], "=")
	return value, found
}

// room is the number of bytes by which all texts together can still grow. Texts that use each other can double
// with each expansion.
type room int

// roomOf is limits.EnvironmentBytes without the bytes that these texts already use.
func roomOf(texts ...[]string) room {
	left := limits.EnvironmentBytes
	for _, list := range texts {
		for _, text := range list {
			left -= len(text)
		}
	}
	return room(left)
}

// expand returns a text with the values of its variables, and subtracts its growth. It stops before the growth is more
// than the remaining bytes.
func (r *room) expand(what, text string, v variables) (string, error) {
	most := len(text) + max(int(*r), 0)
	out, fits := envref.ExpandWithin(text, most, v.value)
	if !fits {
		return "", fault.New(fault.Invalid,
			"expanding %s: the program's arguments and variables would exceed %d MiB together, "+
				"the maximum that Linux passes to a program; use $(NAME) less often, %s", what,
			limits.EnvironmentBytes>>20, another)
	}
	*r -= room(len(out) - len(text))
	return out, nil
}

// expandVariables expands these variables in order, each with the values of the ones before, as the kubelet does.
func expandVariables(environ, names []string) ([]string, error) {
	if len(names) == 0 {
		return environ, nil
	}
	v, left, done := variablesOf(environ), roomOf(environ), map[string]bool{}
	for _, name := range names {
		text, ok := v.value(name)
		if !ok || done[name] {
			continue
		}
		done[name] = true
		expanded, err := left.expand("variable "+name, text, v)
		if err != nil {
			return nil, err
		}
		environ[v.at[name]] = name + "=" + expanded
	}
	return environ, nil
}

// expandArgs expands the arguments that the webhook listed.
func expandArgs(args, environ, final []string) ([]string, error) {
	args = slices.Clone(args)
	places := expansion(environ).Args
	if len(places) == 0 {
		return args, nil
	}
	v, left, done := variablesOf(final), roomOf(final, args), map[int]bool{}
	for _, i := range places {
		if i < 0 || i >= len(args) || done[i] {
			continue
		}
		done[i] = true
		var err error
		if args[i], err = left.expand(fmt.Sprintf("argument %d", i), args[i], v); err != nil {
			return nil, err
		}
	}
	return args, nil
}
