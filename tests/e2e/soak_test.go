//go:build cluster

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

const (
	soakTime = 2 * time.Minute
	// recovery is how long all may take to be right again: a call that hangs (20 s), the pause after calls without an
	// answer (30 s), and the wait after a few failures in a row (a minute at most, as no fault lasts for long).
	recovery = 3 * time.Minute
	// soakWorkers is how many pods are on their way at once.
	soakWorkers = 3
)

// soak is the installation, and an emulator that does everything wrong that it can, in an order that the seed says.
type soak struct {
	team
	seed  uint64
	plan  *soakPlan
	teams []team // namespaces, each with a vault

	objects   []*soakObject
	resources []*soakResource
	// files are certificates, and keys public keys, that versions are made of.
	files, keys []string

	mu sync.Mutex
	// started and refused are pods, the latter by exit code; problems are what no pod may do.
	started  int
	refused  map[int32]int
	problems []string
}

// everyFault is minutes of all that can go wrong at vaults, while pods come and go: SOAK is the time, SOAK_SEED the
// seed.
func everyFault(t *testing.T) {
	lasts, seed := soakTime, uint64(7)
	var err error
	if text := os.Getenv("SOAK"); text != "" {
		lasts, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	if text := os.Getenv("SOAK_SEED"); text != "" {
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	s.Say("%s of faults, SOAK_SEED=%d", lasts, seed)
	k := newSoak(t, seed)
	s.Say("%d resources of %d objects were in sync after %s", len(k.resources), len(k.objects), k.settles())
	before := k.usage()

	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	var group sync.WaitGroup
	for w := range soakWorkers {
		group.Go(func() { k.pods(ctx, w) })
	}
	steps := k.trouble(ctx, lasts)
	group.Wait()
	k.heal()
	s.Say("SOAK_SEED=%d, %s, %d steps; %d pods started, and others were refused, by exit code: %v", seed, lasts, steps, k.started, k.refused)
	assert.Empty(t, k.problems, "what no pod may do")
	assert.Positive(t, k.started)
	assert.NotEmpty(t, k.refused, "pods felt the faults")
	s.Say("all were in sync again after %s", k.settles())
	k.podsStart()
	k.pausesWereKept()
	k.back(before)
	k.saidNothingSecret()
}

func newSoak(t *testing.T, seed uint64) *soak {
	k := &soak{team: newTeam(t), seed: seed, refused: map[int32]int{}}
	for _, file := range []string{"openssl3.pfx", "P-256.pem", "P-384.pem", "ordered.pem"} {
		k.files = append(k.files, string(vector(t, file)))
	}
	for range 5 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		require.NoError(t, err)
		k.keys = append(k.keys, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	}
	t.Cleanup(k.remove)
	for i := range soakNamespaces {
		tm := team{t, fmt.Sprintf("%s-%d", k.namespace, i), fmt.Sprintf("%s-%d", k.vault, i)}
		k.teams = append(k.teams, tm)
		require.NoError(t, s.Namespace(t.Context(), tm.namespace, map[string]string{"azure-key-vault-env-injection": "enabled"}))
		require.NoError(t, s.Azure.Vault(t.Context(), tm.vault, nil))
	}
	for i := range soakResources {
		k.add(i)
	}
	var names []soakName
	for _, o := range k.objects {
		names = append(names, soakName{o.name, o.vault})
	}
	k.plan = newSoakPlan(seed, names)
	for one, other := newSoakPlan(seed, names), newSoakPlan(seed, names); len(one.order) > 0; {
		require.Equal(t, one.next(), other.next(), "the steps depend on the seed alone")
	}
	return k
}

// trouble takes step after step until time is over. Half of it is for the faults alone.
func (k *soak) trouble(ctx context.Context, lasts time.Duration) (steps int) {
	k.Helper()
	alone := lasts / 2 / time.Duration(len(soakFaults()))
	for ; ctx.Err() == nil; steps++ {
		step := k.plan.next()
		k.take(step)
		wait := time.Duration(step.wait * float64(time.Second))
		if step.alone {
			wait = alone
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return steps
}

// take does all of a step.
func (k *soak) take(step soakStep) {
	k.Helper()
	for _, v := range step.vaults {
		vault := k.teams[v].vault
		require.NoError(k, s.Azure.Heal(k.Context(), vault))
		for _, f := range step.faults {
			f.Vault, f.Body = vault, strings.ReplaceAll(f.Body, "VAULT", vault)
			require.NoError(k, s.Azure.Inject(k.Context(), f))
		}
	}
	for _, c := range step.changes {
		if o := k.objects[c.object]; c.action == "put" {
			k.put(o, c.pick)
		} else {
			require.NoError(k, s.Azure.Act(k.Context(), k.teams[o.vault].vault, o.name, c.action))
		}
	}
	if step.resource != none {
		k.turn(k.resources[step.resource])
	}
}

// turn deletes a resource, or makes it again.
func (k *soak) turn(r *soakResource) {
	k.Helper()
	if r.gone = !r.gone; !r.gone {
		r.want(r.name, r.spec)
		return
	}
	require.NoError(k, s.Client.Delete(k.Context(), &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: r.name}}))
}

// heal ends all faults, and brings back what is away.
func (k *soak) heal() {
	k.Helper()
	for _, tm := range k.teams {
		require.NoError(k, s.Azure.Heal(k.Context(), tm.vault))
	}
	for _, i := range k.plan.left() {
		k.put(k.objects[i], uint64(i))
	}
	for _, r := range k.resources {
		if r.gone {
			k.turn(r)
		}
	}
}

// remove leaves neither work for the controller nor faults to others.
func (k *soak) remove() {
	ctx := context.WithoutCancel(k.Context())
	for _, tm := range k.teams {
		assert.NoError(k, s.Azure.Heal(ctx, tm.vault))
		assert.NoError(k, s.Client.DeleteAllOf(ctx, &v2beta1.AzureKeyVaultSecret{}, client.InNamespace(tm.namespace)))
		assert.NoError(k, s.Client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tm.namespace}}))
	}
}

