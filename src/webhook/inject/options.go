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

// settingPrefix is the prefix of all variables that are settings of the env-injector.
const settingPrefix = "ENV_INJECTOR_"

// containerSetting is a setting of a container that users write as a variable.
type containerSetting struct {
	// acceptedValues describes the valid values for messages.
	acceptedValues string
	isValid        func(string) bool
	// neededAtAdmission says that the webhook needs the value, so the pod must hold it literally. Other values are read
	// when the container starts.
	neededAtAdmission bool
	// warnOnly says that an invalid value gets a warning and the default is used. Otherwise the pod is rejected.
	warnOnly bool
}

// containerSettings are all settings that users can write, by variable.
func containerSettings() map[string]containerSetting {
	boolean := func(text string) bool { _, err := strconv.ParseBool(text); return err == nil }
	number := func(text string) bool { n, err := strconv.Atoi(text); return err == nil && n >= 0 }
	duration := func(text string) bool { d, err := time.ParseDuration(text); return err == nil && d >= 0 }
	oneOf := func(texts ...string) func(string) bool {
		return func(text string) bool { return slices.Contains(texts, text) }
	}
	return map[string]containerSetting{
		wire.EnvDisableAuthService: {acceptedValues: "true or false", isValid: boolean, neededAtAdmission: true},
		wire.EnvCheckBeforeStart:   {acceptedValues: "true or false", isValid: boolean, neededAtAdmission: true},
		wire.EnvTimeout:            {acceptedValues: "a duration such as 60s or 5m", isValid: duration},
		wire.EnvRetries:            {acceptedValues: "a number such as 3", isValid: number},
		wire.EnvWaitBeforeRetry:    {acceptedValues: "a number of seconds such as 3", isValid: number},
		wire.EnvAuthType: {acceptedValues: "environment, environment-azidentity or azureCloudConfig",
			isValid: oneOf("environment", "environment-azidentity", "azureCloudConfig")},
		wire.EnvLogLevel: {acceptedValues: "info, debug or trace", warnOnly: true, isValid: func(text string) bool {
			return number(text) || slices.Contains([]string{"info", "debug", "trace"}, text)
		}},
		wire.EnvLogFormat: {acceptedValues: "text or json", isValid: oneOf("text", "json", "fmt"), warnOnly: true},
	}
}

// isTrueInEnv says whether the container's own env sets a Boolean setting to true. As for the program, the last of
// several entries counts.
func isTrueInEnv(c corev1.Container, name string) bool {
	for _, variable := range slices.Backward(c.Env) {
		if variable.Name == name {
			value, err := strconv.ParseBool(variable.Value)
			return err == nil && value
		}
	}
	return false
}

