//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// maxAge is how old a value may be that a starting pod gets, by default.
const maxAge = 10 * time.Second

// template is what a workload makes pods of; each prints the length of its value, or the value's end.
func (tm team) template(name string, restart corev1.RestartPolicy, command string) corev1.PodTemplateSpec {
	p := tm.pod(name, map[string]string{"DB": "db@azurekeyvault"}, "sh", "-c", command)
	p.Spec.RestartPolicy = restart
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"of": name}}, Spec: p.Spec}
}

// printed waits until a pod of the workload printed the line, and gives the pod's name.
func (tm team) printed(of, line string, within time.Duration) (name string) {
	tm.Helper()
	require.NoError(tm, stage.Await(tm.Context(), within, "a pod of "+of, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, client.InNamespace(tm.namespace), client.MatchingLabels{"of": of}); err != nil {
			return err
		}
		seen := fmt.Sprintf("there are %d pods", len(pods.Items))
		for _, p := range pods.Items {
			content, err := s.Kube.CoreV1().Pods(tm.namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: "app"}).DoRaw(ctx)
			if err == nil && string(content) == line {
				name = p.Name
				return nil
			}
			seen += fmt.Sprintf("; %s: %q %v", p.Name, content, err)
		}
		return fmt.Errorf("%s", seen)
	}))
	return name
}

// workloads are all kinds that make pods, and pods without a name of their own.
func workloads(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	const short, long = "echo got ${#DB} characters", "echo got ${#DB} characters; while true; do sleep 0.2; done"
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: tm.namespace, Name: name} }
	selector := func(name string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"of": name}}
	}
	job := func(name string) batchv1.JobSpec {
		return batchv1.JobSpec{Template: tm.template(name, corev1.RestartPolicyNever, short)}
	}
	for _, workload := range []client.Object{
		&appsv1.Deployment{ObjectMeta: meta("deployment"), Spec: appsv1.DeploymentSpec{Selector: selector("deployment"), Template: tm.template("deployment", corev1.RestartPolicyAlways, long)}},
		&appsv1.StatefulSet{ObjectMeta: meta("statefulset"), Spec: appsv1.StatefulSetSpec{Selector: selector("statefulset"), Template: tm.template("statefulset", corev1.RestartPolicyAlways, long)}},
		&appsv1.DaemonSet{ObjectMeta: meta("daemonset"), Spec: appsv1.DaemonSetSpec{Selector: selector("daemonset"), Template: tm.template("daemonset", corev1.RestartPolicyAlways, long)}},
		&appsv1.ReplicaSet{ObjectMeta: meta("replicaset"), Spec: appsv1.ReplicaSetSpec{Selector: selector("replicaset"), Template: tm.template("replicaset", corev1.RestartPolicyAlways, long)}},
		&batchv1.Job{ObjectMeta: meta("job"), Spec: job("job")},
		&batchv1.CronJob{ObjectMeta: meta("cronjob"), Spec: batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: job("cronjob")}}},
	} {
		require.NoError(t, s.Client.Create(t.Context(), workload))
	}
	bare := tm.pod("", map[string]string{"DB": "db@azurekeyvault"}, "sh", "-c", short)
	bare.GenerateName, bare.Labels = "bare-", map[string]string{"of": "bare"}
	tm.create(bare)
	line := fmt.Sprintf("got %d characters\n", len(canary+"-db"))
	for _, of := range []string{"deployment", "statefulset", "daemonset", "replicaset", "job", "bare"} {
		tm.printed(of, line, patience)
	}
	tm.printed("cronjob", line, 2*patience)
}