// settles waits until every Secret is what the vault has, and every resource says so, and gives the time that this
// took.
func (k *soak) settles() time.Duration {
	k.Helper()
	began, wrong := time.Now(), []string{}
	err := stage.Await(k.Context(), recovery, "every Secret to be what the vault has", func(ctx context.Context) (err error) {
		if wrong, err = k.wrong(ctx); err == nil && len(wrong) > 0 {
			err = fmt.Errorf("%d are not, such as %s", len(wrong), strings.Join(wrong[:min(len(wrong), 5)], "; "))
		}
		return err
	})
	if err != nil && len(wrong) > 0 {
		k.explain(wrong[0])
	}
	require.NoError(k, err)
	return time.Since(began).Round(100 * time.Millisecond)
}

// explain prints the last that the product's log has of a resource; should that hold a value, it is not printed too.
func (k *soak) explain(wrong string) {
	k.Helper()
	_, name, _ := strings.Cut(wrong[:strings.Index(wrong, ":")], "/")
	texts, err := s.Logs(k.Context(), "akv2k8s")
	assert.NoError(k, err)
	for from, text := range texts {
		var lines []string
		for line := range strings.Lines(text) {
			if strings.Contains(line, name) && len(leaks(line)) == 0 {
				lines = append(lines, line)
			}
		}
		k.Logf("%s of %s:\n%s", from, wrong, strings.Join(lines[max(0, len(lines)-8):], ""))
	}
}

