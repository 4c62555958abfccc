package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// variable is an environment variable as far as it is known when the pod is created.
type variable struct {
	// value is the value after the expansion by the kubelet. A text that is too long for a reference is shortened.
	value string
	// known says that the value is known.
	known bool
	// deferred says that only the injector can set the value: it is a reference, or a text that uses one.
	deferred bool
}

// enough is the length in bytes above which a text is shortened.
const enough = 4 << 10

// behind is an index after all variables.
const behind = math.MaxInt

// reference says whether the value is meant as a reference.
func (v variable) reference() bool { return v.known && envref.Meant(v.value) }

// environment is the environment of a container, evaluated by the rules of the kubelet.
type environment struct {
	// variables by name, without the reserved ones.
	variables map[string]variable
	// literal is the set of references that the container's own env holds.
	literal map[string]bool
	// texts are the values that the injector expands in place of the kubelet, escaped for the pod, by index in env.
	texts map[int]string
	// last is the index in env of the last entry of each variable.
	last map[string]int
	// expand are the names of the variables that the injector expands, in order. Those of an earlier mutation come
	// first.
	expand []string
	// before is the set of those that an earlier mutation left to the injector.
	before map[string]bool
	// image are the references in the environment of the image, by variable, if the image was read. The kubelet does
	// not expand them.
	image map[string]string
	// taken has the source of each variable that envFrom adds. Unlike variables it includes reserved names.
	taken map[string]SourceName
	// open says that a source or a key was missing, so that the container can get unknown references when it starts.
	open bool
	// hidden says that the installation is not allowed to read a source.
	hidden   bool
	warnings []string
}

// evaluate evaluates the environment of a container. The error is of kind fault.Invalid, for a malformed reference.
func evaluate(pod *corev1.Pod, c corev1.Container, sources Sources) (*environment, error) {
	e := &environment{variables: map[string]variable{}, literal: map[string]bool{}, texts: map[int]string{},
		last:   map[string]int{},
		expand: expansionOf(c).Env, before: map[string]bool{}, image: imageOf(c), taken: map[string]SourceName{}}
	for _, name := range e.expand {
		e.before[name] = true
	}
	for i, entry := range c.Env {
		e.last[entry.Name] = i
	}
	for _, from := range c.EnvFrom {
		if err := e.takeAll(c, from, sources); err != nil {
			return nil, err
		}
	}
	for i, entry := range c.Env {
		if isOurs(entry.Name) {
			continue
		}
		v, err := e.entry(pod, c, i, sources)
		if err != nil {
			return nil, err
		}
		e.variables[entry.Name] = v
	}
	return e, nil
}

// takeAll adds the variables of one entry of envFrom.
func (e *environment) takeAll(c corev1.Container, from corev1.EnvFromSource, sources Sources) error {
	name, ok := sourceOf(from)
	if !ok {
		return nil
	}
	source := sources[name]
	e.open, e.hidden = e.open || source.Missing, e.hidden || source.Hidden
	for _, key := range slices.Sorted(maps.Keys(source.Values)) {
		variableName := from.Prefix + key
		e.taken[variableName] = name
		if isOurs(variableName) {
			continue
		}
		v, err := taken(c, variableName, name, source.Values[key])
		if err != nil {
			return err
		}
		e.variables[variableName] = v
		if source.Mentions[key] {
			e.mention(c, variableName, fmt.Sprintf(", from %s %q", name.Kind, Shown(name.Name)))
		}
	}
	return nil
}

// taken is a variable with a value from a source.
func taken(c corev1.Container, variableName string, name SourceName, value string) (variable, error) {
	if value == "" { // not a reference, so its value was not kept
		return variable{}, nil
	}
	if _, err := envref.Parse(value); err != nil {
		return variable{}, refuse(c, "variable %s, from %s %q: %v", Shown(variableName), name.Kind, Shown(name.Name),
			err)
	}
	return variable{value: value, known: true, deferred: true}, nil
}

// entry evaluates the entry of env at an index.
func (e *environment) entry(pod *corev1.Pod, c corev1.Container, i int, sources Sources) (variable, error) {
	entry := c.Env[i]
	if entry.ValueFrom == nil {
		return e.text(c, i)
	}
	if name, key, ok := keyOf(entry.ValueFrom); ok {
		source := sources[name]
		value, found := source.Values[key]
		if source.Mentions[key] {
			e.mention(c, entry.Name, fmt.Sprintf(", from %s %q", name.Kind, Shown(name.Name)))
		}
		e.open, e.hidden = e.open || source.Missing || (!found && !source.Hidden), e.hidden || source.Hidden
		return taken(c, entry.Name, name, value)
	}
	value, known := downward(pod, entry.ValueFrom.FieldRef)
	if !envref.Meant(value) && envref.Mentioned(value) {
		e.mention(c, entry.Name, ", from the pod's "+Shown(entry.ValueFrom.FieldRef.FieldPath))
	}
	if value = envref.Shorten(value); envref.Meant(value) {
		if _, err := envref.Parse(value); err != nil {
			return variable{}, refuse(c, "variable %s, from the pod's %s: %v", Shown(entry.Name),
				Shown(entry.ValueFrom.FieldRef.FieldPath), err)
		}
	}
	return variable{value: value, known: known, deferred: envref.Meant(value)}, nil
}

