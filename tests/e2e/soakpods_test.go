//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/stage"
)

const (
	// moreGoroutines are of connections that are open at one time and not at another: two for each, of a few vaults, of
	// the API server, and of whoever asks.
	moreGoroutines = 20
	// moreLive is what a process may need more: metrics of answers that it had not had before, and values that pods
	// asked for.
	moreLive = 8 << 20
	// mostMemory is what the kernel may count of it. Go keeps twice what is needed, and gives the kernel's pages back
	// little by little.
	mostMemory = 56 << 20
	// returns is how long it may take to give memory back: Go collects at least every two minutes, and returns pages
	// little by little after that.
	returns = 5 * time.Minute
	// separator stands before each value that a pod prints.
	separator = "\x1e"
)

// soakPod is a pod that prints values.
type soakPod struct {
	*corev1.Pod
	of []*soakResource
	// patient is one that asks again.
	patient bool
}

// soakPod describes one with a few references of one namespace.
func (k *soak) soakPod(name string, random *rand.Rand) soakPod {
	namespace := random.IntN(soakNamespaces)
	p := soakPod{patient: random.IntN(2) == 0}
	env := map[string]string{"ENV_INJECTOR_TIMEOUT": "0s", "ENV_INJECTOR_RETRIES": "0"}
	if p.patient {
		env = map[string]string{"ENV_INJECTOR_TIMEOUT": "8s", "ENV_INJECTOR_RETRIES": "1", "ENV_INJECTOR_WAIT_BEFORE_RETRY": "1"}
	}
	command := `printf '\036%s'`
	for i := range 1 + random.IntN(3) {
		r := k.resources[namespace+soakNamespaces*random.IntN(len(k.resources)/soakNamespaces)]
		p.of = append(p.of, r)
		env[fmt.Sprintf("V%d", i)] = r.name + "@azurekeyvault" + r.query
		command += fmt.Sprintf(` "$V%d"`, i)
	}
	p.Pod = k.teams[namespace].pod(name, env, "sh", "-c", command)
	return p
}

// pods come and go until time is over.
func (k *soak) pods(ctx context.Context, worker int) {
	random := k.random(worker)
	for n := 0; ctx.Err() == nil; n++ {
		p := k.soakPod(fmt.Sprintf("p-%d-%d", worker, n), random)
		code, log, err := runToEnd(k.Context(), p.Pod)
		k.judge(p, code, log, err)
	}
}

// runToEnd runs a pod to its end, and deletes it.
func runToEnd(ctx context.Context, p *corev1.Pod) (code int32, log string, err error) {
	if err := s.Client.Create(ctx, p); err != nil {
		return 0, "", fmt.Errorf("it can't be created: %w", err)
	}
	defer func() { _ = s.Client.Delete(ctx, p) }()
	var container string
	if err := stage.Await(ctx, 2*patience, "its end", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		var ended bool
		if container, code, ended = stage.Ended(p); !ended {
			return fmt.Errorf("it is %s", p.Status.Phase)
		}
		return nil
	}); err != nil {
		return 0, "", err
	}
	content, err := s.Kube.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
	return code, string(content), err
}

// judge notes what became of a pod, and what may not become of one.
func (k *soak) judge(p soakPod, code int32, log string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	problem := ""
	switch {
	case err != nil:
		problem = err.Error()
	case code == 0:
		k.started++
		problem = p.printed(log, func(o *soakObject) []soakVersion { return o.versions })
	default:
		k.refused[code]++
		problem = p.refusal(code, log)
	}
	if problem != "" {
		k.problems = append(k.problems, p.Namespace+"/"+p.Name+": "+problem)
	}
}