// wrong are the resources whose Secret is not what the vault has, or that do not say that it is.
func (k *soak) wrong(ctx context.Context) (all []string, err error) {
	secrets, resources := map[string]corev1.Secret{}, map[string]v2beta1.AzureKeyVaultSecret{}
	for _, tm := range k.teams {
		var secretList corev1.SecretList
		var resourceList v2beta1.AzureKeyVaultSecretList
		if err := s.Client.List(ctx, &secretList, client.InNamespace(tm.namespace)); err != nil {
			return nil, err
		}
		if err := s.Client.List(ctx, &resourceList, client.InNamespace(tm.namespace)); err != nil {
			return nil, err
		}
		for _, secret := range secretList.Items {
			secrets[secret.Namespace+"/"+secret.Name] = secret
		}
		for _, r := range resourceList.Items {
			resources[r.Namespace+"/"+r.Name] = r
		}
	}
	for _, r := range k.resources {
		id := r.namespace + "/" + r.name
		secret, status := secrets[id], resources[id].Status
		ready := meta.FindStatusCondition(status.Conditions, v2beta1.ConditionReady)
		switch {
		case ready == nil:
			all = append(all, id+": no condition")
		case ready.Status != metav1.ConditionTrue:
			all = append(all, id+": "+ready.Reason+": "+ready.Message)
		case !maps.EqualFunc(secret.Data, r.data(), func(a []byte, b string) bool { return string(a) == b }):
			all = append(all, id+": another value")
		}
	}
	return all, nil
}

// saidNothingSecret looks through what the product said of the soak; in the end its namespaces are gone.
func (k *soak) saidNothingSecret() {
	k.Helper()
	texts, err := s.Logs(k.Context(), "akv2k8s")
	require.NoError(k, err)
	events := 0
	for _, tm := range k.teams {
		for name, list := range map[string]client.ObjectList{"events": &eventsv1.EventList{}, "resources": &v2beta1.AzureKeyVaultSecretList{}} {
			require.NoError(k, s.Client.List(k.Context(), list, client.InNamespace(tm.namespace)))
			content, err := json.Marshal(list)
			require.NoError(k, err)
			require.Greater(k, len(content), 1000, name)
			if name == "events" {
				events += meta.LenList(list)
			}
			texts[name+" of "+tm.namespace] = string(content)
		}
	}
	s.Say("there are %d events", events)
	for name, text := range texts {
		assert.Empty(k, leaks(text), name)
	}
}

// soakObject is one of a vault.
type soakObject struct {
	name  string
	vault int
	// versions are all that it had, the newest last.
	versions []soakVersion
}

// soakVersion is what a version becomes: the data of a Secret of type Opaque or kubernetes.io/tls, and a variable.
type soakVersion struct {
	opaque, tls map[string]string
	variable    string
}

func (o *soakObject) newest() soakVersion { return o.versions[len(o.versions)-1] }

// soakResource is an AzureKeyVaultSecret of one object, or of two.
type soakResource struct {
	team
	name, spec, query string
	objects           []*soakObject
	tls, gone         bool
}

// data are what its Secret is to hold.
func (r *soakResource) data() map[string]string {
	switch first := r.objects[0].newest(); {
	case len(r.objects) > 1:
		return map[string]string{"a": first.variable, "b": r.objects[1].newest().variable}
	case r.tls:
		return first.tls
	default:
		return first.opaque
	}
}