// text evaluates an entry of env with a literal value.
func (e *environment) text(c corev1.Container, i int) (variable, error) {
	entry := c.Env[i]
	if e.before[entry.Name] && wrapped(c) { // rewritten by an earlier mutation
		return variable{deferred: true}, nil
	}
	if value, uses := e.rewrite(entry.Value, i); uses {
		if envref.Meant(entry.Value) {
			return variable{}, refuse(c, "variable %s: a reference cannot contain the value of another reference; "+
				"write it without $(NAME)", Shown(entry.Name))
		}
		e.texts[i] = value
		e.expand = append(e.expand, entry.Name)
		return variable{deferred: true}, nil
	}
	value, known := e.value(entry.Value)
	switch {
	case !known && envref.Meant(entry.Value):
		return variable{},
			refuse(c, "variable %s: the reference uses variables whose values are not known when the pod is "+
				"created; write it without $(NAME)", Shown(entry.Name))
	case !known || !envref.Meant(value):
		if envref.Mentioned(entry.Value) {
			e.mention(c, entry.Name, "")
		}
		return variable{value: value, known: known}, nil
	}
	if _, err := envref.Parse(value); err != nil {
		return variable{}, refuse(c, "variable %s: %v", Shown(entry.Name), err)
	}
	e.literal[entry.Value] = true
	return variable{value: value, known: true, deferred: true}, nil
}

// mention warns of a value that resembles a reference but is not one.
func (e *environment) mention(c corev1.Container, variable, from string) {
	e.warnings = append(e.warnings,
		fmt.Sprintf("container %q, variable %s%s: the value contains @azurekeyvault or a similar text but is not a "+
			"reference, so the program gets it unchanged; a reference is the whole value, for example "+
			"name@azurekeyvault or name@azurekeyvault?key", Shown(c.Name), Shown(variable), from))
}

// value expands a text by the rules of the kubelet, and says whether the result is known. Variables that use each other
// can grow to any length, so a text that is too long for a reference is shortened.
func (e *environment) value(text string) (string, bool) {
	if len(text) > longest {
		return envref.Shorten(text), !strings.Contains(text, "$(")
	}
	known := true
	var out []byte
	for piece := range envref.Pieces(text) {
		part, v := piece.Text, e.variables[piece.Name]
		switch {
		case piece.Escape:
			part = "$"
		case piece.Name != "" && v.known:
			part = v.value
		case piece.Name != "":
			known = false
		}
		if out = append(out, part...); len(out) > enough {
			out = []byte(envref.Shorten(string(out)))
		}
	}
	return envref.Shorten(string(out)), known
}

// rewrite escapes a text at an index of env, so that the injector expands it in place of the kubelet with the same
// result. It also says whether the text uses a variable that only the injector can set. A variable that is defined
// later in env is plain text to the kubelet, so its use is escaped for the injector too.
func (e *environment) rewrite(text string, at int) (string, bool) {
	if len(text) > longest { // Linux cannot start a program with this text, so its expansion does not matter
		return text, false
	}
	uses := false
	var out strings.Builder
	for piece := range envref.Pieces(text) {
		v, defined := e.variables[piece.Name]
		uses = uses || v.deferred
		if last, later := e.last[piece.Name]; !defined && later && last >= at {
			out.WriteByte('$')
		}
		out.WriteString(piece.Text)
	}
	return envref.Escape(out.String()), uses
}

// record has the references that the container's own env does not hold, by variable.
func (e *environment) record() map[string]string {
	record := map[string]string{}
	for name, v := range e.variables {
		if v.reference() && !e.literal[v.value] {
			record[name] = v.value
		}
	}
	return record
}

// refers says whether any variable holds or uses a reference.
func (e *environment) refers() bool {
	for _, v := range e.variables {
		if v.deferred {
			return true
		}
	}
	return false
}

// downward is the value of a field of the pod that can hold a reference or a part of one, and whether it is known.
func downward(pod *corev1.Pod, field *corev1.ObjectFieldSelector) (string, bool) {
	if field == nil {
		return "", false
	}
	switch field.FieldPath {
	case "metadata.name":
		return pod.Name, pod.Name != ""
	case "metadata.namespace":
		return pod.Namespace, pod.Namespace != ""
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, pod.Spec.ServiceAccountName != ""
	}
	for prefix, entries := range map[string]map[string]string{"metadata.annotations['": pod.Annotations,
		"metadata.labels['": pod.Labels} {
		if key, ok := strings.CutPrefix(field.FieldPath, prefix); ok {
			return entries[strings.TrimSuffix(key, "']")], true
		}
	}
	return "", false
}

// imageOf are the references of the image that an earlier mutation recorded, by variable.
func imageOf(c corev1.Container) map[string]string {
	before := map[string]string{}
	for _, entry := range c.Env {
		if entry.Name == wire.EnvImageReferences && wrapped(c) {
			_ = json.Unmarshal([]byte(entry.Value), &before)
		}
	}
	maps.DeleteFunc(before, func(_, value string) bool { _, err := envref.Parse(value); return err != nil })
	return before
}

// expansionOf is the expansion that an earlier mutation left to the injector.
func expansionOf(c corev1.Container) (before wire.Expansion) {
	for _, entry := range c.Env {
		if entry.Name == wire.EnvExpand && wrapped(c) {
			_ = json.Unmarshal([]byte(entry.Value), &before) // a malformed value counts as no expansion
		}
	}
	return before
}
