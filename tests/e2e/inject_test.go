//go:build cluster

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func podGetsValues(t *testing.T) {
	tm := newTeam(t)
	tm.secret("odd", canary+" with spaces,\nlines, 'quotes', \"more\" and = signs ünïcode")
	for _, name := range []string{"db", "odd"} { // the controller reads them too, once
		tm.want(name, "{vault: {object: {name: "+name+", type: secret}}, refreshInterval: 1h}")
		tm.awaitReason(name, "Synced")
	}
	p := tm.pod("app", map[string]string{"DB": "db@azurekeyvault", "AGAIN": "db@azurekeyvault", "ODD": "odd@azurekeyvault", "PLAIN": "text"},
		"sh", "-c", `printf '%s|' "$DB" "$AGAIN" "$ODD" "$PLAIN"; env | grep -c ENV_INJECTOR`)
	calls := func() int {
		n, err := s.Azure.Calls(t.Context(), tm.vault, "get", "200")
		require.NoError(t, err)
		return n
	}
	before := calls()
	p = tm.create(p)
	require.True(t, isInjected(p))
	code, log := tm.ended("app")
	want := canary + "-db|" + canary + "-db|" + canary + " with spaces,\nlines, 'quotes', \"more\" and = signs ünïcode|text|0\n"
	assert.Equal(t, want, log, "and nothing of ours is left in the environment")
	assert.EqualValues(t, 1, code, "grep found nothing")
	assert.Equal(t, 2, calls()-before, "one call for each object, though three variables refer to them")
	var secrets corev1.SecretList
	require.NoError(t, s.Client.List(t.Context(), &secrets, client.InNamespace(tm.namespace)))
	assert.Empty(t, secrets.Items, "no Secret was made")
}

func programIsUntouched(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	env := map[string]string{"DB": "db@azurekeyvault"}
	limited := tm.pod("limited", env, "true")
	limited.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("50m"), "memory": resource.MustParse("32Mi")}
	assert.Equal(t, corev1.PodQOSGuaranteed, tm.create(limited).Status.QOSClass, "the pod stays in the class that it was in")
	for _, delivery := range allDeliveries(t) {
		argumentsAndSignals(tm, delivery, env)
	}
	for _, delivery := range deliveries(t) {
		tm.create(by(delivery, tm.pod("missing-"+delivery, env, "/no/such/program")))
		code, log := tm.ended("missing-" + delivery)
		assert.EqualValues(t, 127, code, delivery)
		assert.Contains(t, log, "no such file", delivery)
	}
}

