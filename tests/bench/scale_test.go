//go:build cluster

package bench

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

// The large installation: so many resources of so many vaults in so many namespaces, looked at in each interval.
const (
	vaults, namespaces = 5, 200
	perVault           = many / vaults
	perNamespace       = many / namespaces
	interval           = 30 * time.Second // azureKeyVaultResyncPeriod, by default
	page               = 25               // objects in an answer to LIST
	rotated            = 500
	// daily is how many objects may be read again in a measurement because each is once a day.
	daily = 50
	// early is how many may be due again, and read once more, while the first sync of others still goes on: 2 to 5 % on
	// two processors.
	early = many / 10
	// detection is how long after its change a value may be in its Secret, at most: two intervals, since a list may be
	// under way.
	detection = 2*interval + 20*time.Second
)

// value is what a name of the vaults holds at some time.
func valueOf(i, generation int) string {
	return fmt.Sprintf("value %d of generation %d", i, generation)
}

// The places of resource i.
func vaultOf(i int) string  { return fmt.Sprintf("kv-scale-%d", i%vaults) }
func objectOf(i int) string { return fmt.Sprintf("o-%04d", i) }
func keyOf(i int) types.NamespacedName {
	return types.NamespacedName{Namespace: fmt.Sprintf("scale-%03d", i/perNamespace), Name: fmt.Sprintf("r-%04d", i)}
}

// scale is a large installation.
type scale struct {
	bench
	audit      *stage.Audit
	population *population
}

// TestScale is what happens in a large installation: what it costs while nothing changes, and how soon changes arrive.
func TestScale(t *testing.T) {
	s := stagetest.Open(t, stagetest.Config(t, "scale"))
	if !s.Audited() {
		t.Skip(stage.NoAudit)
	}
	require.NoError(t, s.Install(t.Context(), stage.Release{Name: "akv2k8s", Namespace: "akv2k8s", Values: map[string]any{
		"controller": map[string]any{"replicaCount": 2}, "global": map[string]any{"metrics": map[string]any{"enabled": true}}}}))
	audit, err := s.AuditFromNow()
	require.NoError(t, err)
	c := scale{bench{t, s}, audit, &population{}}
	c.figure("machine: %d processors, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	require.NoError(t, s.Scale(t.Context(), controller, 0))
	c.plant()
	for _, step := range []struct {
		name string
		run  func(scale)
	}{
		{"first sync", scale.first}, {"nothing changes", scale.quiet}, {"500 values are rotated", scale.rotation}, {"the controller is restarted", scale.restart},
		{"the leader goes", scale.leaves}, {"a vault throttles", scale.throttled}, {"10,000 pods share two secrets", scale.pods},
		{"10,000 pods ask for their files", scale.files},
		{"pods start while a refresh is throttled", scale.priority}, {"1,000 Jobs", scale.jobs},
	} {
		t.Run(step.name, func(t *testing.T) { step.run(scale{bench{t, s}, audit, c.population}) })
	}
}

// plant fills the vaults and the namespaces.
func (c scale) plant() {
	c.Helper()
	secrets := map[string]map[string]string{}
	for i := range many {
		if secrets[vaultOf(i)] == nil {
			secrets[vaultOf(i)] = map[string]string{}
		}
		secrets[vaultOf(i)][objectOf(i)] = valueOf(i, 0)
	}
	for _, vault := range slices.Sorted(maps.Keys(secrets)) {
		require.NoError(c, c.Azure.Vault(c.Context(), vault, secrets[vault]))
		c.well(vault)
	}
	c.each(namespaces, func(i int) error {
		return c.Namespace(c.Context(), fmt.Sprintf("scale-%03d", i), map[string]string{"azure-key-vault-env-injection": "enabled"})
	})
	took := c.each(many, func(i int) error {
		key := keyOf(i)
		r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = vaultOf(i), objectOf(i), "secret"
		r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: r.Name, DataKey: "value"}}
		return c.Client.Create(c.Context(), r)
	})
	c.Say("%d resources were created in %s", many, took.Round(time.Second))
}

