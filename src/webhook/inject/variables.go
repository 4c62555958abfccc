package inject

import (
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// variables are what the injector needs to know.
func variables(c corev1.Container, s Settings) []corev1.EnvVar {
	if s.direct(c) {
		return []corev1.EnvVar{{Name: wire.EnvUseAuthService, Value: "false"}, {Name: wire.EnvCloud, Value: s.Cloud},
			{Name: wire.EnvExtraCAs, Value: s.ExtraCAs},
			{Name: wire.EnvAuthType, Value: s.AuthType}, {Name: wire.EnvLogLevel, Value: s.LogLevel},
			{Name: wire.EnvLogFormat, Value: s.LogFormat}}
	}
	return []corev1.EnvVar{{Name: wire.EnvCA, Value: s.CA}, {Name: wire.EnvBroker, Value: s.Broker},
		{Name: wire.EnvBrokerAddress, Value: s.BrokerAddress},
		{Name: wire.EnvLogLevel, Value: s.LogLevel}, {Name: wire.EnvLogFormat, Value: s.LogFormat}}
}

// ours are the variables that only the webhook may set.
func ours() []string { return wire.Reserved() }

// isOurs says whether only the webhook may set a variable.
func isOurs(name string) bool {
	return strings.HasPrefix(name, "ENV_INJECTOR_") && slices.Contains(ours(), name)
}

// chosen are the variables that a container may set too, and then its own stay.
func chosen() []string { return []string{wire.EnvAuthType, wire.EnvLogLevel, wire.EnvLogFormat} }

// unset are the variables that the container does not have from a whole ConfigMap or Secret: what it may choose there
// stays its choice.
func (e *environment) unset(variables []corev1.EnvVar) []corev1.EnvVar {
	return slices.DeleteFunc(variables, func(v corev1.EnvVar) bool {
		_, taken := e.taken[v.Name]
		return taken && slices.Contains(chosen(), v.Name)
	})
}

// findings are what admission found out about the container, for the broker and the injector.
func findings(e *environment, expansion wire.Expansion) []corev1.EnvVar {
	var found []corev1.EnvVar
	add := func(name string, empty bool, content any) {
		if text, err := json.Marshal(content); err == nil && !empty {
			found = append(found, corev1.EnvVar{Name: name, Value: withoutDollars(string(text))})
		}
	}
	record := e.record()
	add(wire.EnvReferences, len(record) == 0, record)
	add(wire.EnvImageReferences, len(e.image) == 0, e.image)
	add(wire.EnvOpen, !e.open, true)
	add(wire.EnvExpand, len(expansion.Args)+len(expansion.Env) == 0, expansion)
	return found
}

// environ adds what has a value and was not chosen by the container, and the list of what was added.
func environ(env, add []corev1.EnvVar) []corev1.EnvVar {
	before := added(env)
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
	names = append(names, wire.EnvAdded)
	return append(env, corev1.EnvVar{Name: wire.EnvAdded, Value: strings.Join(names, ",")})
}

// added are the variables that an earlier mutation added: what its own list says as far as such names are ours to add.
func added(env []corev1.EnvVar) []string {
	names := ours()
	for _, variable := range env {
		if variable.Name != wire.EnvAdded {
			continue
		}
		for name := range strings.SplitSeq(variable.Value, ",") {
			if slices.Contains(chosen(), name) {
				names = append(names, name)
			}
		}
	}
	return names
}