// valuesAreFresh rotates a value, and takes values away, where pods start again and again.
func valuesAreFresh(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: "app"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"of": "app"}}, Template: tm.template("app", corev1.RestartPolicyAlways, "echo ${DB##*-}; while true; do sleep 0.2; done")}}
	require.NoError(t, s.Client.Create(t.Context(), d))
	first := tm.printed("app", "db\n", patience)
	tm.secret("db", canary+"-rotated")
	time.Sleep(maxAge) // for so long the value of before may be given; nothing tells when it is over
	restart := []byte(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}}}}}`)
	require.NoError(t, s.Client.Patch(t.Context(), d, client.RawPatch(types.StrategicMergePatchType, restart)))
	assert.NotEqual(t, first, tm.printed("app", "rotated\n", patience))

	once := map[string]string{"DB": "db@azurekeyvault", "ENV_INJECTOR_RETRIES": "0"}
	refused := func(name string, want int32, says string) {
		tm.create(tm.pod(name, once, "echo", "started"))
		code, log := tm.ended(name)
		assert.Equal(t, want, code, log)
		assert.Contains(t, log, says)
		assert.NotContains(t, log, "started")
	}
	// The vault refuses it: no value is kept that the installation may read no more.
	require.NoError(t, s.Azure.Inject(t.Context(), keyvault.Fault{Vault: tm.vault, Name: "db", Status: 403, Code: "Forbidden"}))
	time.Sleep(maxAge) // as above
	refused("refused", 77, "403")
	// The resource is gone: at once, whatever is in memory.
	tm.secret("other", canary+"-other")
	gone := tm.resource("other", "other", "")
	other := map[string]string{"DB": "other@azurekeyvault", "ENV_INJECTOR_RETRIES": "0"}
	tm.create(tm.pod("before", other, "echo", "started"))
	code, log := tm.ended("before")
	require.Zero(t, code, log)
	require.NoError(t, s.Client.Delete(t.Context(), gone))
	once = other
	refused("after", 66, "there is no AzureKeyVaultSecret")
	// The namespace's label is gone: its pods get nothing, also those that were injected before.
	tm.resource("again", "other", "")
	waits := tm.pod("waits", map[string]string{"DB": "again@azurekeyvault", "ENV_INJECTOR_RETRIES": "0"}, "echo", "started")
	init := *waits.Spec.Containers[0].DeepCopy()
	init.Name, init.Env, init.Command = "waits", nil, []string{"sleep", "8"}
	waits.Spec.InitContainers = []corev1.Container{init}
	tm.create(waits)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tm.namespace}}
	require.NoError(t, s.Client.Patch(t.Context(), namespace, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"azure-key-vault-env-injection":null}}}`))))
	code, log = tm.ended("waits")
	assert.EqualValues(t, 77, code, log)
	assert.NotContains(t, log, "started")
}

// everyReplicaDown is what must go on when the env-injector is away, and what must not.
func everyReplicaDown(t *testing.T) {
	home := team{t, "akv2k8s", ""}
	injector := types.NamespacedName{Namespace: home.namespace, Name: "akv2k8s-envinjector"}
	label := func(value string) {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home.namespace}}
		patch := fmt.Sprintf(`{"metadata":{"labels":{"azure-key-vault-env-injection":%s}}}`, value)
		require.NoError(t, s.Client.Patch(context.WithoutCancel(t.Context()), namespace, client.RawPatch(types.MergePatchType, []byte(patch))))
	}
	label(`"enabled"`)
	t.Cleanup(func() { label("null") })
	refers := func(namespace, name string) *corev1.Pod {
		return team{t, namespace, ""}.pod(name, map[string]string{"DB": "db@azurekeyvault"}, "true")
	}
	// The API server learns of a namespace's label some time after it is written.
	require.NoError(t, stage.Await(t.Context(), patience, "injection of others' pods in the namespace of the release", func(ctx context.Context) error {
		injected := refers(home.namespace, "guest")
		if err := s.Client.Create(ctx, injected, client.DryRunAll); err != nil {
			return err
		}
		if !isInjected(injected) {
			return fmt.Errorf("the pod is created as it was asked for")
		}
		return nil
	}))

	tm := newTeam(t)
	require.NoError(t, s.Scale(t.Context(), injector, 0))
	assert.NoError(t, s.Client.Create(t.Context(), refers("kube-system", "system"), client.DryRunAll), "kube-system is never kept waiting")
	assert.NoError(t, s.Client.Create(t.Context(), tm.pod("plain", map[string]string{"A": "text"}, "true"), client.DryRunAll), "nor are pods without references")
	assert.ErrorContains(t, s.Client.Create(t.Context(), refers(tm.namespace, "raw"), client.DryRunAll), "pods.env-injector.admission.spv.no", "but none starts with a raw reference")
	// In a namespace with the label, ours come back by themselves.
	require.NoError(t, s.Scale(t.Context(), injector, 2))
	require.NoError(t, stage.Await(t.Context(), patience, "the env-injector", func(ctx context.Context) error {
		return s.Client.Create(ctx, refers(tm.namespace, "raw"), client.DryRunAll)
	}))
	require.NoError(t, s.Settled(t.Context(), home.namespace))
}