// well ends the faults of a vault, but for its latency.
func (c scale) well(vault string) {
	c.Helper()
	require.NoError(c, c.Azure.Heal(c.Context(), vault))
	require.NoError(c, c.Azure.Inject(c.Context(), keyvault.Fault{Vault: vault, LatencyMillis: latency}))
}

// counted are the answers of the large installation's vaults to an operation, by status, and how many calls came in a
// pause that their vault had asked for.
func (c scale) counted() (by map[string]int, inPause int) {
	c.Helper()
	counters, err := c.Azure.Counters(c.Context())
	require.NoError(c, err)
	by = map[string]int{}
	for name, count := range counters {
		vault, answer, _ := strings.Cut(name, " ")
		if !strings.HasPrefix(vault, "kv-scale-") {
			continue
		}
		if strings.HasPrefix(answer, "in-pause") {
			if answer == "in-pause" { // the others say how late
				inPause += count
			}
			continue
		}
		by[answer] += count
	}
	return by, inPause
}

// written counts what the product has written since this was asked last, by resource and subresource; what it has in
// its own namespace, events and reviews are not counted.
func (c scale) written() map[string]int {
	c.Helper()
	time.Sleep(2 * time.Second) // the status follows the Secret
	entries, err := c.audit.Entries()
	require.NoError(c, err)
	counts := map[string]int{}
	for _, e := range entries {
		if what := strings.TrimSuffix(e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, "/"); e.By("akv2k8s") && e.Writes() && e.ObjectRef.Namespace != controller.Namespace &&
			!slices.Contains([]string{"events", "tokenreviews", "subjectaccessreviews"}, e.ObjectRef.Resource) {
			counts[what]++
		}
	}
	return counts
}

func total(counts map[string]int) (sum float64) {
	for _, count := range counts {
		sum += float64(count)
	}
	return sum
}

// reset begins a measurement.
func (c scale) reset() {
	c.Helper()
	require.NoError(c, c.Azure.ResetCounters(c.Context()))
	_ = c.written()
}

func (c scale) first() {
	c.reset()
	took, memory := c.sync("", many, 2)
	by, _ := c.counted()
	written := c.written()
	c.figure("first sync of %d resources of %d vaults in %d namespaces: %s, %.0f a second; %d GET, %d LIST; written %v; memory %.1f MB (budget %d MB), %.1f s of processor time", many, vaults, namespaces,
		took.Round(time.Millisecond), many/took.Seconds(), by["get 200"], by["list 200"], written, mega(memory), manyMemory>>20, c.usage(c.Context(), "container_cpu_usage_seconds_total"))
	c.atMost("scale-first-sync-reads", float64(by["get 200"]), many+early, "")
	c.atMost("scale-first-sync-memory", mega(memory), mega(manyMemory), "MB")
	assert.LessOrEqual(c, by["get 200"], many+early, "one GET for each object")
	assert.Equal(c, map[string]int{"secrets": many, "azurekeyvaultsecrets/status": many}, written, "one apply and one status for each")
	assert.LessOrEqual(c, memory, int64(manyMemory))
}

// quiet looks at two intervals in which nothing changes.
func (c scale) quiet() {
	time.Sleep(2 * interval) // what was read just after it was made is read once more
	c.reset()
	const cycles = 4
	cpu := c.usage(c.Context(), "container_cpu_usage_seconds_total")
	time.Sleep(cycles * interval) // that nothing happens shows only when time is over
	by, _ := c.counted()
	written := c.written()
	lists := float64(by["list 200"]) / cycles
	goal := float64(vaults * (perVault/page + 1))
	c.figure("nothing changes: %.0f LIST in each interval (budget %.0f), %d GET in %d; written %v; %.1f s of processor time", lists, goal, by["get 200"], cycles, written,
		c.usage(c.Context(), "container_cpu_usage_seconds_total")-cpu)
	c.atMost("scale-quiet-calls-per-cycle", lists+float64(by["get 200"])/cycles, goal+daily, "")
	c.atMost("scale-quiet-writes", total(written), 0, "")
	assert.LessOrEqual(c, lists, goal*1.1, "an interval more or less begins in the measurement")
	assert.Positive(c, by["list 200"])
	assert.LessOrEqual(c, by["get 200"], daily)
	assert.Empty(c, written)
}

