//go:build cluster

package bench

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/controller-runtime/pkg/client"

	broker "github.com/akv2k8s/akv2k8s/src/broker/client"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/wire"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// The pods that no node runs: each was admitted and has a token of its own, and starts several times.
const (
	podNamespaces, podObjects = 20, 2000
	podStarts                 = 10_000
	// all of them come from one address, of which each replica takes 100 requests a second
	startsPerSecond = 120
	askers          = 32
	duringRefresh   = 20 // starts a second while a refresh goes on
	// 10,000 pods with an interval of 5 minutes send so many requests for files a second.
	filesPerSecond = 34
	filesMinutes   = 3
	// firstFilesPerSecond is less than the connections a second that a replica takes from one address.
	firstFilesPerSecond = 60
	// filesCallsGoal is the most calls of the API server a second that these requests may take.
	filesCallsGoal = 120
	priorityGoal   = 2 * time.Second
	someJobs       = 50
)

// population are those pods, and who asks for them. Connections are kept, where each pod would make one of its own:
// they lead through the API server.
type population struct {
	pods     []ofNowhere
	ca, host string
	askers   []asker
}

type ofNowhere struct {
	own   string // the resource of its namespace that it refers to besides the shared ones
	token string
}

type asker struct {
	clients []*broker.Client
	token   *string
}

// populate creates the pods through the webhook, on a node that is nothing but an object.
func (c scale) populate() population {
	c.Helper()
	c.sharedSecrets(podNamespaces)
	require.NoError(c, c.Client.Create(c.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "nowhere"}, Spec: corev1.NodeSpec{Unschedulable: true}}))
	p := population{pods: make([]ofNowhere, podObjects)}
	var ca, host atomic.Value
	took := c.each(podObjects, func(i int) error {
		of := i % (podNamespaces * perNamespace)
		key := keyOf(of)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: fmt.Sprintf("pod-%04d", i), Annotations: map[string]string{
			wire.AnnotationFiles: "/f/a: shared-0@azurekeyvault\n/f/b: shared-1@azurekeyvault", wire.AnnotationRefreshInterval: "1m"}}, Spec: corev1.PodSpec{NodeName: "nowhere",
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{Name: "app", Image: c.Image("testbox"), Command: []string{"true"}, Env: []corev1.EnvVar{
				{Name: "A", Value: "shared-0@azurekeyvault"}, {Name: "B", Value: "shared-1@azurekeyvault"}, {Name: "OWN", Value: key.Name + "@azurekeyvault"}}}}}}
		if err := c.Client.Create(c.Context(), pod); err != nil {
			return err
		}
		for _, v := range pod.Spec.Containers[0].Env {
			switch v.Name {
			case wire.EnvCA:
				ca.Store(v.Value)
			case wire.EnvBroker:
				host.Store(v.Value)
			}
		}
		seconds := int64(7200)
		response, err := c.Kube.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(c.Context(), "default", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			Audiences: []string{wire.TokenAudience}, ExpirationSeconds: &seconds,
			BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}}}, metav1.CreateOptions{})
		p.pods[i] = ofNowhere{own: key.Name, token: response.Status.Token}
		return err
	})
	c.figure("%d pods were created through the webhook, with a token each, in %s", podObjects, took.Round(time.Second))
	p.ca, p.host = ca.Load().(string), host.Load().(string)
	return p
}

// connect makes the askers, each with a way to each replica, for as long as the test lasts.
func (p *population) connect(c scale) {
	var replicas corev1.PodList
	require.NoError(c, c.Client.List(c.Context(), &replicas, client.InNamespace("akv2k8s"), client.MatchingLabels{"app.kubernetes.io/component": "akv2k8s-webhook"}))
	require.Len(c, replicas.Items, 2)
	addresses := make([]string, len(replicas.Items))
	for i, replica := range replicas.Items {
		var err error
		addresses[i], err = c.Forward(c.Context(), "akv2k8s", replica.Name, 9443)
		require.NoError(c, err)
	}
	p.connectTo(c, addresses)
}

// connectTo makes the askers, each with a way to each address.
func (p *population) connectTo(c scale, addresses []string) {
	p.askers = nil
	for range askers {
		a := asker{token: new(string)}
		for _, address := range addresses {
			one, err := broker.New(broker.Config{CA: p.ca, Broker: p.host, ServiceAddress: address, ReadToken: func() (string, error) { return *a.token, nil }})
			require.NoError(c, err)
			a.clients = append(a.clients, one)
		}
		p.askers = append(p.askers, a)
	}
}

