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

// check is what the init container has to find out before any other container starts, and how long it may wait.
type check struct {
	// references by container and variable; each reference is there once.
	references map[string]string
	// size is what they come to as JSON.
	size int
	// seen are the references themselves.
	seen map[string]bool
	// patience are the settings that containers have for waiting, by variable: the most patient of each.
	patience map[string]string
}

func newCheck() *check {
	return &check{references: map[string]string{}, seen: map[string]bool{}, patience: map[string]string{}}
}

// overhead of an entry in JSON: four quotes, a colon and a comma.
const overhead = 6

// add takes the references of a container, and says whether these are all that it can have. What would make the
// variable too long is left to the container itself, and so is what comes from sources that could not be read when the
// pod was created.
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

// addPatience takes how long a container is willing to wait. What can't be read is passed on, so that the init
// container names it.
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

// variables are those of the init container; there are none if nothing is to be checked.
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

// withoutDollars writes JSON so that the kubelet expands nothing in it, whatever the names are.
func withoutDollars(text string) string { return strings.ReplaceAll(text, "$", `\u0024`) }

// escapeJSON is a text as it stands in JSON, without its quotes.
func escapeJSON(text string) string {
	content, _ := json.Marshal(text) // cannot fail for a string
	return withoutDollars(string(content[1 : len(content)-1]))
}

// references are all that are known of a container, by variable.
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

// isCheckable says whether the init container can check the references of this container: not if it reads for itself,
// with an identity that only it has, and not if its owner says that they come into existence later.
func (s Settings) isCheckable(c corev1.Container, e *environment) bool {
	first, err := strconv.ParseBool(e.variables[wire.EnvCheckFirst].value)
	return !s.direct(c) && (err != nil || first)
}

// hasMeshProxy says whether the traffic of the pod may go through a proxy of a service mesh. If the mesh's CNI plugin
// redirects it, an init container that runs before the proxy reaches nothing.
func hasMeshProxy(pod *corev1.Pod) bool {
	proxies := []string{"istio-proxy", "linkerd-proxy", "kuma-sidecar", "consul-dataplane"}
	return slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers),
		func(c corev1.Container) bool { return slices.Contains(proxies, c.Name) })
}
