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

// variable is what is known of one variable when the pod is created.
type variable struct {
	// value as the kubelet will have it, if that is known; what is too long for a reference is shortened.
	value string
	known bool
	// deferred says that the program's value is there only after resolving: a reference, or a text that uses one.
	deferred bool
}

// enough is how long a text may get before it is shortened.
const enough = 4 << 10

// behind is a place behind all variables.
const behind = math.MaxInt

// reference says whether the value is one.
func (v variable) reference() bool { return v.known && envref.Meant(v.value) }

// environment is a container's, worked out as the kubelet will do it.
type environment struct {
	variables map[string]variable
	// literal are values that stand in the container's own env.
	literal map[string]bool
	// texts are those that the injector has to expand instead of the kubelet, as they have to be written, by their
	// place in env.
	texts map[int]string
	// last is the place in env where each variable stands for the last time.
	last map[string]int
	// expand are the names of these variables, in their order; those of an earlier mutation come first, and are in
	// before.
	expand []string
	before map[string]bool
	// image are references of the image's own environment, as far as it was looked into. The kubelet expands none of
	// them.
	image map[string]string
	// taken are the variables that come from a whole source, by the source. Reserved names are among them, and among no
	// others.
	taken map[string]SourceName
	// open says that a source or a key was missing, so that the container can get unknown references when it starts.
	open bool
	// hidden says that the installation is not allowed to read a source.
	hidden   bool
	warnings []string
}

// evaluate works a container's environment out. What is meant as a reference but can't be one is refused.
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

// takeAll adds every key of a source.
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

// taken is a variable whose value comes from a source.
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

// entry is the variable at a place of env.
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

// text is the variable at a place of env that is written out there.
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

// mention warns of a value that resembles a reference but is none.
func (e *environment) mention(c corev1.Container, variable, from string) {
	e.warnings = append(e.warnings,
		fmt.Sprintf("container %q, variable %s%s: the value contains @azurekeyvault or a similar text but is not a "+
			"reference, so the program gets it unchanged; a reference is the whole value, for example "+
			"name@azurekeyvault or name@azurekeyvault?key", Shown(c.Name), Shown(variable), from))
}

// value is a text as the kubelet will expand it, if that is known already. Texts that are made of each other can come
// to any length, so of what is too long for a reference only that is kept.
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

// rewrite gives the text at a place of env that uses deferred variables as it has to be written so that the kubelet
// leaves it alone and the injector, by the same rules, makes of it what the kubelet would have made. Variables that
// come later are text to the kubelet, so they are escaped.
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

// record are the references that do not stand in the container's own env, by variable.
func (e *environment) record() map[string]string {
	record := map[string]string{}
	for name, v := range e.variables {
		if v.reference() && !e.literal[v.value] {
			record[name] = v.value
		}
	}
	return record
}

// refers says whether any variable holds a reference.
func (e *environment) refers() bool {
	for _, v := range e.variables {
		if v.deferred {
			return true
		}
	}
	return false
}

// downward is the value of a field of the pod, as far as it can hold a reference or a part of one.
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

// imageOf is what an earlier mutation learnt of the image.
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

// expansionOf is what an earlier mutation left to the injector.
func expansionOf(c corev1.Container) (before wire.Expansion) {
	for _, entry := range c.Env {
		if entry.Name == wire.EnvExpand && wrapped(c) {
			_ = json.Unmarshal([]byte(entry.Value), &before) // a malformed value counts as no expansion
		}
	}
	return before
}