// start asks the auth service n times, so many times a second, as the pods' injectors would; a question that fails is
// asked again. It gives the times since each should have started, sorted, and how many had to ask again.
func (p population) start(c scale, n, perSecond int, references func(ofNowhere) map[string]string) (took []time.Duration, again int64) {
	c.Helper()
	var repeated atomic.Int64
	took = make([]time.Duration, n)
	began := time.Now()
	var group sync.WaitGroup
	for w, a := range p.askers {
		group.Go(func() {
			for i := w; i < n; i += len(p.askers) {
				due := began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
				time.Sleep(time.Until(due)) // at its moment, however long those before it took
				pod := p.pods[i%len(p.pods)]
				*a.token = pod.token
				for attempt := 0; ; attempt++ {
					values, err := a.clients[(i+attempt)%len(a.clients)].Resolve(c.Context(), references(pod))
					if err == nil {
						assert.Equal(c, "shared value 0", string(values["A"]))
						break
					}
					if time.Since(due) > time.Minute {
						assert.NoError(c, err)
						break
					}
					repeated.Add(1)
					time.Sleep(500 * time.Millisecond) // as the injector waits before it asks again
				}
				took[i] = time.Since(due)
			}
		})
	}
	group.Wait()
	slices.Sort(took)
	return took, repeated.Load()
}

// askForFiles sends n requests for files, so many a second, as the files containers of the pods would; etags are those of
// the pods. It gives the times of the answers, sorted, and how many had other files than before.
func (p population) askForFiles(c scale, etags []string, n, perSecond int) (took []time.Duration, changed int64) {
	c.Helper()
	var others atomic.Int64
	took = make([]time.Duration, n)
	began := time.Now()
	var group sync.WaitGroup
	for w, a := range p.askers {
		group.Go(func() {
			for i := w; i < n; i += len(p.askers) {
				due := began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
				time.Sleep(time.Until(due))
				// An asker has the same pods each time, so that no two write one etag.
				at := (w + len(p.askers)*(i/len(p.askers))) % (len(p.pods) / len(p.askers) * len(p.askers))
				*a.token = p.pods[at].token
				answer, err := a.clients[i%len(a.clients)].Files(c.Context(), etags[at])
				if assert.NoError(c, err) && !answer.IsUnchanged {
					others.Add(1)
					assert.Equal(c, "shared value 0", string(answer.Directories["0"]["a"].Content))
				}
				etags[at], took[i] = answer.ETag, time.Since(due)
			}
		})
	}
	group.Wait()
	slices.Sort(took)
	return took, others.Load()
}

// files has the pods ask whether their files have changed, at the rate of 10,000 of them. Each replica may read the two
// objects once in an interval.
func (c scale) files() {
	require.NotEmpty(c, c.population.pods)
	c.population.connectTo(c, []string{c.nodePort()})
	etags := make([]string, podObjects)
	_, changed := c.population.askForFiles(c, etags, podObjects, firstFilesPerSecond)
	require.GreaterOrEqual(c, changed, int64(podObjects/askers*askers), "each pod got its files once")
	c.reset()
	calls, cpu, began := c.apiCalls(), c.processorTime(), time.Now()
	took, changed := c.population.askForFiles(c, etags, filesMinutes*60*filesPerSecond, filesPerSecond)
	seconds := time.Since(began).Seconds()
	made := c.apiCalls() - calls
	by, _ := c.counted()
	budget := 2 * 2 * (filesMinutes + 1)
	c.figure("%d requests for two files each, %d a second as of 10,000 pods with an interval of 5 minutes, here with one of a minute: %s; %d answered with files; %d GET by two replicas (budget %d); %.0f calls of the "+
		"API server a second; %.1f s of processor time of both replicas", len(took), filesPerSecond, spreadFine(took), changed, by["get 200"], budget, made/seconds, (c.processorTime() - cpu).Seconds())
	c.atMost("10000-pods-files-requests", float64(len(took))/seconds, 40, "/s")
	c.atMost("10000-pods-files-vault-reads", float64(by["get 200"]), float64(budget), "")
	c.atMost("10000-pods-files-api-calls", made/seconds, filesCallsGoal, "/s")
	assert.Zero(c, changed, "nothing has changed")
	assert.LessOrEqual(c, by["get 200"], budget)
	assert.LessOrEqual(c, made/seconds, float64(filesCallsGoal))
	assert.Empty(c, c.written())
}

