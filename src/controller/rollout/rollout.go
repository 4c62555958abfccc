package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/redactederror"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// kubectlRestartedAt is the annotation that kubectl rollout restart writes into the pod template.
const kubectlRestartedAt = "kubectl.kubernetes.io/restartedAt"

// Restarter restarts workloads. Every field is required.
type Restarter struct {
	// APIReader reads workloads from the API server; they are not cached.
	APIReader client.Reader
	// Writer patches the workloads.
	Writer client.Writer
	// Clock returns the current time.
	Clock func() time.Time
}

// Change describes changed outputs of a resource.
type Change struct {
	// Namespace is the namespace of the resource, its outputs and the workloads.
	Namespace string
	// Resource is the name of the AzureKeyVaultSecret, as in references of pods.
	Resource string
	// Outputs holds the names of the resource's outputs by kind.
	Outputs map[output.Kind]string
	// ChangedAt is the time at which their data changed.
	ChangedAt time.Time
	// Targets selects the workloads.
	Targets recipe.Restart
}

// Report is the result of a restart. Each entry begins with KIND "NAME".
type Report struct {
	Restarted []string
	// Skipped lists workloads that the resource selects but that were not restarted, with the reason.
	Skipped []string
}

// Restart restarts each workload that the change selects, unless it was already restarted after the change. Only
// workloads with the annotation akv2k8s.io/restart: "true" are restarted. After an error, Restart can be called again:
// it skips the workloads that it has already restarted.
func (r *Restarter) Restart(ctx context.Context, c Change) (Report, error) {
	var report Report
	workloads, err := r.selectWorkloads(ctx, c, &report)
	if err != nil {
		return report, err
	}
	for _, w := range workloads {
		name := fmt.Sprintf("%s %q", w.kind, w.GetName())
		if w.GetAnnotations()[wire.AnnotationRestart] != "true" {
			if !c.Targets.Auto {
				report.Skipped = append(report.Skipped, name+" has no annotation "+wire.AnnotationRestart+`: "true"`)
			}
			continue
		}
		if !w.hasPodsOlderThan(c.ChangedAt) {
			continue
		}
		if err := r.patchRestartTime(ctx, w); err != nil {
			return report, err
		}
		report.Restarted = append(report.Restarted, name)
	}
	return report, nil
}

func (r *Restarter) patchRestartTime(ctx context.Context, w workload) error {
	annotations := map[string]string{wire.AnnotationRestartedAt: r.Clock().UTC().Format(time.RFC3339Nano)}
	template := map[string]any{"metadata": map[string]any{"annotations": annotations}}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": template}})
	if err != nil {
		return err
	}
	err = r.Writer.Patch(ctx, w.Object, client.RawPatch(types.MergePatchType, patch),
		client.FieldOwner(wire.RestartFieldManager))
	if client.IgnoreNotFound(err) != nil {
		return redactederror.Wrap(err, "restarting %s %s/%s", w.kind, w.GetNamespace(), w.GetName())
	}
	return nil
}

// workload is a Deployment, StatefulSet or DaemonSet.
type workload struct {
	client.Object
	kind     string
	template *corev1.PodTemplateSpec
}

func deploymentWorkload(d *appsv1.Deployment) workload {
	return workload{d, recipe.Deployment, &d.Spec.Template}
}

func statefulSetWorkload(s *appsv1.StatefulSet) workload {
	return workload{s, recipe.StatefulSet, &s.Spec.Template}
}

func daemonSetWorkload(d *appsv1.DaemonSet) workload {
	return workload{d, recipe.DaemonSet, &d.Spec.Template}
}

// hasPodsOlderThan reports whether the workload can have pods from before a point in time: it was created before, and
// neither akv2k8s nor kubectl has restarted it since.
func (w workload) hasPodsOlderThan(at time.Time) bool {
	if !w.GetCreationTimestamp().Time.Before(at) {
		return false
	}
	for _, annotation := range []string{wire.AnnotationRestartedAt, kubectlRestartedAt} {
		if restarted, err := time.Parse(time.RFC3339, w.template.Annotations[annotation]); err == nil &&
			!restarted.Before(at) {
			return false
		}
	}
	return true
}

// selectWorkloads returns the workloads that the change selects. A selected workload that does not exist is added to
// the report.
func (r *Restarter) selectWorkloads(ctx context.Context, c Change, report *Report) ([]workload, error) {
	if c.Targets.Auto {
		all, err := r.listWorkloads(ctx, c.Namespace)
		return slices.DeleteFunc(all, func(w workload) bool { return !isAffectedBy(w.template.Spec, c) }), err
	}
	var found []workload
	for _, wanted := range c.Targets.Workloads {
		w, err := r.getWorkload(ctx, c.Namespace, wanted)
		if apierrors.IsNotFound(err) {
			report.Skipped = append(report.Skipped, fmt.Sprintf("%s %q does not exist", wanted.Kind, wanted.Name))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s %s/%s: %w", wanted.Kind, c.Namespace, wanted.Name, err)
		}
		found = append(found, w)
	}
	return found, nil
}

func (r *Restarter) getWorkload(ctx context.Context, namespace string, wanted recipe.Workload) (workload, error) {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: wanted.Name}
	var w workload
	switch wanted.Kind {
	case recipe.StatefulSet:
		w = statefulSetWorkload(&appsv1.StatefulSet{ObjectMeta: meta})
	case recipe.DaemonSet:
		w = daemonSetWorkload(&appsv1.DaemonSet{ObjectMeta: meta})
	default:
		w = deploymentWorkload(&appsv1.Deployment{ObjectMeta: meta})
	}
	return w, r.APIReader.Get(ctx, client.ObjectKeyFromObject(w), w.Object)
}

func (r *Restarter) listWorkloads(ctx context.Context, namespace string) ([]workload, error) {
	var deployments appsv1.DeploymentList
	var statefulSets appsv1.StatefulSetList
	var daemonSets appsv1.DaemonSetList
	for _, list := range []client.ObjectList{&deployments, &statefulSets, &daemonSets} {
		if err := r.APIReader.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("listing the workloads of %s: %w", namespace, err)
		}
	}
	var all []workload
	for i := range deployments.Items {
		all = append(all, deploymentWorkload(&deployments.Items[i]))
	}
	for i := range statefulSets.Items {
		all = append(all, statefulSetWorkload(&statefulSets.Items[i]))
	}
	for i := range daemonSets.Items {
		all = append(all, daemonSetWorkload(&daemonSets.Items[i]))
	}
	return all, nil
}
