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

// readExpansion reads the variables and arguments that the webhook left for the injector to expand. If they can't be
// parsed, nothing is expanded.
func readExpansion(environ []string) (e wire.Expansion) {
	_ = json.Unmarshal([]byte(valueOf(environ, wire.EnvExpand)), &e)
	return e
}

// variableIndex is an environment with an index by name: a pod can have thousands of variables, and each can use
// others.
type variableIndex struct {
	environ []string
	// positions maps a name to its position in environ. Of several variables with one name the first counts, as in
	// getenv.
	positions map[string]int
}

func indexVariables(environ []string) variableIndex {
	v := variableIndex{environ, make(map[string]int, len(environ))}
	for i, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if _, known := v.positions[name]; !known {
			v.positions[name] = i
		}
	}
	return v
}

// lookUpValue is the current value of a variable.
func (v variableIndex) lookUpValue(name string) (string, bool) {
	i, ok := v.positions[name]
	if !ok {
		return "", false
	}
	_, value, found := strings.Cut(v.environ[i], "=")
	return value, found
}

// byteBudget is the number of bytes by which all texts together can still grow. Texts that use each other can double
// with each expansion.
type byteBudget int

// newByteBudget is limits.EnvironmentBytes without the bytes that these texts already use.
func newByteBudget(texts ...[]string) byteBudget {
	left := limits.EnvironmentBytes
	for _, list := range texts {
		for _, text := range list {
			left -= len(text)
		}
	}
	return byteBudget(left)
}

// expandText returns a text with the values of its variables, and subtracts its growth. It stops before the growth is
// more than the remaining bytes.
func (r *byteBudget) expandText(what, text string, v variableIndex) (string, error) {
	most := len(text) + max(int(*r), 0)
	out, fits := envref.ExpandWithin(text, most, v.lookUpValue)
	if !fits {
		return "", fault.New(fault.Invalid,
			"expanding %s: the program's arguments and variables would exceed %d MiB together, "+
				"the maximum that Linux passes to a program; use $(NAME) less often, %s", what,
			limits.EnvironmentBytes>>20, adviceMountSecret)
	}
	*r -= byteBudget(len(out) - len(text))
	return out, nil
}

// expandVariables expands these variables in order, each with the values of the ones before, as the kubelet does.
func expandVariables(environ, names []string) ([]string, error) {
	if len(names) == 0 {
		return environ, nil
	}
	v, left, done := indexVariables(environ), newByteBudget(environ), map[string]bool{}
	for _, name := range names {
		text, ok := v.lookUpValue(name)
		if !ok || done[name] {
			continue
		}
		done[name] = true
		expanded, err := left.expandText("variable "+name, text, v)
		if err != nil {
			return nil, err
		}
		environ[v.positions[name]] = name + "=" + expanded
	}
	return environ, nil
}

// expandArgs expands the arguments that the webhook listed.
func expandArgs(args, environ, final []string) ([]string, error) {
	args = slices.Clone(args)
	places := readExpansion(environ).ArgIndexes
	if len(places) == 0 {
		return args, nil
	}
	v, left, done := indexVariables(final), newByteBudget(final, args), map[int]bool{}
	for _, i := range places {
		if i < 0 || i >= len(args) || done[i] {
			continue
		}
		done[i] = true
		var err error
		if args[i], err = left.expandText(fmt.Sprintf("argument %d", i), args[i], v); err != nil {
			return nil, err
		}
	}
	return args, nil
}
