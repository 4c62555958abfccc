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

// check has the references that the init container checks before any other container starts.
type check struct {
	// references by "container/variable". A reference that several variables share is listed once.
	references map[string]string
	// size is the length of the references as JSON, in bytes.
	size int
	// seen is the set of the references.
	seen map[string]bool
	// patience has the wait settings of the containers by variable, each with the value that waits longest.
	patience map[string]string
}

func newCheck() *check {
	return &check{references: map[string]string{}, seen: map[string]bool{}, patience: map[string]string{}}
}

// overhead is the number of bytes that an entry of a JSON object adds: four quotes, a colon and a comma.
const overhead = 6

// add adds the references of a container. It returns false if the check does not cover all references of the container:
// references beyond the size limit, and those of sources that could not be read when the pod was created, are resolved
// by the container alone.
func (k *check) add(container string, e *environment) bool {
	k.addPatience(e)
	complete := !e.open && !e.hidden
	references := e.references()
	for _, name := range slices.Sorted(maps.Keys(references)) {
		reference, key := references[name], container+"/"+name
		size := len(escapeJSON(key)) + len(reference) + overhead
		switch {
		case k.seen[reference]:
		case k.size+size > limits.CheckedReferencesBytes:
			complete = false
		default:
			k.seen[reference], k.references[key] = true, reference
			k.size += size
		}
	}
	return complete
}

// addPatience adds the wait settings of a container. A value that cannot be parsed is passed on, and the init container
// reports it.
func (k *check) addPatience(e *environment) {
	number := func(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }
	duration := func(text string) (int64, error) { d, err := time.ParseDuration(text); return int64(d), err }
	for name, parse := range map[string]func(string) (int64, error){wire.EnvTimeout: duration, wire.EnvRetries: number,
		wire.EnvWait: number} {
		v := e.variables[name]
		if !v.known || v.value == "" {
			continue
		}
		before, set := k.patience[name]
		mine, err := parse(v.value)
		most, unreadable := parse(before)
		if !set || err != nil || (unreadable == nil && mine > most) {
			k.patience[name] = v.value
		}
	}
}

// variables is the environment of the init container. It is empty if there are no references to check.
func (k *check) variables(pod *corev1.Pod, s Settings) []corev1.EnvVar {
	if len(k.references) == 0 {
		return nil
	}
	wait := limits.WaitBeforeStart
	if pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
		wait = limits.WaitWithoutRestart
	}
	references, _ := json.Marshal(k.references) // cannot fail for a map of strings
	var set []corev1.EnvVar
	for _, variable := range []corev1.EnvVar{
		{Name: wire.EnvCA, Value: s.CA}, {Name: wire.EnvBroker, Value: s.Broker},
		{Name: wire.EnvBrokerAddress, Value: s.BrokerAddress},
		{Name: wire.EnvLogLevel, Value: s.LogLevel}, {Name: wire.EnvLogFormat, Value: s.LogFormat},
		{Name: wire.EnvDefaultTimeout, Value: wait.String()},
		{Name: wire.EnvTimeout, Value: envref.Escape(k.patience[wire.EnvTimeout])},
		{Name: wire.EnvRetries, Value: envref.Escape(k.patience[wire.EnvRetries])},
		{Name: wire.EnvWait, Value: envref.Escape(k.patience[wire.EnvWait])},
		{Name: wire.EnvCheck, Value: withoutDollars(string(references))},
	} {
		if variable.Value != "" {
			set = append(set, variable)
		}
	}
	return set
}

// withoutDollars escapes each dollar in JSON, so that the kubelet expands nothing in it.
func withoutDollars(text string) string { return strings.ReplaceAll(text, "$", `\u0024`) }

// escapeJSON is a text as a JSON string without its quotes.
func escapeJSON(text string) string {
	content, _ := json.Marshal(text) // cannot fail for a string
	return withoutDollars(string(content[1 : len(content)-1]))
}

// references are the known references of a container, by variable.
func (e *environment) references() map[string]string {
	references := map[string]string{}
	maps.Copy(references, e.image)
	for name, v := range e.variables {
		if v.reference() {
			references[name] = v.value
		}
	}
	return references
}

// isCheckable says whether the init container can check the references of this container. It cannot if the container
// reads vaults with its own credentials, or if the user has switched the check off because the references are created
// later.
func (s Settings) isCheckable(c corev1.Container, e *environment) bool {
	first, err := strconv.ParseBool(e.variables[wire.EnvCheckFirst].value)
	return !s.direct(c) && (err != nil || first)
}

// hasMeshProxy says whether the pod has a proxy of a service mesh. If the CNI plugin of the mesh redirects traffic to
// the proxy, an init container that runs before the proxy has no network.
func hasMeshProxy(pod *corev1.Pod) bool {
	proxies := []string{"istio-proxy", "linkerd-proxy", "kuma-sidecar", "consul-dataplane"}
	return slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers),
		func(c corev1.Container) bool { return slices.Contains(proxies, c.Name) })
}
