package azurejob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/doctor/findinglog"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// deleteTime limits the deletion of the Job, which also takes place after an interrupt.
const deleteTime = 10 * time.Second

// Runner runs Jobs. Every field is required.
type Runner struct {
	// Client is one with the rights of the user.
	Client client.Client
	// Logs opens the log of a pod's container.
	Logs func(ctx context.Context, namespace, pod, container string) (io.ReadCloser, error)
	// KnownFlags are the flags of the controller that the subcommand has.
	KnownFlags *pflag.FlagSet
	// PollInterval is the time between two looks at the pod.
	PollInterval time.Duration
}

// RightsOf returns the rights that Run needs in the namespace of an installation.
func RightsOf(i *cluster.Installation) []doctor.Right {
	return []doctor.Right{
		{Verb: "create", Group: "batch", Resource: "jobs", Namespace: i.Namespace},
		{Verb: "delete", Group: "batch", Resource: "jobs", Namespace: i.Namespace},
		{Verb: "list", Resource: "pods", Namespace: i.Namespace},
		{Verb: "get", Resource: "pods", Subresource: "log", Namespace: i.Namespace},
	}
}

// Run runs the checks for an installation and returns their findings. It deletes the Job in any case, also if ctx ends.
func (r Runner) Run(ctx context.Context, i *cluster.Installation, scope Scope) ([]doctor.Finding, error) {
	if cluster.Container(i.Controller) == nil {
		return nil, fault.NewWithNextStep(fault.NotFound, "set controller.enabled to true",
			"the installation %s has no controller, whose image and identity the checks of Azure need", i)
	}
	var policies networkingv1.NetworkPolicyList
	if err := r.Client.List(ctx, &policies, client.InNamespace(i.Namespace),
		client.Limit(limits.DoctorListPage)); err != nil {
		policies.Items = nil // without the right to list them, none is assumed
	}
	job := newJob(i.Controller, policies.Items, r.KnownFlags, scope)
	if err := r.Client.Create(ctx, job); err != nil {
		return nil, &fault.Error{Kind: fault.Denied, Operation: "creating the Job in namespace " + i.Namespace,
			Cause: err,
			Next:  "the message names what denies it; the Job has the same pod as the controller"}
	}
	defer r.deleteJob(ctx, job)
	ctx, cancel := context.WithTimeout(ctx, limits.DoctorAzureTime)
	defer cancel()
	pod, err := r.awaitEnd(ctx, job)
	if err != nil {
		return nil, err
	}
	log, err := r.Logs(ctx, pod.Namespace, pod.Name, pod.Spec.Containers[0].Name)
	if err != nil {
		return nil, fmt.Errorf("reading the log of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	defer func() { _ = log.Close() }() // it was only read
	findings, err := findinglog.Read(log)
	if err != nil {
		return nil, explainEnd(pod, err)
	}
	return findings, nil
}

// deleteJob deletes the Job and its pod. If that fails, Kubernetes deletes them after limits.DoctorAzureKept.
func (r Runner) deleteJob(ctx context.Context, job *batchv1.Job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTime)
	defer cancel()
	_ = r.Client.Delete(ctx, job, client.PropagationPolicy("Background"))
}

// awaitEnd waits until the pod of the Job has ended.
func (r Runner) awaitEnd(ctx context.Context, job *batchv1.Job) (*corev1.Pod, error) {
	var last *corev1.Pod
	for {
		var pods corev1.PodList
		err := r.Client.List(ctx, &pods, client.InNamespace(job.Namespace), client.Limit(2),
			client.MatchingLabels{batchv1.JobNameLabel: job.Name})
		switch {
		case ctx.Err() != nil:
			return nil, explainWait(ctx, job, last)
		case err != nil:
			return nil, fmt.Errorf("reading the pod of Job %s/%s: %w", job.Namespace, job.Name, err)
		case len(pods.Items) > 0:
			last = &pods.Items[0]
			if last.Status.Phase == corev1.PodSucceeded || last.Status.Phase == corev1.PodFailed {
				return last, nil
			}
			if why := cannotStart(last); why != "" {
				return nil, fault.NewWithNextStep(fault.Unavailable,
					"correct this for the controller, whose pod is the same",
					"the pod of the Job can't start: %s", why)
			}
		}
		select {
		case <-ctx.Done():
			return nil, explainWait(ctx, job, last)
		case <-time.After(r.PollInterval):
		}
	}
}

// cannotStart returns why the pod's container will not start without a change; empty if it may.
func cannotStart(pod *corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if w := status.State.Waiting; w != nil && (strings.HasPrefix(w.Reason, "ImagePullBackOff") ||
			w.Reason == "InvalidImageName" || w.Reason == "CreateContainerConfigError") {
			return w.Reason + ": " + cluster.ShortMessage(w.Message)
		}
	}
	return ""
}

// explainWait returns the error of a wait that ended without a pod's end.
func explainWait(ctx context.Context, job *batchv1.Job, last *corev1.Pod) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault.New(fault.Unavailable, "interrupted; the Job was deleted")
	}
	state := "it has no pod: a quota or policy can deny it"
	if last != nil {
		state = "its pod is " + string(last.Status.Phase)
		for _, c := range last.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				state += ", no node fits: " + cluster.ShortMessage(c.Message)
			}
		}
	}
	return fault.NewWithNextStep(fault.Unavailable, "see the events with: kubectl -n "+job.Namespace+" get events",
		"the Job did not end within %s: %s", limits.Duration(limits.DoctorAzureTime), state)
}

// explainEnd returns the error of a pod that ended without findings. An image without the subcommand says so.
func explainEnd(pod *corev1.Pod, cause error) error {
	for _, status := range pod.Status.ContainerStatuses {
		t := status.State.Terminated
		if t == nil || t.ExitCode == 0 {
			continue
		}
		if why, next := cluster.LastError(t.Message); t.ExitCode != 2 && why != "" {
			return fault.NewWithNextStep(fault.Unavailable, next, "%s", why)
		}
		if t.ExitCode == 2 {
			return fault.NewWithNextStep(fault.Invalid, "use the kubectl-akv2k8s of the installation's version",
				"the image %s does not have the subcommand %s, or not its flags", status.Image, subcommand)
		}
		return fault.NewWithNextStep(fault.Unavailable, "see the log of the controller, which has the same settings",
			"the checks ended with exit code %d", t.ExitCode)
	}
	return cause
}
