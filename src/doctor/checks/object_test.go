package checks_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/checks"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/clustertest"
)

// checkObject runs the check of one object of namespace team.
func checkObject(t *testing.T, c *clustertest.Cluster, name string) []doctor.Finding {
	t.Helper()
	s := stateOf(t, c, clustertest.Team)
	check, err := checks.Object(s, name)
	require.NoError(t, err)
	return runChecks(t, s, []doctor.Check{check})
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

func TestAResourceHasOneFindingForItsFault(t *testing.T) {
	ready := condition(v2beta1.ConditionReady, metav1.ConditionTrue, "Synced", "")
	failed := condition(v2beta1.ConditionReady, metav1.ConditionFalse, "ObjectNotFound", "reading secret x: no such object; check its name")
	stale := condition(v2beta1.ConditionStale, metav1.ConditionTrue, "VaultUnavailable", "503; wait")
	for name, f := range map[string]struct {
		change    func(c *clustertest.Cluster, r *v2beta1.AzureKeyVaultSecret)
		what, try string
		severity  doctor.Severity
	}{
		"none": {func(_ *clustertest.Cluster, r *v2beta1.AzureKeyVaultSecret) {}, "", "", doctor.OK},
		"not in sync": {func(_ *clustertest.Cluster, r *v2beta1.AzureKeyVaultSecret) {
			r.Status.Conditions = []metav1.Condition{failed, stale}
		}, "ObjectNotFound: reading secret x: no such object", "check its name", doctor.Error},
		"stale": {func(_ *clustertest.Cluster, r *v2beta1.AzureKeyVaultSecret) {
			r.Status.Conditions = []metav1.Condition{ready, stale}
		}, "VaultUnavailable: 503", "wait", doctor.Warning},
		"expires": {func(_ *clustertest.Cluster, r *v2beta1.AzureKeyVaultSecret) {
			r.Status.Conditions = append(r.Status.Conditions, condition(v2beta1.ConditionExpiringSoon, metav1.ConditionTrue, "Expiring", "expires tomorrow; renew it"))
		}, "expires tomorrow", "renew it", doctor.Warning},
		"two controllers": {func(_ *clustertest.Cluster, r *v2beta1.AzureKeyVaultSecret) {
			r.Status.Conditions = append(r.Status.Conditions, condition(v2beta1.ConditionContested, metav1.ConditionTrue, "Contested", "two; uninstall one"))
		}, "Contested: two", "uninstall one", doctor.Error},
		"new": {func(c *clustertest.Cluster, r *v2beta1.AzureKeyVaultSecret) {
			r.Status.Conditions, r.CreationTimestamp = nil, metav1.Time{Time: c.Now}
		}, "has not read it yet", "--wait 1m", doctor.Warning},
		"not watched": {func(c *clustertest.Cluster, r *v2beta1.AzureKeyVaultSecret) {
			r.Status.Conditions, r.CreationTimestamp = nil, metav1.Time{Time: c.Now.Add(-time.Hour)}
		}, "no controller has read it", "watchAllNamespaces", doctor.Error},
		"an older spec":      {func(_ *clustertest.Cluster, r *v2beta1.AzureKeyVaultSecret) { r.Generation = 2 }, "older spec", "kubectl akv2k8s doctor", doctor.Warning},
		"its Secret is gone": {func(_ *clustertest.Cluster, r *v2beta1.AzureKeyVaultSecret) { r.Status.SecretName = "gone" }, "its Secret does not exist", "akv2k8s.io/refresh", doctor.Error},
	} {
		t.Run(name, func(t *testing.T) {
			c := clustertest.New(t)
			f.change(c, clustertest.Find[*v2beta1.AzureKeyVaultSecret](t, c, "database"))
			found := checkObject(t, c, "akvs/database")
			require.Len(t, found, 1, "%+v", found)
			assert.Equal(t, f.severity, found[0].Severity)
			assert.Contains(t, found[0].What, f.what)
			assert.Contains(t, found[0].Try, f.try)
		})
	}
}

// TestEventsThatSayNothingNewAreNoFaults has the event of a mount that the kubelet repeated successfully, and that of an
// image which the state of the container names, too.
func TestEventsThatSayNothingNewAreNoFaults(t *testing.T) {
	for name, c := range map[string]struct {
		state  corev1.ContainerState
		reason string
		want   int
	}{
		"the container ended":       {corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}, "FailedMount", 1},
		"the container can't start": {corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CreateContainerError"}}, "FailedMount", 2},
		"an image can't be pulled":  {corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}, "Failed", 1},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := clustertest.New(t)
			cluster.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Team, Name: "p", UID: "u"},
				Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "app", State: c.state}}}},
				&corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Team, Name: "e"}, Type: corev1.EventTypeWarning, Reason: c.reason,
					InvolvedObject: corev1.ObjectReference{UID: "u"}, Message: "timed out"})
			assert.Len(t, checkObject(t, cluster, "pod/p"), c.want)
		})
	}
}