// add makes a resource: of twenty there are ten of a secret each, two that share secrets of those, three of
// certificates, two of keys, two of objects with several values, and one of two secrets. Some look at the vault more
// often than the others.
func (k *soak) add(i int) {
	k.Helper()
	vault := i / 20 % soakVaults
	r := &soakResource{team: team{k.T, k.teams[i%soakNamespaces].namespace, k.teams[vault].vault}, name: fmt.Sprintf("r-%03d", i)}
	object, output := "type: secret", "dataKey: password"
	letter := "ssssssssss  ccckkmms"[i%20]
	switch letter {
	case ' ':
		r.objects = k.resources[i-10].objects
	case 'c':
		object, output, r.query, r.tls = "type: certificate", "type: Opaque, dataKey: site", "?raw", i%20 == 14
	case 'k':
		object, output, r.query = "type: key", "keyFormat: pem, dataKey: key.pem", "?pem"
	case 'm':
		object, output, r.query = "type: multi-key-value-secret, contentType: application/x-json", "", "?user"
	}
	if r.tls {
		output = "type: kubernetes.io/tls"
	}
	if r.objects == nil {
		r.objects = []*soakObject{{name: fmt.Sprintf("%c-%03d", letter, i), vault: vault}}
		k.objects = append(k.objects, r.objects[0])
		k.put(r.objects[0], uint64(i))
	}
	what := "vault: {object: {name: " + r.objects[0].name + ", " + object + "}}"
	if i%20 == 19 {
		r.objects, r.query, output = append(r.objects, k.resources[i-19].objects[0]), "?a", ""
		what = "vault: {}, data: [{object: {name: " + r.objects[0].name + ", type: secret}, dataKey: a}, {object: {name: " + r.objects[1].name + ", type: secret}, dataKey: b}]"
	}
	if i%10 == 3 {
		what += ", refreshInterval: 2s"
	}
	r.spec = "{" + what + ", output: {secret: {name: " + r.name + ", " + output + "}}}"
	r.want(r.name, r.spec)
	k.resources = append(k.resources, r)
}

// put makes a version of an object. That it may be seen is noted before it can be.
func (k *soak) put(o *soakObject, pick uint64) {
	k.Helper()
	version, put := k.version(o, pick)
	k.mu.Lock()
	o.versions = append(o.versions, version)
	k.mu.Unlock()
	require.NoError(k, put())
}

// version makes one of pick, and what puts it into the vault.
func (k *soak) version(o *soakObject, pick uint64) (v soakVersion, put func() error) {
	k.Helper()
	vault := k.teams[o.vault].vault
	switch o.name[0] {
	case 'c':
		file := k.files[pick%uint64(len(k.files))]
		c := keyvault.Certificate{Value: file}
		if !certificate.IsPEM([]byte(file)) {
			c.Value = base64.StdEncoding.EncodeToString([]byte(file))
		}
		return certificateVersion(k.T, file), func() error { return s.Azure.PutCertificate(k.Context(), vault, o.name, c) }
	case 'k':
		key := k.keys[pick%uint64(len(k.keys))]
		return soakVersion{opaque: map[string]string{"key.pem": key}, variable: key},
			func() error { return s.Azure.PutKey(k.Context(), vault, o.name, keyvault.Key{PEM: key}) }
	}
	value := fmt.Sprintf("%s-%s-%d-%x", canary, o.name, len(o.versions), pick)
	if pick%8 == 0 {
		value += "\n" + strings.Repeat("ü", 5000) // more than one line
	}
	v, content := soakVersion{opaque: map[string]string{"password": value}, variable: value}, value
	if o.name[0] == 'm' {
		port := fmt.Sprint(pick % 65536)
		encoded, err := json.Marshal(map[string]any{"user": value, "port": json.Number(port)})
		require.NoError(k, err)
		content, v.opaque = string(encoded), map[string]string{"user": value, "port": port}
	}
	return v, func() error { return s.Azure.Put(k.Context(), vault, o.name, content) }
}

func certificateVersion(t *testing.T, file string) soakVersion {
	t.Helper()
	bundle, err := certificate.Parse([]byte(file), "")
	require.NoError(t, err)
	key, err := certificate.EncodeKey(bundle.Key)
	require.NoError(t, err)
	return soakVersion{opaque: map[string]string{"site": file}, variable: base64.StdEncoding.EncodeToString(bundle.Leaf().Raw),
		tls: map[string]string{"tls.crt": string(certificate.EncodeCertificates(bundle.Certificates...)), "tls.key": string(key)}}
}

// random is for a worker, so that the pods of each are the seed's too.
func (k *soak) random(worker int) *mathrand.Rand {
	return mathrand.New(mathrand.NewPCG(k.seed, uint64(1+worker))) //nolint:gosec // it has to be the same each time
}

func sorted[K ~int32 | ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