// argumentsAndSignals starts programs that show their arguments and a signal.
func argumentsAndSignals(tm team, delivery string, env map[string]string) {
	t := tm.T
	args := by(delivery, tm.pod("args-"+delivery, env, "sh", "-c", `echo "pid $$$$ uid $(id -u) dir $(pwd)"; for a in "$@"; do echo "[$a]"; done; exit 42`, "name"))
	args.Spec.Containers[0].Args = []string{"a b", "", "-x", "$(literal)"}
	args.Spec.Containers[0].WorkingDir = "/tmp"
	tm.create(args)
	code, log := tm.ended(args.Name)
	assert.EqualValues(t, 42, code, delivery)
	assert.Equal(t, "pid 1 uid 1000 dir /tmp\n[a b]\n[]\n[-x]\n[$(literal)]\n", log, delivery)

	grace := int64(20)
	signalled := by(delivery, tm.pod("signalled-"+delivery, env, "sh", "-c", `trap 'echo got TERM; exit 7' TERM; echo ready; while true; do sleep 0.1; done`))
	signalled.Spec.TerminationGracePeriodSeconds = &grace
	tm.create(signalled)
	tm.awaitLog(signalled.Name, "ready")
	stream, err := s.Kube.CoreV1().Pods(tm.namespace).GetLogs(signalled.Name, &corev1.PodLogOptions{Container: "app", Follow: true}).Stream(t.Context())
	require.NoError(t, err)
	defer func() { _ = stream.Close() }()
	started := time.Now()
	require.NoError(t, s.Client.Delete(t.Context(), signalled))
	rest := new(strings.Builder)
	buffer := make([]byte, 1024)
	for {
		n, err := stream.Read(buffer)
		rest.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	assert.Contains(t, rest.String(), "got TERM", "%s: the signal reached the program", delivery)
	assert.Less(t, time.Since(started), 15*time.Second, delivery)
}

func absentIsWaitedFor(t *testing.T) {
	tm := newTeam(t)
	tm.create(tm.pod("early", map[string]string{"DB": "late@azurekeyvault"}, "sh", "-c", "echo got ${#DB} characters"))
	tm.awaitLog("early", "there is no AzureKeyVaultSecret")
	tm.resource("late", "db", "")
	code, log := tm.ended("early")
	assert.Zero(t, code)
	assert.Contains(t, log, fmt.Sprintf("got %d characters", len(canary+"-db")))

	never := tm.pod("never", map[string]string{"DB": "absent@azurekeyvault", "ENV_INJECTOR_RETRIES": "0"}, "echo", "started")
	tm.create(never)
	code, log = tm.ended("never")
	assert.EqualValues(t, 66, code)
	assert.Contains(t, log, "create it")
	assert.NotContains(t, log, "started")

	broken := tm.resource("broken", "no-such-object", "")
	tm.create(tm.pod("broken", map[string]string{"DB": broken.Name + "@azurekeyvault", "ENV_INJECTOR_RETRIES": "0"}, "echo", "started"))
	code, log = tm.ended("broken")
	assert.EqualValues(t, 66, code)
	assert.Contains(t, log, "no-such-object")
	assert.NotContains(t, log, "started")
}

func otherNamespace(t *testing.T) {
	owner := newTeam(t)
	owner.resource("theirs", "db", "")
	thief := owner
	thief.namespace = owner.namespace + "-thief"
	require.NoError(t, s.Namespace(t.Context(), thief.namespace, map[string]string{"azure-key-vault-env-injection": "enabled"}))
	thief.create(thief.pod("thief", map[string]string{"DB": "theirs@azurekeyvault", "ENV_INJECTOR_RETRIES": "0"}, "echo", "started"))
	code, log := thief.ended("thief")
	assert.EqualValues(t, 66, code)
	assert.Contains(t, log, thief.namespace, "the message says where it was looked for")
	assert.NotContains(t, log, "started")
	for _, reference := range []string{owner.namespace + "/theirs@azurekeyvault", "theirs." + owner.namespace + "@azurekeyvault"} {
		p := thief.pod("sneaky", map[string]string{"DB": reference, "ENV_INJECTOR_RETRIES": "0"}, "echo", "started")
		if err := s.Client.Create(t.Context(), p); err != nil {
			continue // refused at admission
		}
		code, log := thief.ended("sneaky")
		assert.EqualValues(t, 66, code)
		assert.NotContains(t, log, "started")
	}
}

func refusedAtAdmission(t *testing.T) {
	tm := newTeam(t)
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		says   string
	}{
		"an image that can't be looked into": {func(p *corev1.Pod) { p.Spec.Containers[0].Command = nil }, "set the container's command"},
		"a pod for Windows":                  {func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "windows"} }, "Windows"},
		"a malformed name":                   {func(p *corev1.Pod) { p.Spec.Containers[0].Env[0].Value = "a/b@azurekeyvault" }, "variable DB"},
		"a malformed query":                  {func(p *corev1.Pod) { p.Spec.Containers[0].Env[0].Value = "a@azurekeyvault?b c" }, "variable DB"},
		"a reserved variable": {func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: "ENV_INJECTOR_CA", Value: "x"})
		}, "reserved"},
		"an init container too": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{*p.Spec.Containers[0].DeepCopy()}
			p.Spec.InitContainers[0].Name, p.Spec.InitContainers[0].Command = "init", nil
		}, `container "init"`},
	} {
		p := tm.pod("refused", map[string]string{"DB": "db@azurekeyvault"}, "echo")
		c.change(p)
		err := s.Client.Create(t.Context(), p, client.DryRunAll)
		if assert.Error(t, err, name) {
			assert.Contains(t, err.Error(), c.says, name)
			assert.Contains(t, err.Error(), "akv2k8s: ", name)
		}
	}
	// A mention is no reference: the pod is taken as it is, and whoever created it is told.
	mention := tm.pod("mention", map[string]string{"MAIL": "me@azurekeyvaults.example"}, "echo")
	heard := &warnings{}
	config := rest.CopyConfig(s.REST)
	config.WarningHandler = heard
	listening, err := client.New(config, client.Options{Scheme: s.Client.Scheme()})
	require.NoError(t, err)
	require.NoError(t, listening.Create(t.Context(), mention, client.DryRunAll))
	assert.Empty(t, mention.Spec.InitContainers)
	require.Len(t, heard.texts, 1)
	assert.Contains(t, heard.texts[0], "variable MAIL")
}

// warnings are what the API server says beside its answer.
type warnings struct{ texts []string }

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) { w.texts = append(w.texts, text) }
