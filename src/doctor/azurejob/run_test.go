package azurejob_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/azurejob"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/doctor/findinglog"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/program"
	"github.com/akv2k8s/akv2k8s/src/testkit/clustertest"
)

// jobCluster is a cluster whose Jobs get a pod with a status, and whose Jobs are recorded.
type jobCluster struct {
	client.WithWatch
	status corev1.PodStatus
	jobs   []*batchv1.Job
}

func newJobCluster(t *testing.T, c *clustertest.Cluster, status corev1.PodStatus) *jobCluster {
	t.Helper()
	j := &jobCluster{status: status}
	j.WithWatch = interceptor.NewClient(c.Client(t), interceptor.Funcs{Create: func(ctx context.Context, next client.WithWatch, o client.Object, options ...client.CreateOption) error {
		err := next.Create(ctx, o, options...)
		if job, ok := o.(*batchv1.Job); ok && err == nil {
			j.jobs = append(j.jobs, job.DeepCopy())
			labels := map[string]string{batchv1.JobNameLabel: job.Name}
			return next.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name + "-x", Labels: labels},
				Spec: job.Spec.Template.Spec, Status: j.status})
		}
		return err
	}})
	return j
}

func (j *jobCluster) run(t *testing.T, ctx context.Context, i *cluster.Installation, log string) ([]doctor.Finding, error) {
	t.Helper()
	settings := program.NewSettings(func(string) (string, bool) { return "", false })
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	settings.AddFlags(known)
	return azurejob.Runner{Client: j, KnownFlags: known, PollInterval: 10 * time.Millisecond,
		Logs: func(_ context.Context, _, pod, container string) (io.ReadCloser, error) {
			assert.Equal(t, j.jobs[0].Name+"-x", pod)
			assert.Equal(t, "controller", container)
			return io.NopCloser(bytes.NewBufferString(log)), nil
		}}.Run(ctx, i, azurejob.Scope{Namespace: "team", Resource: "db"})
}

// requireNoJob checks that the Job was deleted.
func (j *jobCluster) requireNoJob(t *testing.T) {
	t.Helper()
	var left batchv1.JobList
	require.NoError(t, j.List(t.Context(), &left))
	assert.Empty(t, left.Items, "the Job is deleted in any case")
}

func installationOf(t *testing.T, c *clustertest.Cluster) *cluster.Installation {
	return &cluster.Installation{Namespace: clustertest.Namespace, Fullname: "akv2k8s",
		Controller: clustertest.Find[*appsv1.Deployment](t, c, "akv2k8s-controller")}
}

func succeeded() corev1.PodStatus { return corev1.PodStatus{Phase: corev1.PodSucceeded} }

func TestTheJobIsThePodOfTheController(t *testing.T) {
	c := clustertest.New(t, "global.env.AZURE_TENANT_ID=x", "controller.podLabels.azure\\.workload\\.identity/use=true")
	container := cluster.Container(clustertest.Find[*appsv1.Deployment](t, c, "akv2k8s-controller"))
	container.Args = append(container.Args, "--vault-limit", "7", "--workers", "3")
	j := newJobCluster(t, c, succeeded())
	var log bytes.Buffer
	log.WriteString("info starting\n")
	want := []doctor.Finding{{Check: "c", Severity: doctor.Error, What: "w", Command: "az x"}, {Check: "d", Severity: doctor.OK, What: "fine"}}
	require.NoError(t, findinglog.Write(&log, want))
	found, err := j.run(t, t.Context(), installationOf(t, c), log.String())
	require.NoError(t, err)
	assert.Equal(t, want, found)
	j.requireNoJob(t)

	job, d := j.jobs[0], clustertest.Find[*appsv1.Deployment](t, c, "akv2k8s-controller")
	own, spec := d.Spec.Template.Spec.Containers[0], job.Spec.Template.Spec
	assert.Equal(t, ptr.To(int64(120)), job.Spec.ActiveDeadlineSeconds)
	assert.Equal(t, ptr.To(int32(300)), job.Spec.TTLSecondsAfterFinished)
	assert.Equal(t, corev1.RestartPolicyNever, spec.RestartPolicy)
	assert.Equal(t, d.Spec.Template.Spec.ServiceAccountName, spec.ServiceAccountName)
	assert.Equal(t, d.Spec.Template.Spec.SecurityContext, spec.SecurityContext)
	assert.Equal(t, d.Spec.Template.Spec.Volumes, spec.Volumes)
	require.Len(t, spec.Containers, 1)
	assert.Equal(t, own.Image, spec.Containers[0].Image)
	assert.Equal(t, own.Env, spec.Containers[0].Env)
	assert.Nil(t, spec.Containers[0].LivenessProbe)
	args := spec.Containers[0].Args
	assert.Equal(t, "check-azure", args[0])
	assert.Contains(t, args, "--cloud-config=/etc/akv2k8s/azure.json")
	assert.Contains(t, args, "--watch-all-namespaces=true")
	assert.Equal(t, []string{"--vault-limit", "7", "--namespace=team", "--resource=db"}, args[len(args)-4:], "flags with their values")
	for _, arg := range args {
		assert.NotContains(t, arg, "workers")
		assert.NotContains(t, arg, "fullname")
	}
	assert.Equal(t, "true", job.Spec.Template.Labels["azure.workload.identity/use"])
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	require.NoError(t, err)
	assert.False(t, selector.Matches(labelSet(job.Spec.Template.Labels)), "Services and budgets do not select the pod")
}

