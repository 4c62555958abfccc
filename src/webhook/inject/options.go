package inject

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// prefix is the prefix of all variables that are settings of the env-injector.
const prefix = "ENV_INJECTOR_"

// option is a setting of a container that users write as a variable.
type option struct {
	// accepts describes the valid values for messages.
	accepts string
	valid   func(string) bool
	// atAdmission says that the webhook needs the value, so the pod must hold it literally. Other values are read when
	// the container starts.
	atAdmission bool
	// harmless says that an invalid value gets a warning and the default is used. Otherwise the pod is rejected.
	harmless bool
}

// options are all settings that users can write, by variable.
func options() map[string]option {
	boolean := func(text string) bool { _, err := strconv.ParseBool(text); return err == nil }
	number := func(text string) bool { n, err := strconv.Atoi(text); return err == nil && n >= 0 }
	duration := func(text string) bool { d, err := time.ParseDuration(text); return err == nil && d >= 0 }
	oneOf := func(texts ...string) func(string) bool {
		return func(text string) bool { return slices.Contains(texts, text) }
	}
	return map[string]option{
		wire.EnvDisable:    {accepts: "true or false", valid: boolean, atAdmission: true},
		wire.EnvCheckFirst: {accepts: "true or false", valid: boolean, atAdmission: true},
		wire.EnvTimeout:    {accepts: "a duration such as 60s or 5m", valid: duration},
		wire.EnvRetries:    {accepts: "a number such as 3", valid: number},
		wire.EnvWait:       {accepts: "a number of seconds such as 3", valid: number},
		wire.EnvAuthType: {accepts: "environment, environment-azidentity or azureCloudConfig",
			valid: oneOf("environment", "environment-azidentity", "azureCloudConfig")},
		wire.EnvLogLevel: {accepts: "info, debug or trace", harmless: true, valid: func(text string) bool {
			return number(text) || slices.Contains([]string{"info", "debug", "trace"}, text)
		}},
		wire.EnvLogFormat: {accepts: "text or json", valid: oneOf("text", "json", "fmt"), harmless: true},
	}
}

// isTrue says whether the container's own env sets a Boolean setting to true. As for the program, the last of several
// entries counts.
func isTrue(c corev1.Container, name string) bool {
	for _, variable := range slices.Backward(c.Env) {
		if variable.Name == name {
			value, err := strconv.ParseBool(variable.Value)
			return err == nil && value
		}
	}
	return false
}

// checkOptions checks the settings of a container, which would otherwise be ignored without a message: they decide
// which identity it uses and how long it waits. The error is of kind fault.Invalid, also for a reserved variable from a
// source, because the injector would use it.
func checkOptions(c corev1.Container, e *environment) (warnings []string, err error) {
	known := options()
	for _, name := range slices.Sorted(maps.Keys(e.taken)) {
		from := e.taken[name]
		switch o, ok := known[canonical(name)]; {
		case isOurs(name):
			return nil, refuse(c,
				"variable %s, from %s %q, is reserved; remove the key, or use the other keys by configMapKeyRef or "+
					"secretKeyRef", name, from.Kind, Shown(from.Name))
		case ok && (o.atAdmission || name != canonical(name)):
			return nil, refuse(c,
				"variable %s comes from %s %q, where the env-injector does not read it; write %s into env (value: %s)",
				Shown(name), from.Kind, Shown(from.Name), canonical(name), o.accepts)
		}
	}
	for _, variable := range c.Env {
		warning, err := checkOption(c, variable, known)
		if err != nil {
			return nil, err
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	return warnings, nil
}

// canonical is the name in upper case and without surrounding white space, as settings are written.
func canonical(name string) string {
	if len(name) > 2*len(wire.EnvDisable) {
		return name
	}
	return strings.ToUpper(strings.TrimSpace(name))
}

// isDecidedLater says whether the value can be known only when the container starts, or is empty.
func isDecidedLater(variable corev1.EnvVar, o option) bool {
	return variable.ValueFrom != nil || variable.Value == "" || strings.Contains(variable.Value, "$(") && !o.atAdmission
}

// checkOption checks one variable of the container's own env.
func checkOption(c corev1.Container, variable corev1.EnvVar, known map[string]option) (warning string, err error) {
	name := canonical(variable.Name)
	if !strings.HasPrefix(name, prefix) || isOurs(variable.Name) {
		return "", nil
	}
	o, ok := known[name]
	switch {
	case !ok && isOurs(name):
		return "", refuse(c, "variable %s is reserved; remove it", Shown(variable.Name))
	case !ok:
		return fmt.Sprintf("container %q: %s is not a setting of the env-injector, so it has no effect; the settings "+
			"are %s", Shown(c.Name), Shown(variable.Name),
			strings.Join(slices.Sorted(maps.Keys(known)), ", ")), nil
	case name != variable.Name:
		return "", refuse(c, "variable %s is not a setting of the env-injector; write %s", Shown(variable.Name), name)
	case variable.ValueFrom != nil && o.atAdmission:
		return "", refuse(c,
			"variable %s must have a literal value in env (%s), because the webhook needs it when the pod is created",
			name, o.accepts)
	case isDecidedLater(variable, o), o.valid(variable.Value):
		return "", nil
	case o.harmless:
		return fmt.Sprintf("container %q: the value of %s is not valid, so the default is used; write %s",
			Shown(c.Name), name, o.accepts), nil
	}
	return "", refuse(c, "the value of %s is not valid; write %s", name, o.accepts)
}

// isSwitchedOff says whether the pod's label switches injection off.
func isSwitchedOff(pod *corev1.Pod) bool {
	value, err := strconv.ParseBool(pod.Labels[wire.LabelInject])
	return err == nil && !value
}

// isAlways says whether the pod's annotation requires that every container is wrapped.
func isAlways(pod *corev1.Pod) bool {
	return strings.EqualFold(pod.Annotations[wire.AnnotationInject], "always")
}

// checkMarks checks the values of our label and annotation of the pod, which would otherwise be ignored without a
// message. The error is of kind fault.Invalid.
func checkMarks(pod *corev1.Pod) error {
	if label, ok := pod.Labels[wire.LabelInject]; ok && label != "" {
		if _, err := strconv.ParseBool(label); err != nil {
			return fault.New(fault.Invalid,
				`the label %s of the pod is neither "true" nor "false"; write "false" to exclude the pod from injection, or remove the label`, wire.LabelInject)
		}
	}
	if text, ok := pod.Annotations[wire.AnnotationInject]; ok && text != "" && !isAlways(pod) {
		return fault.New(fault.Invalid,
			`the annotation %s of the pod is not "always"; to exclude the pod from injection, write the label %s: "false", otherwise remove the annotation`,
			wire.AnnotationInject, wire.LabelInject)
	}
	return nil
}

// uselessMarks returns such an error as a warning, for a pod that is not injected.
func uselessMarks(pod *corev1.Pod) []string {
	if err := checkMarks(pod); err != nil {
		return []string{err.Error()}
	}
	return nil
}
