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
	// isKnown says that the value is known.
	isKnown bool
	// needsInjector says that only the injector can set the value: it is a reference, or a text that uses one.
	needsInjector bool
}

// shortenThreshold is the length in bytes above which a text is shortened.
const shortenThreshold = 4 << 10

// afterAllVariables is an index after all variables.
const afterAllVariables = math.MaxInt

// isReference says whether the value is meant as a reference.
func (v variable) isReference() bool { return v.isKnown && envref.IsIntendedReference(v.value) }

// environment is the environment of a container, evaluated by the rules of the kubelet.
type environment struct {
	// variables by name, without the reserved ones.
	variables map[string]variable
	// literalValues is the set of references that the container's own env holds.
	literalValues map[string]bool
	// rewrittenTexts are the values that the injector expands in place of the kubelet, escaped for the pod, by index in
	// env.
	rewrittenTexts map[int]string
	// lastIndex is the index in env of the last entry of each variable.
	lastIndex map[string]int
	// expandNames are the names of the variables that the injector expands, in order. Those of an earlier mutation come
	// first.
	expandNames []string
	// expandedBefore is the set of those that an earlier mutation left to the injector.
	expandedBefore map[string]bool
	// imageReferences are the references in the environment of the image, by variable, if the image was read. The
	// kubelet does not expand them.
	imageReferences map[string]string
	// sourceVariables has the source of each variable that envFrom adds. Unlike variables it includes reserved names.
	sourceVariables map[string]SourceName
	// hasMissingSource says that a source or a key was missing, so that the container can get unknown references when
	// it starts.
	hasMissingSource bool
	// hasForbiddenSource says that the installation is not allowed to read a source.
	hasForbiddenSource bool
	warnings           []string
}

// evaluateEnvironment evaluates the environment of a container. The error is of kind fault.Invalid, for a malformed
// reference.
func evaluateEnvironment(pod *corev1.Pod, c corev1.Container, sources Sources) (*environment, error) {
	e := &environment{variables: map[string]variable{}, literalValues: map[string]bool{},
		rewrittenTexts: map[int]string{},
		lastIndex:      map[string]int{},
		expandNames:    priorExpansion(c).Variables, expandedBefore: map[string]bool{},
		imageReferences: priorImageReferences(c), sourceVariables: map[string]SourceName{}}
	for _, name := range e.expandNames {
		e.expandedBefore[name] = true
	}
	for i, entry := range c.Env {
		e.lastIndex[entry.Name] = i
	}
	for _, from := range c.EnvFrom {
		if err := e.addSource(c, from, sources); err != nil {
			return nil, err
		}
	}
	for i, entry := range c.Env {
		if isReserved(entry.Name) {
			continue
		}
		v, err := e.evaluateEntry(pod, c, i, sources)
		if err != nil {
			return nil, err
		}
		e.variables[entry.Name] = v
	}
	return e, nil
}

// addSource adds the variables of one entry of envFrom.
func (e *environment) addSource(c corev1.Container, from corev1.EnvFromSource, sources Sources) error {
	name, ok := sourceNameOf(from)
	if !ok {
		return nil
	}
	source := sources[name]
	e.hasMissingSource, e.hasForbiddenSource = e.hasMissingSource || source.Missing,
		e.hasForbiddenSource || source.Forbidden
	for _, key := range slices.Sorted(maps.Keys(source.Values)) {
		variableName := from.Prefix + key
		e.sourceVariables[variableName] = name
		if isReserved(variableName) {
			continue
		}
		v, err := sourceVariable(c, variableName, name, source.Values[key])
		if err != nil {
			return err
		}
		e.variables[variableName] = v
		if source.Mentions[key] {
			e.warnOfMention(c, variableName, fmt.Sprintf(", from %s %q", name.Kind, PrintableName(name.Name)))
		}
	}
	return nil
}

// sourceVariable is a variable with a value from a source.
func sourceVariable(c corev1.Container, variableName string, name SourceName, value string) (variable, error) {
	if value == "" { // not a reference, so its value was not kept
		return variable{}, nil
	}
	if _, err := envref.Parse(value); err != nil {
		return variable{}, invalidContainerError(c, "variable %s, from %s %q: %v", PrintableName(variableName),
			name.Kind, PrintableName(name.Name),
			err)
	}
	return variable{value: value, isKnown: true, needsInjector: true}, nil
}

// evaluateEntry evaluates the entry of env at an index.
func (e *environment) evaluateEntry(pod *corev1.Pod, c corev1.Container, i int, sources Sources) (variable, error) {
	entry := c.Env[i]
	if entry.ValueFrom == nil {
		return e.evaluateLiteral(c, i)
	}
	if name, key, ok := sourceKeyOf(entry.ValueFrom); ok {
		source := sources[name]
		value, found := source.Values[key]
		if source.Mentions[key] {
			e.warnOfMention(c, entry.Name, fmt.Sprintf(", from %s %q", name.Kind, PrintableName(name.Name)))
		}
		e.hasMissingSource, e.hasForbiddenSource = e.hasMissingSource || source.Missing ||
			(!found && !source.Forbidden), e.hasForbiddenSource || source.Forbidden
		return sourceVariable(c, entry.Name, name, value)
	}
	value, known := downwardValue(pod, entry.ValueFrom.FieldRef)
	if !envref.IsIntendedReference(value) && envref.NeedsWarning(value) {
		e.warnOfMention(c, entry.Name, ", from the pod's "+PrintableName(entry.ValueFrom.FieldRef.FieldPath))
	}
	if value = envref.Shorten(value); envref.IsIntendedReference(value) {
		if _, err := envref.Parse(value); err != nil {
			return variable{}, invalidContainerError(c, "variable %s, from the pod's %s: %v", PrintableName(entry.Name),
				PrintableName(entry.ValueFrom.FieldRef.FieldPath), err)
		}
	}
	return variable{value: value, isKnown: known, needsInjector: envref.IsIntendedReference(value)}, nil
}