func TestAPodHasOneFindingForItsFault(t *testing.T) {
	injected := corev1.PodSpec{Volumes: []corev1.Volume{{Name: "akv2k8s-token"}}, Containers: []corev1.Container{{Name: "app",
		Env: []corev1.EnvVar{{Name: "A", Value: "x@azurekeyvault"}}}}}
	plain := corev1.PodSpec{Containers: injected.Containers}
	ended := func(name string, code int32, reason, message string) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, LastTerminationState: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}}}}}
	}
	waiting := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}}
	}
	for name, f := range map[string]struct {
		spec           corev1.PodSpec
		status         corev1.PodStatus
		labels         map[string]string
		what, why, try string
	}{
		"not injected":              {spec: plain, what: "was not injected", why: "before the namespace was labelled", try: "recreate the pod"},
		"excluded by a label":       {spec: plain, labels: map[string]string{"akv2k8s.io/inject": "false"}, what: "was not injected", why: "akv2k8s.io/inject=false", try: "remove the label"},
		"the injector has no value": {spec: injected, status: ended("app", 66, "Error", "ObjectNotFound: variable A: no such object; check its name"), what: "exit code 66", why: "ObjectNotFound: variable A: no such object", try: "check its name"},
		"the program fails":         {spec: injected, status: ended("app", 1, "Error", "password hunter2 is wrong"), what: "exit code 1", why: "its program ended", try: "logs p -c app --previous"},
		"too little memory":         {spec: injected, status: ended("app", 137, "OOMKilled", ""), what: "memory limit", try: "raise"},
		"no image":                  {spec: injected, status: waiting("ImagePullBackOff", "401"), what: "can't be pulled: 401", try: "pull secret"},
		"no ConfigMap":              {spec: injected, status: waiting("CreateContainerConfigError", `configmap "x" not found`), what: `configmap "x" not found`, try: "events"},
		"no node": {spec: injected, status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/2 nodes"}}},
			what: "no node fits: 0/2 nodes", try: "requests"},
	} {
		t.Run(name, func(t *testing.T) {
			c := clustertest.New(t)
			c.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Team, Name: "p", UID: "u", Labels: f.labels}, Spec: f.spec, Status: f.status})
			found := checkObject(t, c, "pod/p")
			require.Len(t, found, 1, "%+v", found)
			assert.Equal(t, doctor.Error, found[0].Severity)
			assert.Contains(t, found[0].What, f.what)
			assert.Contains(t, found[0].Why, f.why)
			assert.Contains(t, found[0].Try, f.try)
			assert.NotContains(t, fmt.Sprint(found), "hunter2", "what a program says is its own")
		})
	}
	c := clustertest.New(t)
	assert.Contains(t, checkObject(t, c, "pods/none")[0].What, "does not exist")
	c.Denies = func(_, resource, _ string) bool { return resource == "pods" }
	assert.Equal(t, "get pods/none -n team", checkObject(t, c, "pods/none")[0].Right)
}