// printed says what is wrong with what a pod printed: each value has to be one that its object has, or had, as those
// that are known serve while a vault is away.
func (p soakPod) printed(log string, allowed func(*soakObject) []soakVersion) string {
	values := strings.Split(log, separator)
	if len(values) != 1+len(p.of) {
		return fmt.Sprintf("it printed %d values instead of %d", len(values)-1, len(p.of))
	}
	if strings.Contains(values[0], canary) {
		return "a value is in its log"
	}
	for i, r := range p.of {
		if !slices.ContainsFunc(allowed(r.objects[0]), func(v soakVersion) bool { return v.variable == values[1+i] }) {
			return fmt.Sprintf("what it has for %s, of %d bytes, is no value of object %s", r.name, len(values[1+i]), r.objects[0].name)
		}
	}
	return ""
}

// refusal says what is wrong with how a pod ended that was given no values: it has to say why in one line, and by a
// documented code. None of these pods asks for what can't work (64), and 70 is a mistake of ours.
func (p soakPod) refusal(code int32, log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	switch {
	case code != 65 && code != 66 && code != 75 && code != 77:
		return fmt.Sprintf("it ended with %d: %s", code, lines[len(lines)-1])
	case strings.Contains(log, canary) || strings.Contains(log, separator):
		return fmt.Sprintf("it ended with %d, and a value is in its log", code)
	case strings.Count(log, "level=ERROR") != 1 || !strings.Contains(lines[len(lines)-1], "level=ERROR"):
		return fmt.Sprintf("it ended with %d, and not by one line that says why: %s", code, log)
	case !p.patient && len(lines) > 1:
		return fmt.Sprintf("it ended with %d, and said it in %d lines: %s", code, len(lines), log)
	}
	return ""
}

// podsStart with what the vaults have now.
func (k *soak) podsStart() {
	k.Helper()
	time.Sleep(maxAge) // for so long older values may be given
	random := k.random(soakWorkers)
	for n := range 6 {
		p := k.soakPod(fmt.Sprintf("after-%d", n), random)
		code, log, err := runToEnd(k.Context(), p.Pod)
		require.NoError(k, err)
		if assert.Zero(k, code, log) {
			assert.Empty(k, p.printed(log, func(o *soakObject) []soakVersion { return []soakVersion{o.newest()} }))
		}
	}
}

// pausesWereKept reads the emulator's witness, and says what the vaults answered.
func (k *soak) pausesWereKept() {
	k.Helper()
	counters, err := s.Azure.Counters(k.Context())
	require.NoError(k, err)
	calls, answers := 0, map[string]int{}
	for name, count := range counters {
		vault, rest, _ := strings.Cut(name, " ")
		if !slices.ContainsFunc(k.teams, func(tm team) bool { return tm.vault == vault }) {
			continue
		}
		if strings.HasPrefix(rest, "in-pause") {
			assert.Zero(k, count, "calls of a vault in a time in which it was to be left alone: %s", name)
			continue
		}
		answers[rest[strings.LastIndex(rest, " ")+1:]] += count
		calls += count
	}
	reads := 0
	for _, component := range []string{"akv2k8s-controller", "akv2k8s-webhook"} {
		for _, m := range regexp.MustCompile(`(?m)^akv2k8s_vault_reads_total\{[^}]*vault="`+k.vault+`-[^}]*\} (\S+)$`).FindAllStringSubmatch(metricsOf(k.T, component), -1) {
			n, err := strconv.ParseFloat(m[1], 64)
			require.NoError(k, err)
			reads += int(n)
		}
	}
	s.Say("%d reads were %d calls, answered %v", reads, calls, answers)
	assert.Positive(k, answers["429"], "the vaults were closed at times")
}

// usage is what a replica of the product takes.
type usage struct {
	// working set, and what Go's last collection left of its heap, which is half of where the next one begins
	memory, live         float64
	goroutines, restarts int
}

// usage is that of each replica, by the pod's name.
func (k *soak) usage() map[string]usage {
	k.Helper()
	var all map[string]usage
	require.NoError(k, stage.Await(k.Context(), patience, "figures of the product's processes", func(ctx context.Context) (err error) {
		all, err = usages(ctx)
		return err
	}))
	return all
}