// rotate gives resources another value, and says for each how long it took until it was in its Secret.
func (c scale) rotate(which []int, generation int) []time.Duration {
	c.Helper()
	ctx, stop := context.WithTimeout(c.Context(), 2*detection)
	defer stop()
	var list corev1.SecretList
	require.NoError(c, c.Client.List(ctx, &list, client.Limit(1)))
	events, err := c.Client.Watch(ctx, &corev1.SecretList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	require.NoError(c, err)
	defer events.Stop()
	wanted, changed := map[types.NamespacedName]int{}, make([]time.Time, len(which))
	for at, i := range which {
		wanted[keyOf(i)] = at
	}
	c.each(len(which), func(at int) error {
		defer func() { changed[at] = time.Now() }()
		return c.Azure.PutSecret(ctx, vaultOf(which[at]), objectOf(which[at]), keyvault.Secret{Value: valueOf(which[at], generation)})
	})
	var took []time.Duration
	for len(wanted) > 0 {
		select {
		case e, open := <-events.ResultChan():
			require.True(c, open, "the watch ended with %d to go", len(wanted))
			secret, ok := e.Object.(*corev1.Secret)
			if !ok {
				continue
			}
			if at, waited := wanted[client.ObjectKeyFromObject(secret)]; waited && string(secret.Data["value"]) == valueOf(which[at], generation) {
				took = append(took, time.Since(changed[at]))
				delete(wanted, client.ObjectKeyFromObject(secret))
			}
		case <-ctx.Done():
			require.Fail(c, "not all arrived", "%d of %d did not", len(wanted), len(which))
		}
	}
	slices.Sort(took)
	return took
}

// some are n resources, of all vaults but some.
func some(n int, of func(i int) bool) (which []int) {
	for i := 0; i < many && len(which) < n; i += 7 { // neighbours are of one namespace
		if of(i) {
			which = append(which, i)
		}
	}
	return which
}

func all(int) bool { return true }

// spread is a line of times.
func spread(sorted []time.Duration) string {
	at := func(share float64) time.Duration {
		return sorted[int(share*float64(len(sorted)-1))].Round(100 * time.Millisecond)
	}
	return fmt.Sprintf("median %s, 99 %% %s, last %s", at(0.5), at(0.99), at(1))
}

func (c scale) rotation() {
	c.reset()
	took := c.rotate(some(rotated, all), 1)
	time.Sleep(interval) // what was read within two seconds of its change is read once more
	by, _ := c.counted()
	written := c.written()
	c.figure("%d values rotated at once: %s after the change; %d GET, %d LIST; written %v", rotated, spread(took), by["get 200"], by["list 200"], written)
	c.atMost("scale-rotation-last", took[len(took)-1].Seconds(), detection.Seconds(), "s")
	c.atMost("scale-rotation-reads", float64(by["get 200"]), 2*rotated+daily, "")
	assert.LessOrEqual(c, took[len(took)-1], slack*detection)
	assert.LessOrEqual(c, by["get 200"], 2*rotated+daily)
	assert.Equal(c, rotated, written["secrets"], "one patch for each value")
}

// restart stops every controller, and starts them again: nothing is written, and everything is read once.
func (c scale) restart() {
	require.NoError(c, c.Scale(c.Context(), controller, 0))
	c.reset()
	require.NoError(c, c.Scale(c.Context(), controller, 2))
	started := time.Now()
	require.NoError(c, stage.Await(c.Context(), 5*time.Minute, "a look at everything", func(context.Context) error {
		if by, _ := c.counted(); by["get 200"] < many {
			return fmt.Errorf("%d were read", by["get 200"])
		}
		return nil
	}))
	looked := time.Since(started)
	time.Sleep(10 * time.Second) // for what would be written, which nothing would tell
	by, _ := c.counted()
	written := c.written()
	memory := c.memory(c.Context())
	c.figure("after a restart everything was read again within %s: %d GET, %d LIST; written %v; memory %.1f MB", looked.Round(100*time.Millisecond), by["get 200"], by["list 200"], written, mega(memory))
	c.atMost("scale-restart-writes", total(written), 0, "")
	c.atMost("scale-restart-reads", float64(by["get 200"]), many+daily, "")
	assert.Empty(c, written)
	assert.LessOrEqual(c, by["get 200"], many+daily)
}

// leaves deletes the leader: another one leads, and what changes then arrives.
func (c scale) leaves() {
	var lease coordinationv1.Lease
	require.NoError(c, c.Client.Get(c.Context(), controller, &lease))
	before := *lease.Spec.HolderIdentity
	pod, _, _ := strings.Cut(before, "_")
	c.reset()
	require.NoError(c, c.Client.Delete(c.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: controller.Namespace, Name: pod}}))
	started := time.Now()
	require.NoError(c, stage.Await(c.Context(), time.Minute, "another leader", func(ctx context.Context) error {
		if err := c.Client.Get(ctx, controller, &lease); err != nil {
			return err
		}
		if holder := lease.Spec.HolderIdentity; holder == nil || *holder == before || *holder == "" {
			return fmt.Errorf("it is the same or none")
		}
		return nil
	}))
	gap := time.Since(started)
	took := c.rotate(some(50, all), 2)
	written := c.written()
	by, _ := c.counted()
	c.figure("the leader was deleted: another led after %s; 50 values that were rotated then arrived: %s; %d GET; written %v", gap.Round(100*time.Millisecond), spread(took), by["get 200"], written)
	c.atMost("scale-leader-gap", gap.Seconds(), 15, "s")
	c.atMost("scale-leader-rotation-last", took[len(took)-1].Seconds(), detection.Seconds(), "s")
	assert.Less(c, gap, slack*15*time.Second)
	assert.Equal(c, map[string]int{"secrets": 50, "azurekeyvaultsecrets/status": 50}, written, "nothing but what changed is written")
}