func TestOnlyTheFirstNamespacesGetAPod(t *testing.T) {
	c := clustertest.New(t)
	for n := range limits.DoctorNamespaces + 20 {
		c.Add(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", n), Labels: map[string]string{"azure-key-vault-env-injection": "enabled"}}})
	}
	s := stateOf(t, c, "")
	found := runChecks(t, s, checks.Installed(s))
	assert.Empty(t, complaints(found))
	assert.Len(t, c.DryRuns, limits.DoctorNamespaces)
	assert.Contains(t, fmt.Sprint(found), "71 namespaces have the label, and the first 50 were checked")
	c.DryRuns, c.CallWebhook = nil, fmt.Errorf(`failed calling webhook "pods.env-injector.admission.spv.no": connection refused`)
	s = stateOf(t, c, "")
	merged := complaints(runChecks(t, s, checks.Installed(s)))
	require.Len(t, merged, 1, "one finding for all namespaces")
	assert.Contains(t, merged[0].Object, "and 47 more")
}

// TestAWebhookThatIsUnreachableForAMomentIsHealthy has the answers of an API server directly after an installation,
// before the service proxy of its node has the endpoints of the env-injector.
func TestAWebhookThatIsUnreachableForAMomentIsHealthy(t *testing.T) {
	for _, text := range []string{"dial tcp 10.1.2.3:443: connect: connection refused",
		`no endpoints available for service "akv2k8s-envinjector"`, "read: connection reset by peer", "Post \"https://x\": EOF"} {
		c := clustertest.New(t)
		c.CallWebhook, c.WebhookFailures = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": `+text), 2
		s := stateOf(t, c, "")
		assert.Empty(t, complaints(runChecks(t, s, checks.Installed(s))), text)
		assert.Len(t, c.DryRuns, 1)
	}
}

func TestOnlyFailuresOfAMomentAreTriedAgain(t *testing.T) {
	c := clustertest.New(t)
	c.CallWebhook, c.WebhookFailures = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": x509: unknown authority`), 1
	s := stateOf(t, c, "")
	found := complaints(runChecks(t, s, checks.Installed(s)))
	require.Len(t, found, 1)
	assert.Contains(t, found[0].What, "does not accept the certificate")

	c.CallWebhook, c.WebhookFailures = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": connection refused`), 0
	s = stateOf(t, c, "")
	began := time.Now()
	found = complaints(runChecks(t, s, checks.Installed(s)))
	require.Len(t, found, 1)
	assert.Contains(t, found[0].What, "refuses the connection")
	assert.WithinRange(t, time.Now(), began.Add(limits.DoctorWebhookWait), began.Add(2*limits.DoctorWebhookWait))
}

func TestADenialThatIsOverIsNoFault(t *testing.T) {
	c := clustertest.New(t)
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: clustertest.Team, Name: name} }
	c.Add(denialOf(c, "ReplicaSet", "old", time.Hour), &appsv1.ReplicaSet{ObjectMeta: meta("old")},
		denialOf(c, "ReplicaSet", "gone", time.Minute),
		denialOf(c, "ReplicaSet", "complete", time.Minute), &appsv1.ReplicaSet{ObjectMeta: meta("complete"), Status: appsv1.ReplicaSetStatus{Replicas: 1}},
		denialOf(c, "StatefulSet", "complete", time.Minute), &appsv1.StatefulSet{ObjectMeta: meta("complete"), Status: appsv1.StatefulSetStatus{Replicas: 1}},
		denialOf(c, "DaemonSet", "complete", time.Minute), &appsv1.DaemonSet{ObjectMeta: meta("complete")},
		denialOf(c, "Job", "complete", time.Minute), &batchv1.Job{ObjectMeta: meta("complete"), Status: batchv1.JobStatus{Succeeded: 1}})
	other := denialOf(c, "ReplicaSet", "other", time.Minute)
	other.Message = `Error creating: admission webhook "validate.kyverno.svc-fail" denied the request: no`
	c.Add(other, &appsv1.ReplicaSet{ObjectMeta: meta("other")})
	s := stateOf(t, c, "")
	assert.Empty(t, complaints(runChecks(t, s, checks.Installed(s))))
	c.Add(&appsv1.ReplicaSet{ObjectMeta: meta("gone")})
	s = stateOf(t, c, clustertest.Team)
	found := complaints(runChecks(t, s, checks.Installed(s)))
	require.Len(t, found, 1)
	assert.Equal(t, "replicaset/gone in team", found[0].Object)
}

func TestAWebhookThatDoesNotAnswerIsNamed(t *testing.T) {
	c := clustertest.New(t)
	c.SlowWebhook = true
	s := stateOf(t, c, "")
	found := complaints(doctor.Run(t.Context(), checks.Installed(s), doctor.Options{Timeout: 4 * time.Second,
		CheckTimeout: 3 * time.Second, Parallel: 8, MissingRights: s.MissingRights}))
	require.Len(t, found, 1, "%+v", found)
	assert.Contains(t, found[0].What, "did not end the creation of a pod in time")
	assert.Contains(t, found[0].Why, "waits for a webhook")
	assert.Contains(t, found[0].Try, "--timeout 60s")
}

func TestWhatIsNoPodOrResourceIsRejected(t *testing.T) {
	s := stateOf(t, clustertest.New(t), clustertest.Team)
	for _, text := range []string{"", "akvs", "akvs/", "secret/x", strings.Repeat("x", 1000)} {
		_, err := checks.Object(s, text)
		assert.ErrorContains(t, err, "write akvs/NAME or pod/NAME")
	}
}
