package inject

import (
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// InjectorEnv are the settings of the installation for the injector in a container.
func InjectorEnv(c corev1.Container, s Settings) []corev1.EnvVar {
	if s.IsDirect(c) {
		return []corev1.EnvVar{{Name: wire.EnvUseAuthService, Value: "false"}, {Name: wire.EnvCloud, Value: s.Cloud},
			{Name: wire.EnvExtraCAs, Value: s.ExtraCAs},
			{Name: wire.EnvAuthType, Value: s.AuthType}, {Name: wire.EnvLogLevel, Value: s.LogLevel},
			{Name: wire.EnvLogFormat, Value: s.LogFormat}}
	}
	return []corev1.EnvVar{{Name: wire.EnvCA, Value: s.CA}, {Name: wire.EnvBroker, Value: s.Broker},
		{Name: wire.EnvBrokerAddress, Value: s.BrokerAddress},
		{Name: wire.EnvLogLevel, Value: s.LogLevel}, {Name: wire.EnvLogFormat, Value: s.LogFormat}}
}

// isReserved says whether a variable is reserved: only the webhook can set it.
func isReserved(name string) bool {
	return strings.HasPrefix(name, "ENV_INJECTOR_") && slices.Contains(wire.ReservedVariables(), name)
}

// overridableVariables are the variables that the webhook adds unless the container sets them.
func overridableVariables() []string {
	return []string{wire.EnvAuthType, wire.EnvLogLevel, wire.EnvLogFormat}
}

// dropChosenInSources drops the settings that the container takes from a whole ConfigMap or Secret, so that the
// container's value stays in effect.
func (e *environment) dropChosenInSources(variables []corev1.EnvVar) []corev1.EnvVar {
	return slices.DeleteFunc(variables, func(v corev1.EnvVar) bool {
		_, taken := e.sourceVariables[v.Name]
		return taken && slices.Contains(overridableVariables(), v.Name)
	})
}

// recordedEnv are the variables with the results of the admission, for the broker and the injector.
func recordedEnv(e *environment, expansion wire.Expansion) []corev1.EnvVar {
	var found []corev1.EnvVar
	add := func(name string, empty bool, content any) {
		if text, err := json.Marshal(content); err == nil && !empty {
			found = append(found, corev1.EnvVar{Name: name, Value: EscapeDollars(string(text))})
		}
	}
	record := e.recordedReferences()
	add(wire.EnvReferences, len(record) == 0, record)
	add(wire.EnvImageReferences, len(e.imageReferences) == 0, e.imageReferences)
	add(wire.EnvAllowUnrecorded, !e.hasMissingSource, true)
	add(wire.EnvExpand, len(expansion.ArgIndexes)+len(expansion.Variables) == 0, expansion)
	return found
}

// mergeEnv replaces the variables of an earlier mutation by new ones, and adds the list of their names. It skips
// variables that are empty or that the container sets itself.
func mergeEnv(env, add []corev1.EnvVar) []corev1.EnvVar {
	before := previouslyAdded(env)
	env = slices.DeleteFunc(env, func(v corev1.EnvVar) bool { return slices.Contains(before, v.Name) })
	names := []string{}
	own := make(map[string]bool, len(env))
	for _, variable := range env {
		own[variable.Name] = true
	}
	for _, variable := range add {
		if variable.Value == "" || own[variable.Name] {
			continue
		}
		env = append(env, variable)
		names = append(names, variable.Name)
	}
	names = append(names, wire.EnvAddedVariables)
	return append(env, corev1.EnvVar{Name: wire.EnvAddedVariables, Value: strings.Join(names, ",")})
}

// previouslyAdded are the variables that an earlier mutation can have added: all reserved ones, and the others in its
// list that the webhook adds.
func previouslyAdded(env []corev1.EnvVar) []string {
	names := wire.ReservedVariables()
	for _, variable := range env {
		if variable.Name != wire.EnvAddedVariables {
			continue
		}
		for name := range strings.SplitSeq(variable.Value, ",") {
			if slices.Contains(overridableVariables(), name) {
				names = append(names, name)
			}
		}
	}
	return names
}