// throttled has one vault refuse everything: the others go on, and it is left alone for as long as it asks.
func (c scale) throttled() {
	sick := vaultOf(0)
	require.NoError(c, c.Azure.Heal(c.Context(), sick))
	require.NoError(c, c.Azure.Inject(c.Context(), keyvault.Fault{Vault: sick, Status: 429, Code: "Throttled", RetryAfter: 10}))
	time.Sleep(interval) // so that the looks have met it
	c.reset()
	took := c.rotate(some(50, func(i int) bool { return vaultOf(i) != sick }), 3)
	by, inPause := c.counted()
	c.well(sick)
	later := c.rotate(some(50, func(i int) bool { return vaultOf(i) == sick }), 4)
	c.figure("one of %d vaults throttles: 50 values of others arrived: %s; it was asked %d times, %d of them in a pause; 50 values of it after that: %s", vaults, spread(took), by["get 429"]+by["list 429"],
		inPause, spread(later))
	c.atMost("scale-throttled-others-last", took[len(took)-1].Seconds(), detection.Seconds(), "s")
	c.atMost("scale-throttled-in-pause", float64(inPause), 0, "")
	assert.Positive(c, by["get 429"]+by["list 429"], "it did throttle")
	assert.Zero(c, inPause)
	assert.LessOrEqual(c, took[len(took)-1], slack*detection)
}

// sharedSecrets adds the two objects that all pods share to the first vault, with a resource for each in each of the
// first namespaces.
func (c scale) sharedSecrets(namespaces int) {
	c.Helper()
	for i := range 2 {
		require.NoError(c, c.Azure.PutSecret(c.Context(), vaultOf(0), fmt.Sprintf("shared-%d", i), keyvault.Secret{Value: fmt.Sprintf("shared value %d", i)}))
	}
	c.each(2*namespaces, func(i int) error {
		r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprintf("scale-%03d", i/2), Name: fmt.Sprintf("shared-%d", i%2)}}
		r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = vaultOf(0), r.Name, "secret"
		return c.Client.Create(c.Context(), r)
	})
}