// checkContainerSettings checks the settings of a container, which would otherwise be ignored without a message: they
// decide which identity it uses and how long it waits. The error is of kind fault.Invalid, also for a reserved variable
// from a source, because the injector would use it.
func checkContainerSettings(c corev1.Container, e *environment) (warnings []string, err error) {
	known := containerSettings()
	for _, name := range slices.Sorted(maps.Keys(e.sourceVariables)) {
		from := e.sourceVariables[name]
		switch o, ok := known[canonicalName(name)]; {
		case isReserved(name):
			return nil, invalidContainerError(c,
				"variable %s, from %s %q, is reserved; remove the key, or use the other keys by configMapKeyRef or "+
					"secretKeyRef", name, from.Kind, PrintableName(from.Name))
		case ok && (o.neededAtAdmission || name != canonicalName(name)):
			return nil, invalidContainerError(c,
				"variable %s comes from %s %q, where the env-injector does not read it; write %s into env (value: %s)",
				PrintableName(name), from.Kind, PrintableName(from.Name), canonicalName(name), o.acceptedValues)
		}
	}
	for _, variable := range c.Env {
		warning, err := checkContainerSetting(c, variable, known)
		if err != nil {
			return nil, err
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	return warnings, nil
}

// canonicalName is the name in upper case and without surrounding white space, as settings are written.
func canonicalName(name string) string {
	if len(name) > 2*len(wire.EnvDisableAuthService) {
		return name
	}
	return strings.ToUpper(strings.TrimSpace(name))
}

// isKnownLater says whether the value can be known only when the container starts, or is empty.
func isKnownLater(variable corev1.EnvVar, o containerSetting) bool {
	return variable.ValueFrom != nil || variable.Value == "" || strings.Contains(variable.Value, "$(") &&
		!o.neededAtAdmission
}

// checkContainerSetting checks one variable of the container's own env.
func checkContainerSetting(c corev1.Container, variable corev1.EnvVar,
	known map[string]containerSetting) (warning string, err error) {
	name := canonicalName(variable.Name)
	if !strings.HasPrefix(name, settingPrefix) || isReserved(variable.Name) {
		return "", nil
	}
	o, ok := known[name]
	switch {
	case !ok && isReserved(name):
		return "", invalidContainerError(c, "variable %s is reserved; remove it", PrintableName(variable.Name))
	case !ok:
		return fmt.Sprintf("container %q: %s is not a setting of the env-injector, so it has no effect; the settings "+
			"are %s", PrintableName(c.Name), PrintableName(variable.Name),
			strings.Join(slices.Sorted(maps.Keys(known)), ", ")), nil
	case name != variable.Name:
		return "", invalidContainerError(c, "variable %s is not a setting of the env-injector; write %s",
			PrintableName(variable.Name), name)
	case variable.ValueFrom != nil && o.neededAtAdmission:
		return "", invalidContainerError(c,
			"variable %s must have a literal value in env (%s), because the webhook needs it when the pod is created",
			name, o.acceptedValues)
	case isKnownLater(variable, o), o.isValid(variable.Value):
		return "", nil
	case o.warnOnly:
		return fmt.Sprintf("container %q: the value of %s is not valid, so the default is used; write %s",
			PrintableName(c.Name), name, o.acceptedValues), nil
	}
	return "", invalidContainerError(c, "the value of %s is not valid; write %s", name, o.acceptedValues)
}

// isInjectionDisabled says whether the pod's label switches injection off.
func isInjectionDisabled(pod *corev1.Pod) bool {
	value, err := strconv.ParseBool(pod.Labels[wire.LabelInject])
	return err == nil && !value
}

// isAlwaysInjected says whether the pod's annotation requires that every container is wrapped.
func isAlwaysInjected(pod *corev1.Pod) bool {
	return strings.EqualFold(pod.Annotations[wire.AnnotationInject], "always")
}

// checkInjectMetadata checks the values of our label and annotation of the pod, which would otherwise be ignored
// without a message. The error is of kind fault.Invalid.
func checkInjectMetadata(pod *corev1.Pod) error {
	if label, ok := pod.Labels[wire.LabelInject]; ok && label != "" {
		if _, err := strconv.ParseBool(label); err != nil {
			return fault.New(fault.Invalid,
				`the label %s of the pod is neither "true" nor "false"; write "false" to exclude the pod from injection, or remove the label`, wire.LabelInject)
		}
	}
	if text, ok := pod.Annotations[wire.AnnotationInjectProbes]; ok {
		if _, err := strconv.ParseBool(text); err != nil {
			return fault.New(fault.Invalid,
				`the annotation %s of the pod is neither "true" nor "false"; correct or remove it`,
				wire.AnnotationInjectProbes)
		}
	}
	if text, ok := pod.Annotations[wire.AnnotationInject]; ok && text != "" && !isAlwaysInjected(pod) {
		return fault.New(fault.Invalid,
			`the annotation %s of the pod is not "always"; to exclude the pod from injection, write the label %s: "false", otherwise remove the annotation`,
			wire.AnnotationInject, wire.LabelInject)
	}
	return nil
}

// injectMetadataWarnings returns such an error as a warning, for a pod that is not injected.
func injectMetadataWarnings(pod *corev1.Pod) []string {
	if err := checkInjectMetadata(pod); err != nil {
		return []string{err.Error()}
	}
	return nil
}