// nodePort is an address of the auth service outside of the cluster. A files container makes a connection for each
// request, and so many at once are too much for port-forwarding.
func (c scale) nodePort() string {
	c.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "outside"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort,
		Selector: map[string]string{"app.kubernetes.io/component": "akv2k8s-webhook"}, Ports: []corev1.ServicePort{{Port: 9443}}}}
	require.NoError(c, c.Client.Create(c.Context(), service))
	var nodes corev1.NodeList
	require.NoError(c, c.Client.List(c.Context(), &nodes))
	for _, node := range nodes.Items {
		for _, address := range node.Status.Addresses {
			if address.Type == corev1.NodeInternalIP {
				return c.reachable(net.JoinHostPort(address.Address, strconv.Itoa(int(service.Spec.Ports[0].NodePort))))
			}
		}
	}
	require.Fail(c, "no node has an address")
	return ""
}

// reachable waits until an address accepts connections, which a new Service does after a moment.
func (c scale) reachable(address string) string {
	c.Helper()
	require.NoError(c, stage.Await(c.Context(), time.Minute, "the Service", func(context.Context) error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	}))
	return address
}

// apiCalls is how many calls the API server has answered of the kinds that identify a pod: reviews of tokens, and reads
// of one pod or namespace, by anybody.
func (c scale) apiCalls() (sum float64) {
	c.Helper()
	content, err := c.Kube.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(c.Context())
	require.NoError(c, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(content)))
	require.NoError(c, err)
	for _, metric := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range metric.Label {
			labels[l.GetName()] = l.GetValue()
		}
		switch labels["verb"] + " " + labels["resource"] {
		case "POST tokenreviews", "GET pods", "GET namespaces":
			sum += metric.GetCounter().GetValue()
		}
	}
	require.Positive(c, sum)
	return sum
}

func shares(ofNowhere) map[string]string {
	return map[string]string{"A": "shared-0@azurekeyvault", "B": "shared-1@azurekeyvault"}
}

func sharesAndOwns(p ofNowhere) map[string]string {
	return map[string]string{"A": "shared-0@azurekeyvault", "OWN": p.own + "@azurekeyvault"}
}

// pods start without the controller, so that every call is theirs.
func (c scale) pods() {
	require.NoError(c, c.Scale(c.Context(), controller, 0))
	*c.population = c.populate()
	c.population.connect(c)
	c.reset()
	began := time.Now()
	took, again := c.population.start(c, podStarts, startsPerSecond, shares)
	lasted := time.Since(began)
	by, _ := c.counted()
	budget := 2 * 2 * (int(lasted/maxAge) + 1)
	c.figure("%d starts of %d pods with two shared secrets in %s, through kept connections: %s; %d asked again; %d GET by two replicas (budget %d)", podStarts, podObjects, lasted.Round(time.Second),
		spreadFine(took), again, by["get 200"], budget)
	c.atMost("10000-pods-vault-reads", float64(by["get 200"]), float64(budget), "")
	assert.Positive(c, by["get 200"])
	assert.LessOrEqual(c, by["get 200"], budget)
	assert.Empty(c, c.written())
}

// spreadFine is a line of short times.
func spreadFine(sorted []time.Duration) string {
	at := func(share float64) time.Duration {
		return sorted[int(share*float64(len(sorted)-1))].Round(time.Millisecond)
	}
	return fmt.Sprintf("median %s, 99 %% %s, last %s", at(0.5), at(0.99), at(1))
}

// priority has the controller read every object anew, by single calls, of vaults that take fewer than that; pods start
// meanwhile, with values that the env-injector had lately and with others.
func (c scale) priority() {
	require.NotEmpty(c, c.population.pods)
	c.population.connect(c)
	for i := range vaults {
		vault := vaultOf(i)
		require.NoError(c, c.Azure.Heal(c.Context(), vault))
		for _, f := range []keyvault.Fault{{Vault: vault, Operation: "list", Status: 403, Code: "Forbidden"}, {Vault: vault, Over: 100, Status: 429, Code: "Throttled", RetryAfter: 5},
			{Vault: vault, LatencyMillis: latency}} {
			require.NoError(c, c.Azure.Inject(c.Context(), f))
		}
	}
	c.reset()
	require.NoError(c, c.Scale(c.Context(), controller, 2))
	const lasts = 60
	warm, againWarm := c.population.start(c, lasts*duringRefresh, duringRefresh, shares)
	cold, againCold := c.population.start(c, lasts*duringRefresh, duringRefresh, sharesAndOwns)
	by, inPause := c.counted()
	for i := range vaults {
		c.well(vaultOf(i))
	}
	c.figure("%d objects refreshed of vaults that take 10 calls a second each: %d GET, %d refused with Retry-After, %d calls in a pause; starts of pods meanwhile, %d a second: of shared values %s (%d asked again); of "+
		"a value of their own too %s (%d asked again)", many, by["get 200"], by["get 429"], inPause, duringRefresh, spreadFine(warm), againWarm, spreadFine(cold), againCold)
	p99 := func(sorted []time.Duration) time.Duration { return sorted[len(sorted)*99/100] }
	c.atMost("throttled-refresh-pod-start-p99", p99(warm).Seconds(), priorityGoal.Seconds(), "s")
	c.atMost("throttled-refresh-cold-pod-start-p99", p99(cold).Seconds(), priorityGoal.Seconds(), "s")
	c.atMost("throttled-refresh-in-pause", float64(inPause), 0, "")
	assert.Positive(c, by["get 429"], "the vaults did throttle")
	assert.Zero(c, inPause)
	assert.Less(c, p99(warm), slack*priorityGoal)
	assert.Less(c, p99(cold), slack*priorityGoal)
}

