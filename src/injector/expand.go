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

// room is how many bytes texts may still grow, all of them together. Texts that are made of each other double with each
// step.
type room int

// roomOf is what a program's texts leave of the most that Linux passes on.
func roomOf(texts ...[]string) room {
	left := limits.EnvironmentBytes
	for _, list := range texts {
		for _, text := range list {
			left -= len(text)
		}
	}
	return room(left)
}

// expand is a text with the values of variables; what it grows by is taken from the room. It is given up before it is
// made.
func (r *room) expand(what, text string, v variables) (string, error) {
	most := len(text) + max(int(*r), 0)
	out, fits := envref.ExpandWithin(text, most, v.value)
	if !fits {
		return "", fault.New(fault.Invalid,
			"expanding %s: the program's arguments and variables would be more than %d MiB together, "+
				"which Linux passes on to no program; use $(NAME) less often, %s", what, limits.EnvironmentBytes>>20,
			another)
	}
	*r -= room(len(out) - len(text))
	return out, nil
}

// expandVariables expands these variables one after the other, each with what is there by then, as the kubelet would
// have.
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

// expandArgs expands those args that the webhook named.
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
