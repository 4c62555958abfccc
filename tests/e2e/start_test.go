//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// jobsWait runs Jobs whose pods can't have their values at first.
func jobsWait(t *testing.T) {
	tm := newTeam(t)
	tm.secret("denied", canary+"-denied")
	tm.resource("denied", "denied", "")
	require.NoError(t, s.Azure.Inject(t.Context(), keyvault.Fault{Vault: tm.vault, Name: "denied", Status: 403, Code: "Forbidden"}))
	create := func(name, reference string, restart corev1.RestartPolicy, tries int32) *batchv1.Job {
		template := tm.template(name, restart, "echo got ${#DB} characters")
		template.Spec.Containers[0].Env[0].Value = reference
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: name}, Spec: batchv1.JobSpec{Template: template, BackoffLimit: &tries}}
		require.NoError(t, s.Client.Create(t.Context(), job))
		return job
	}
	await := func(job *batchv1.Job, condition batchv1.JobConditionType) {
		require.NoError(t, stage.Await(t.Context(), 3*patience, "the end of Job "+job.Name, func(ctx context.Context) error {
			if err := s.Client.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
				return err
			}
			for _, c := range job.Status.Conditions {
				if c.Type == condition && c.Status == corev1.ConditionTrue {
					return nil
				}
			}
			return fmt.Errorf("it is %+v", job.Status)
		}))
	}
	started := time.Now()
	await(create("fails", "denied@azurekeyvault", corev1.RestartPolicyNever, 0), batchv1.JobFailed)
	assert.Less(t, time.Since(started), patience)
	later := create("later", "later@azurekeyvault", corev1.RestartPolicyNever, 0)
	again := create("again", "denied@azurekeyvault", corev1.RestartPolicyOnFailure, 6)
	require.NoError(t, stage.Await(t.Context(), patience, "the first failure", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, client.InNamespace(tm.namespace), client.MatchingLabels{"of": "again"}); err != nil || len(pods.Items) == 0 {
			return fmt.Errorf("there are no pods: %w", err)
		}
		for _, c := range append(pods.Items[0].Status.InitContainerStatuses, pods.Items[0].Status.ContainerStatuses...) {
			if c.RestartCount > 0 {
				assert.Contains(t, messageOf(c), "AccessDenied: ", "kubectl describe pod says why")
				return nil
			}
		}
		return fmt.Errorf("it is %+v", pods.Items[0].Status)
	}))
	tm.secret("later", canary+"-later")
	tm.resource("later", "later", "")
	require.NoError(t, s.Azure.Heal(t.Context(), tm.vault))
	await(later, batchv1.JobComplete)
	await(again, batchv1.JobComplete)
}

// terminationMessages are what kubectl describe pod shows of containers that could not start.
func terminationMessages(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	message := func(name string) string {
		tm.ended(name)
		var p corev1.Pod
		require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Namespace: tm.namespace, Name: name}, &p))
		for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			if said := messageOf(c); said != "" {
				return said
			}
		}
		return ""
	}
	tm.create(tm.pod("none", map[string]string{"DB": "db@azurekeyvault"}, "/no/such/program"))
	assert.Contains(t, message("none"), "starting the program /no/such/program: no such file")
	elsewhere := tm.pod("elsewhere", map[string]string{"DB": "db@azurekeyvault"}, "/no/such/program")
	elsewhere.Spec.Containers[0].TerminationMessagePath = "/tmp/said"
	tm.create(elsewhere)
	assert.Contains(t, message("elsewhere"), "no such file")
	absent := tm.pod("absent", map[string]string{"DB": "db@azurekeyvault?nonsense"}, "true")
	tm.create(absent)
	assert.Regexp(t, "InvalidSpec: variable (app/)?DB", message("absent"), "an init container names the container, too")
}

// startedPods are pods with our startup probe, in all circumstances that it has to live with.
func startedPods(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	yes, user, sidecar := true, int64(4321), corev1.ContainerRestartPolicyAlways
	changes := map[string]func(*corev1.PodSpec){
		"plain":     func(*corev1.PodSpec) {},
		"shared":    func(p *corev1.PodSpec) { p.ShareProcessNamespace = &yes },
		"read-only": func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.ReadOnlyRootFilesystem = &yes },
		"user":      func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.RunAsUser = &user },
		"sidecar": func(p *corev1.PodSpec) {
			c := *p.Containers[0].DeepCopy()
			c.Name, c.RestartPolicy = "beside", &sidecar
			p.InitContainers, p.ShareProcessNamespace = []corev1.Container{c}, &yes
		},
		"two": func(p *corev1.PodSpec) {
			c := *p.Containers[0].DeepCopy()
			c.Name = "second"
			p.Containers, p.ShareProcessNamespace = append(p.Containers, c), &yes
		},
	}
	var names []string
	for _, delivery := range deliveries(t) {
		for change := range changes {
			names = append(names, change+"-by-"+delivery)
		}
	}
	for _, name := range names {
		change, delivery, _ := strings.Cut(name, "-by-")
		env := ownCredentials()
		env["DB"] = "db@azurekeyvault"
		p := tm.pod(name, env, "sh", "-c", "sleep 1000 & sleep 1000 & wait")
		p.Spec.RestartPolicy = corev1.RestartPolicyAlways
		changes[change](&p.Spec)
		require.NotNil(t, tm.create(by(delivery, p)).Spec.Containers[0].StartupProbe, name)
	}
	for _, name := range names {
		require.NoError(t, stage.Await(t.Context(), 2*patience, "pod "+name, func(ctx context.Context) error {
			var p corev1.Pod
			if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: name}, &p); err != nil {
				return err
			}
			for _, c := range p.Status.ContainerStatuses {
				if !c.Ready || c.RestartCount > 0 {
					return fmt.Errorf("it is %+v", p.Status.ContainerStatuses)
				}
			}
			if len(p.Status.ContainerStatuses) != len(p.Spec.Containers) {
				return fmt.Errorf("it is %s", p.Status.Phase)
			}
			return nil
		}))
	}
}