// jobs leave nothing behind: fifty of them, and the audit log, stand for a thousand.
func (c scale) jobs() {
	const namespace = "scale-150"
	before := c.objects(namespace)
	_, err := c.audit.Entries()
	require.NoError(c, err)
	ttl, none := int32(1), int32(0)
	key := keyOf(150 * perNamespace)
	c.each(someJobs, func(i int) error {
		return c.Client.Create(c.Context(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("job-%d", i)}, Spec: batchv1.JobSpec{TTLSecondsAfterFinished: &ttl, BackoffLimit: &none,
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "app", Image: c.Image("testbox"),
				Command: []string{"sh", "-c", "test -n \"$A\""}, Env: []corev1.EnvVar{{Name: "A", Value: key.Name + "@azurekeyvault"}}}}}}}})
	})
	require.NoError(c, stage.Await(c.Context(), 5*time.Minute, "the end of the jobs", func(ctx context.Context) error {
		var jobs batchv1.JobList
		if err := c.Client.List(ctx, &jobs, client.InNamespace(namespace)); err != nil || len(jobs.Items) > 0 {
			return fmt.Errorf("%d are left: %w", len(jobs.Items), err)
		}
		var pods corev1.PodList
		if err := c.Client.List(ctx, &pods, client.InNamespace(namespace)); err != nil || len(pods.Items) > 0 {
			return fmt.Errorf("%d pods are left: %w", len(pods.Items), err)
		}
		return nil
	}))
	var left []string
	for name := range c.objects(namespace) {
		if !before[name] {
			left = append(left, name)
		}
	}
	entries, err := c.audit.Entries()
	require.NoError(c, err)
	jobs, created := 0, 0
	for _, e := range entries {
		switch {
		case e.Verb != "create" || e.ObjectRef.Namespace != namespace:
		case e.By("akv2k8s") && !strings.HasSuffix(e.ObjectRef.Resource, "reviews") && e.ObjectRef.Resource != "events":
			created++
		case e.ObjectRef.Resource == "pods" && e.ObjectRef.Subresource == "":
			jobs++
		}
	}
	c.figure("%d Jobs with a reference each ran and ended: %d objects are left, %d were created by the product; of 1,000 that would be none too", someJobs, len(left), created)
	c.atMost("1000-jobs-objects-left", float64(len(left)+created)*1000/someJobs, 0, "")
	assert.GreaterOrEqual(c, jobs, someJobs, "the witness saw the pods")
	assert.Empty(c, left)
	assert.Zero(c, created)
}

// objects are all that there is in a namespace, of any kind, but for events.
func (c scale) objects(namespace string) map[string]bool {
	c.Helper()
	lists, err := c.Kube.Discovery().ServerPreferredNamespacedResources()
	require.NoError(c, err)
	all, err := metadata.NewForConfig(c.REST)
	require.NoError(c, err)
	found := map[string]bool{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		require.NoError(c, err)
		for _, kind := range list.APIResources {
			if kind.Name == "events" || !slices.Contains(kind.Verbs, "list") {
				continue
			}
			objects, err := all.Resource(version.WithResource(kind.Name)).Namespace(namespace).List(c.Context(), metav1.ListOptions{})
			require.NoError(c, err, kind.Name)
			for _, o := range objects.Items {
				found[kind.Name+"/"+o.Name] = true
			}
		}
	}
	require.NotEmpty(c, found)
	return found
}
