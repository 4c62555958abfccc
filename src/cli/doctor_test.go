package cli_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/cli"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/findinglog"
	"github.com/akv2k8s/akv2k8s/src/testkit/clustertest"
)

// newDoctorCluster returns a healthy cluster of this moment, so that its clock agrees with this machine's.
func newDoctorCluster(t *testing.T) *clustertest.Cluster {
	t.Helper()
	c := clustertest.New(t)
	c.MoveTo(time.Now())
	bundle := clustertest.NewCA(t, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
	clustertest.SetCA(t, c, bundle)
	return c
}

// doctorClusters are the clusters of the scripts.
func doctorClusters() map[string]func(*testing.T, *clustertest.Cluster) {
	return map[string]func(*testing.T, *clustertest.Cluster){
		"healthy": func(*testing.T, *clustertest.Cluster) {},
		"broken": func(t *testing.T, c *clustertest.Cluster) {
			d := clustertest.Find[*appsv1.Deployment](t, c, "akv2k8s-envinjector")
			d.Status.ReadyReplicas = 0
			c.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: "akv2k8s-envinjector-x", Labels: d.Spec.Selector.MatchLabels},
				Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "env-injector", Image: "ghcr.io/akv2k8s/env-injector:2.0.0",
					State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "403 Forbidden"}}}}}})
			clustertest.Find[*discoveryv1.EndpointSlice](t, c, "akv2k8s-envinjector-x").Endpoints = nil
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": no endpoints available for service`)
			r := clustertest.Find[*v2beta1.AzureKeyVaultSecret](t, c, "database")
			r.Status.Conditions[0] = metav1.Condition{Type: v2beta1.ConditionReady, Status: metav1.ConditionFalse, Reason: "AccessDenied",
				Message: `reading secret "db" of vault "my-vault": access is denied (403 ForbiddenByRbac); grant the role "Key Vault Secrets User" on the vault`}
		},
		"tenant": func(_ *testing.T, c *clustertest.Cluster) {
			c.Denies = func(_, resource, namespace string) bool {
				return namespace != clustertest.Team && resource != "customresourcedefinitions"
			}
		},
		"pods": func(_ *testing.T, c *clustertest.Cluster) {
			c.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Team, Name: "denied", UID: "u1"},
				Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "akv2k8s-token"}}},
				Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: "copy-azurekeyvault-env",
					State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 77,
						Message: `AccessDenied: container app, variable PASSWORD: reading secret "db": access is denied (403); grant the role R`}}}}}},
				&corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Team, Name: "e1"}, Type: corev1.EventTypeWarning, Reason: "FailedMount",
					InvolvedObject: corev1.ObjectReference{UID: "u1"}, Message: "configmap \"settings\" not found"},
				&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "text"}, Spec: corev1.PodSpec{Containers: []corev1.Container{
					{Name: "app", Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "db@azurekeyvault"}}}}}},
				&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Team, Name: "fine"}})
		},
	}
}

// TestDoctorScripts runs the transcripts of doctor. Besides the commands of TestScripts there is
//
//	cluster NAME    starts one of doctorClusters, or empty, and selects it
func TestDoctorScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/doctor", RequireExplicitExec: true, UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"cluster": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Setenv("KUBECONFIG", serveDoctorCluster(t, args[0]))
			},
		}})
}

func serveDoctorCluster(t *testing.T, name string) string {
	if name == "empty" {
		c := clustertest.Empty(t)
		c.MoveTo(time.Now())
		return c.Serve(t, nil)
	}
	c := newDoctorCluster(t)
	if name == "azure" {
		return serveWithJobs(t, c)
	}
	plant := doctorClusters()[name]
	require.NotNil(t, plant, name)
	plant(t, c)
	return c.Serve(t, nil)
}

// serveWithJobs serves a cluster in which Jobs end at once, with findings in the log.
func serveWithJobs(t *testing.T, c *clustertest.Cluster) string {
	t.Helper()
	objects := interceptor.NewClient(c.Client(t), interceptor.Funcs{
		Create: func(ctx context.Context, next client.WithWatch, o client.Object, options ...client.CreateOption) error {
			err := next.Create(ctx, o, options...)
			if job, ok := o.(*batchv1.Job); ok && err == nil {
				return next.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name + "-x",
					Labels: map[string]string{batchv1.JobNameLabel: job.Name}}, Spec: job.Spec.Template.Spec, Status: corev1.PodStatus{Phase: corev1.PodSucceeded}})
			}
			return err
		}})
	var log bytes.Buffer
	require.NoError(t, findinglog.Write(&log, []doctor.Finding{
		{Category: "Azure: identity", Check: "the identity of the installation gets a token", Severity: doctor.OK,
			What: "the identity of the installation gets a token, object id 11111111-2222-4333-8444-555555555555"},
		{Category: "Azure: vault objects", Check: "the vault objects of the resources can be read", Severity: doctor.Error, Object: "akvs team/database",
			What: `secrets of vault "my-vault": access is denied: the identity has no role that allows it (403 ForbiddenByRbac)`,
			Try:  `grant the role "Key Vault Secrets User" on the vault`, Command: "az role assignment create --role \"Key Vault Secrets User\""}}))
	return c.ServeClient(t, objects, func(string, string) string { return log.String() })
}

func TestDoctorRejectsFlagsThatContradict(t *testing.T) {
	kubeconfig := serveDoctorCluster(t, "healthy")
	for want, args := range map[string][]string{
		`--output "yaml" is unknown`: {"-o", "yaml"},
		"takes one object":           {"akvs/a", "akvs/b"},
		"without --azure":            {"--pre", "--azure"},
		"must be positive":           {"--timeout", "0s"},
		"write akvs/NAME":            {"deployment/x"},
		"unknown flag: --all":        {"--all"},
	} {
		code, stdout, stderr := run(t, "", append([]string{"doctor", "--kubeconfig", kubeconfig}, args...)...)
		assert.Equal(t, cli.ExitUsage, code, args)
		assert.Contains(t, stderr, want)
		assert.Empty(t, stdout)
	}
	code, _, stderr := run(t, "", "doctor", "--kubeconfig", "/no/such/file")
	assert.Equal(t, cli.ExitFailure, code)
	assert.Contains(t, stderr, "kubeconfig")
}

func TestDoctorWaitsUntilChecksPass(t *testing.T) {
	c := newDoctorCluster(t)
	d := clustertest.Find[*appsv1.Deployment](t, c, "akv2k8s-controller")
	d.Status.ReadyReplicas = 0
	objects := c.Client(t)
	kubeconfig := c.ServeClient(t, objects, nil)
	time.AfterFunc(500*time.Millisecond, func() {
		var live appsv1.Deployment
		assert.NoError(t, objects.Get(t.Context(), client.ObjectKeyFromObject(d), &live))
		live.Status.ReadyReplicas = 1
		assert.NoError(t, objects.Status().Update(t.Context(), &live))
	})
	code, stdout, _ := run(t, "", "doctor", "--kubeconfig", kubeconfig, "--wait", "30s", "-o", "short")
	assert.Equal(t, cli.ExitOK, code, stdout)
	assert.Contains(t, stdout, "Status: ok")
}
