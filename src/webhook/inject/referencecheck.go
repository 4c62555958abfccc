package inject

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// referenceCheck has the references that the init container checks before any other container starts.
type referenceCheck struct {
	// references by "container/variable". A reference that several variables share is listed once.
	references map[string]string
	// jsonBytes is the length of the references as JSON, in bytes.
	jsonBytes int
	// seenReferences is the set of the references.
	seenReferences map[string]bool
	// waitSettings has the wait settings of the containers by variable, each with the value that waits longest.
	waitSettings map[string]string
}

func newReferenceCheck() *referenceCheck {
	return &referenceCheck{references: map[string]string{}, seenReferences: map[string]bool{},
		waitSettings: map[string]string{}}
}

// jsonEntryOverhead is the number of bytes that an entry of a JSON object adds: four quotes, a colon and a comma.
const jsonEntryOverhead = 6

// addContainer adds the references of a container. It returns false if the check does not cover all references of the
// container: references beyond the size limit, and those of sources that could not be read when the pod was created,
// are resolved by the container alone.
func (k *referenceCheck) addContainer(container string, e *environment) bool {
	k.addWaitSettings(e)
	complete := !e.hasMissingSource && !e.hasForbiddenSource
	references := e.knownReferences()
	for _, name := range slices.Sorted(maps.Keys(references)) {
		reference, key := references[name], container+"/"+name
		size := len(escapeJSON(key)) + len(reference) + jsonEntryOverhead
		switch {
		case k.seenReferences[reference]:
		case k.jsonBytes+size > limits.CheckedReferencesBytes:
			complete = false
		default:
			k.seenReferences[reference], k.references[key] = true, reference
			k.jsonBytes += size
		}
	}
	return complete
}

// addWaitSettings adds the wait settings of a container. A value that cannot be parsed is passed on, and the init
// container reports it.
func (k *referenceCheck) addWaitSettings(e *environment) {
	number := func(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }
	duration := func(text string) (int64, error) { d, err := time.ParseDuration(text); return int64(d), err }
	for name, parse := range map[string]func(string) (int64, error){wire.EnvTimeout: duration, wire.EnvRetries: number,
		wire.EnvWaitBeforeRetry: number} {
		v := e.variables[name]
		if !v.isKnown || v.value == "" {
			continue
		}
		before, set := k.waitSettings[name]
		mine, err := parse(v.value)
		most, unreadable := parse(before)
		if !set || err != nil || (unreadable == nil && mine > most) {
			k.waitSettings[name] = v.value
		}
	}
}

// initContainerEnv is the environment of the init container, with its references as a variable of the given name.
func (k *referenceCheck) initContainerEnv(pod *corev1.Pod, s Settings, name string,
	references map[string]string) []corev1.EnvVar {
	wait := limits.WaitBeforeStart
	if pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
		wait = limits.WaitWithoutRestart
	}
	text, _ := json.Marshal(references) // cannot fail for a map of strings
	var set []corev1.EnvVar
	for _, variable := range []corev1.EnvVar{
		{Name: wire.EnvCA, Value: s.CA}, {Name: wire.EnvBroker, Value: s.Broker},
		{Name: wire.EnvBrokerAddress, Value: s.BrokerAddress},
		{Name: wire.EnvLogLevel, Value: s.LogLevel}, {Name: wire.EnvLogFormat, Value: s.LogFormat},
		{Name: wire.EnvDefaultTimeout, Value: wait.String()},
		{Name: wire.EnvTimeout, Value: envref.Escape(k.waitSettings[wire.EnvTimeout])},
		{Name: wire.EnvRetries, Value: envref.Escape(k.waitSettings[wire.EnvRetries])},
		{Name: wire.EnvWaitBeforeRetry, Value: envref.Escape(k.waitSettings[wire.EnvWaitBeforeRetry])},
		{Name: name, Value: EscapeDollars(string(text))},
	} {
		if variable.Value != "" {
			set = append(set, variable)
		}
	}
	return set
}

// EscapeDollars escapes each dollar in JSON, so that the kubelet expands nothing in it.
func EscapeDollars(text string) string { return strings.ReplaceAll(text, "$", `\u0024`) }

// escapeJSON is a text as a JSON string without its quotes.
func escapeJSON(text string) string {
	content, _ := json.Marshal(text) // cannot fail for a string
	return EscapeDollars(string(content[1 : len(content)-1]))
}

// knownReferences are the known references of a container, by variable.
func (e *environment) knownReferences() map[string]string {
	references := map[string]string{}
	maps.Copy(references, e.imageReferences)
	for name, v := range e.variables {
		if v.isReference() {
			references[name] = v.value
		}
	}
	return references
}

// isCheckable says whether the init container can check the references of this container. It cannot if the container
// reads vaults with its own credentials, or if the user has switched the check off because the references are created
// later.
func (s Settings) isCheckable(c corev1.Container, e *environment) bool {
	first, err := strconv.ParseBool(e.variables[wire.EnvCheckBeforeStart].value)
	return !s.IsDirect(c) && (err != nil || first)
}

// HasMeshProxy says whether the pod has a proxy of a service mesh. If the CNI plugin of the mesh redirects traffic to
// the proxy, an init container that runs before the proxy has no network.
func HasMeshProxy(pod *corev1.Pod) bool {
	proxies := []string{"istio-proxy", "linkerd-proxy", "kuma-sidecar", "consul-dataplane"}
	return slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers),
		func(c corev1.Container) bool { return slices.Contains(proxies, c.Name) })
}