// evaluateLiteral evaluates an entry of env with a literal value.
func (e *environment) evaluateLiteral(c corev1.Container, i int) (variable, error) {
	entry := c.Env[i]
	if e.expandedBefore[entry.Name] && isWrapped(c) { // rewritten by an earlier mutation
		return variable{needsInjector: true}, nil
	}
	if value, uses := e.rewriteForInjector(entry.Value, i); uses {
		if envref.IsIntendedReference(entry.Value) {
			return variable{}, invalidContainerError(c,
				"variable %s: a reference cannot contain the value of another reference; "+
					"write it without $(NAME)", PrintableName(entry.Name))
		}
		e.rewrittenTexts[i] = value
		e.expandNames = append(e.expandNames, entry.Name)
		return variable{needsInjector: true}, nil
	}
	value, known := e.expandKnown(entry.Value)
	switch {
	case !known && envref.IsIntendedReference(entry.Value):
		return variable{},
			invalidContainerError(c,
				"variable %s: the reference uses variables whose values are not known when the pod is "+
					"created; write it without $(NAME)", PrintableName(entry.Name))
	case !known || !envref.IsIntendedReference(value):
		if envref.NeedsWarning(entry.Value) {
			e.warnOfMention(c, entry.Name, "")
		}
		return variable{value: value, isKnown: known}, nil
	}
	if _, err := envref.Parse(value); err != nil {
		return variable{}, invalidContainerError(c, "variable %s: %v", PrintableName(entry.Name), err)
	}
	e.literalValues[entry.Value] = true
	return variable{value: value, isKnown: true, needsInjector: true}, nil
}

// warnOfMention warns of a value that resembles a reference but is not one.
func (e *environment) warnOfMention(c corev1.Container, variable, from string) {
	e.warnings = append(e.warnings,
		fmt.Sprintf("container %q, variable %s%s: the value contains @azurekeyvault or a similar text but is not a "+
			"reference, so the program gets it unchanged; a reference is the whole value, for example "+
			"name@azurekeyvault or name@azurekeyvault?key", PrintableName(c.Name), PrintableName(variable), from))
}

// expandKnown expands a text by the rules of the kubelet, and says whether the result is known. Variables that use each
// other can grow to any length, so a text that is too long for a reference is shortened.
func (e *environment) expandKnown(text string) (string, bool) {
	if len(text) > maxVariableBytes {
		return envref.Shorten(text), !strings.Contains(text, "$(")
	}
	known := true
	var out []byte
	for piece := range envref.Pieces(text) {
		part, v := piece.Text, e.variables[piece.Name]
		switch {
		case piece.Escape:
			part = "$"
		case piece.Name != "" && v.isKnown:
			part = v.value
		case piece.Name != "":
			known = false
		}
		if out = append(out, part...); len(out) > shortenThreshold {
			out = []byte(envref.Shorten(string(out)))
		}
	}
	return envref.Shorten(string(out)), known
}

// rewriteForInjector escapes a text at an index of env, so that the injector expands it in place of the kubelet with
// the same result. It also says whether the text uses a variable that only the injector can set. A variable that is
// defined later in env is plain text to the kubelet, so its use is escaped for the injector too.
func (e *environment) rewriteForInjector(text string, at int) (string, bool) {
	if len(text) > maxVariableBytes { // Linux cannot start a program with this text, so its expansion does not matter
		return text, false
	}
	uses := false
	var out strings.Builder
	for piece := range envref.Pieces(text) {
		v, defined := e.variables[piece.Name]
		uses = uses || v.needsInjector
		if last, later := e.lastIndex[piece.Name]; !defined && later && last >= at {
			out.WriteByte('$')
		}
		out.WriteString(piece.Text)
	}
	return envref.Escape(out.String()), uses
}

// recordedReferences has the references that the container's own env does not hold, by variable.
func (e *environment) recordedReferences() map[string]string {
	record := map[string]string{}
	for name, v := range e.variables {
		if v.isReference() && !e.literalValues[v.value] {
			record[name] = v.value
		}
	}
	return record
}

// needsInjector says whether any variable holds or uses a reference.
func (e *environment) needsInjector() bool {
	for _, v := range e.variables {
		if v.needsInjector {
			return true
		}
	}
	return false
}

// downwardValue is the value of a field of the pod that can hold a reference or a part of one, and whether it is known.
func downwardValue(pod *corev1.Pod, field *corev1.ObjectFieldSelector) (string, bool) {
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

// priorImageReferences are the references of the image that an earlier mutation recorded, by variable.
func priorImageReferences(c corev1.Container) map[string]string {
	before := map[string]string{}
	for _, entry := range c.Env {
		if entry.Name == wire.EnvImageReferences && isWrapped(c) {
			_ = json.Unmarshal([]byte(entry.Value), &before)
		}
	}
	maps.DeleteFunc(before, func(_, value string) bool { _, err := envref.Parse(value); return err != nil })
	return before
}

// priorExpansion is the expansion that an earlier mutation left to the injector.
func priorExpansion(c corev1.Container) (before wire.Expansion) {
	for _, entry := range c.Env {
		if entry.Name == wire.EnvExpand && isWrapped(c) {
			_ = json.Unmarshal([]byte(entry.Value), &before) // a malformed value counts as no expansion
		}
	}
	return before
}