type labelSet map[string]string

func (l labelSet) Has(key string) bool                   { _, ok := l[key]; return ok }
func (l labelSet) Get(key string) string                 { return l[key] }
func (l labelSet) Lookup(key string) (v string, ok bool) { v, ok = l[key]; return v, ok }

func TestTheJobHasTheNetworkOfTheController(t *testing.T) {
	c := clustertest.New(t, "controller.networkPolicy.enabled=true")
	j := newJobCluster(t, c, succeeded())
	var log bytes.Buffer
	require.NoError(t, findinglog.Write(&log, nil))
	_, err := j.run(t, t.Context(), installationOf(t, c), log.String())
	require.NoError(t, err)
	assert.Equal(t, "akv2k8s-controller", j.jobs[0].Spec.Template.Labels["app.kubernetes.io/component"], "the NetworkPolicy selects it")
}

func TestAJobWithoutFindingsIsExplained(t *testing.T) {
	ended := func(code int32) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{Image: "i:1",
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}}}
	}
	refused := ended(1)
	refused.ContainerStatuses[0].State.Terminated.Message = "INFO starting\ncontroller: the certificate /x.pfx can't be read; correct AZURE_CERTIFICATE_PATH\n"
	for name, c := range map[string]struct {
		status corev1.PodStatus
		log    string
		says   string
	}{
		"a setting":          {refused, "", "the certificate /x.pfx can't be read; correct AZURE_CERTIFICATE_PATH"},
		"an older image":     {ended(2), "controller has no subcommand", "does not have the subcommand check-azure"},
		"a failure":          {ended(1), "", "ended with exit code 1"},
		"a log that was cut": {succeeded(), "akv2k8s-finding: {}\n", "ends before the last finding"},
		"a damaged log":      {succeeded(), "akv2k8s-finding: {\n", "not a finding"},
		"an image": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "401"}}}}}, "", "ImagePullBackOff: 401"},
	} {
		t.Run(name, func(t *testing.T) {
			cl := clustertest.New(t)
			j := newJobCluster(t, cl, c.status)
			_, err := j.run(t, t.Context(), installationOf(t, cl), c.log)
			require.ErrorContains(t, err, c.says)
			j.requireNoJob(t)
		})
	}
	_, err := azurejob.Runner{}.Run(t.Context(), &cluster.Installation{}, azurejob.Scope{})
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestAnInterruptDeletesTheJob(t *testing.T) {
	c := clustertest.New(t)
	j := newJobCluster(t, c, corev1.PodStatus{Phase: corev1.PodRunning})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err := j.run(t, ctx, installationOf(t, c), "")
	require.ErrorContains(t, err, "interrupted; the Job was deleted")
	j.requireNoJob(t)
}