func usages(ctx context.Context) (map[string]usage, error) {
	kubelets, err := workingSets(ctx)
	if err != nil {
		return nil, err
	}
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace("akv2k8s")); err != nil {
		return nil, err
	}
	all := map[string]usage{}
	for _, p := range pods.Items {
		port, ours := map[string]string{"akv2k8s-webhook": ":8080", "akv2k8s-controller": ":9000"}[p.Labels["app.kubernetes.io/component"]]
		if !ours || p.DeletionTimestamp != nil {
			continue
		}
		content, err := s.Kube.CoreV1().RESTClient().Get().Namespace("akv2k8s").Resource("pods").Name(p.Name+port).SubResource("proxy", "metrics").DoRaw(ctx)
		if err != nil {
			return nil, err
		}
		u := usage{memory: kubelets[p.Name], live: sample(string(content), "go_memstats_next_gc_bytes") / 2, goroutines: int(sample(string(content), "go_goroutines"))}
		for _, c := range p.Status.ContainerStatuses {
			u.restarts += int(c.RestartCount)
		}
		if all[p.Name] = u; u.memory == 0 || u.goroutines == 0 {
			return nil, fmt.Errorf("nothing is known of %s yet", p.Name)
		}
	}
	return all, nil
}

// workingSets are the bytes that the kubelets count of the product's pods, by name.
func workingSets(ctx context.Context) (map[string]float64, error) {
	var nodes corev1.NodeList
	if err := s.Client.List(ctx, &nodes); err != nil {
		return nil, err
	}
	all := map[string]float64{}
	line := regexp.MustCompile(`(?m)^pod_memory_working_set_bytes\{namespace="akv2k8s",pod="([^"]+)"\} (\S+)`)
	for _, node := range nodes.Items {
		content, err := s.Kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node.Name).SubResource("proxy", "metrics", "resource").DoRaw(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range line.FindAllStringSubmatch(string(content), -1) {
			if all[m[1]], err = strconv.ParseFloat(m[2], 64); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// sample is a metric without labels.
func sample(metrics, name string) float64 {
	for line := range strings.Lines(metrics) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			value, _ := strconv.ParseFloat(strings.TrimSpace(text), 64)
			return value
		}
	}
	return 0
}

// back waits until every process takes no more than before, and nothing was restarted.
func (k *soak) back(before map[string]usage) {
	k.Helper()
	began, after := time.Now(), map[string]usage{}
	err := stage.Await(k.Context(), returns, "memory and goroutines to be as before", func(ctx context.Context) (err error) {
		defer time.Sleep(time.Second) // the kubelet counts every few seconds
		if after, err = usages(ctx); err != nil {
			return err
		}
		for name, was := range before {
			switch is := after[name]; {
			case is.goroutines > was.goroutines+moreGoroutines:
				return fmt.Errorf("%s has %d goroutines and had %d", name, is.goroutines, was.goroutines)
			case is.live > was.live+moreLive:
				return fmt.Errorf("%s needs %.1f MB and needed %.1f", name, is.live/(1<<20), was.live/(1<<20))
			case is.memory > mostMemory:
				return fmt.Errorf("%s takes %.1f MB and took %.1f", name, is.memory/(1<<20), was.memory/(1<<20))
			}
		}
		return nil
	})
	assert.NoError(k, err)
	assert.ElementsMatch(k, sorted(before), sorted(after), "the pods are those of before")
	for name, is := range after {
		was := before[name]
		assert.Equal(k, was.restarts, is.restarts, "%s was restarted", name)
		s.Say("%s: memory %.1f MB (before: %.1f), of them needed %.1f (%.1f); goroutines %d (%d); after %s", name,
			is.memory/(1<<20), was.memory/(1<<20), is.live/(1<<20), was.live/(1<<20), is.goroutines, was.goroutines, time.Since(began).Round(time.Second))
	}
}
