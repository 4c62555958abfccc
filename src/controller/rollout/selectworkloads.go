package rollout

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// selectWorkloads returns the workloads that the change selects. A selected workload that does not exist is added to
// the report.
func (r *Restarter) selectWorkloads(ctx context.Context, c Change, report *Report) ([]workload, error) {
	if c.Targets.Auto {
		return r.selectAffected(ctx, c, report)
	}
	found, err := r.getNamed(ctx, c, report)
	if err != nil || len(c.Targets.Labels) == 0 {
		return found, err
	}
	selector, err := selectorOf(c.Targets.Labels)
	if err != nil {
		return nil, err
	}
	all, err := r.listWorkloads(ctx, c.Namespace, client.MatchingLabelsSelector{Selector: selector})
	for _, w := range all {
		if !slices.ContainsFunc(found, func(other workload) bool { return other.key() == w.key() }) {
			found = append(found, w)
		}
	}
	return found, err
}

// getNamed returns the workloads that the change names, each once.
func (r *Restarter) getNamed(ctx context.Context, c Change, report *Report) ([]workload, error) {
	var found []workload
	isFound := map[workloadKey]bool{}
	for _, wanted := range c.Targets.Workloads {
		if wanted.Kind == recipe.Rollout && !r.ArgoRollouts {
			report.skip(fmt.Sprintf("%s %q: this installation does not restart Argo Rollouts; see the chart value "+
				"controller.rolloutRestart.argoRollouts", wanted.Kind, wanted.Name))
			continue
		}
		w, err := r.getWorkload(ctx, c.Namespace, wanted)
		if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			report.skip(fmt.Sprintf("%s %q does not exist", wanted.Kind, wanted.Name))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s %s/%s: %w", wanted.Kind, c.Namespace, wanted.Name, err)
		}
		if !isFound[w.key()] {
			isFound[w.key()] = true
			found = append(found, w)
		}
	}
	return found, nil
}

// selectAffected returns the workloads whose pods use the changed data.
func (r *Restarter) selectAffected(ctx context.Context, c Change, report *Report) ([]workload, error) {
	all, err := r.listWorkloads(ctx, c.Namespace)
	if err != nil {
		return nil, err
	}
	sources := &sources{reader: r.APIReader, namespace: c.Namespace}
	var found []workload
	for _, w := range all {
		affected, err := c.affects(ctx, w, sources)
		if err != nil {
			return nil, err
		}
		if affected {
			found = append(found, w)
		}
	}
	if sources.isExceeded {
		report.skip(sources.exceededText())
	}
	return found, nil
}

// selectorOf returns the selector of the conditions.
func selectorOf(conditions []recipe.LabelCondition) (labels.Selector, error) {
	var selector metav1.LabelSelector
	for _, c := range conditions {
		selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{Key: c.Key,
			Operator: metav1.LabelSelectorOperator(c.Operator), Values: c.Values})
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return nil, fault.Wrap(fault.Bug, err, "parsing spec.rolloutRestart.selector")
	}
	return parsed, nil
}

func (r *Restarter) getWorkload(ctx context.Context, namespace string, wanted recipe.Workload) (workload, error) {
	name := client.ObjectKey{Namespace: namespace, Name: wanted.Name}
	switch wanted.Kind {
	case recipe.StatefulSet:
		var s appsv1.StatefulSet
		err := r.APIReader.Get(ctx, name, &s)
		return statefulSetWorkload(&s), err
	case recipe.DaemonSet:
		var d appsv1.DaemonSet
		err := r.APIReader.Get(ctx, name, &d)
		return daemonSetWorkload(&d), err
	case recipe.Rollout:
		object := newRollout()
		err := r.APIReader.Get(ctx, name, object)
		return rolloutWorkload(object, nil), err
	default:
		var d appsv1.Deployment
		err := r.APIReader.Get(ctx, name, &d)
		return deploymentWorkload(&d), err
	}
}

func (r *Restarter) listWorkloads(ctx context.Context, namespace string,
	options ...client.ListOption) ([]workload, error) {
	var deployments appsv1.DeploymentList
	var statefulSets appsv1.StatefulSetList
	var daemonSets appsv1.DaemonSetList
	options = append(options, client.InNamespace(namespace))
	for _, list := range []client.ObjectList{&deployments, &statefulSets, &daemonSets} {
		if err := r.APIReader.List(ctx, list, options...); err != nil {
			return nil, fmt.Errorf("listing the workloads of %s: %w", namespace, err)
		}
	}
	var all []workload
	templates := map[string]*corev1.PodTemplateSpec{}
	for i := range deployments.Items {
		templates[deployments.Items[i].Name] = &deployments.Items[i].Spec.Template
		all = append(all, deploymentWorkload(&deployments.Items[i]))
	}
	for i := range statefulSets.Items {
		all = append(all, statefulSetWorkload(&statefulSets.Items[i]))
	}
	for i := range daemonSets.Items {
		all = append(all, daemonSetWorkload(&daemonSets.Items[i]))
	}
	if !r.ArgoRollouts {
		return all, nil
	}
	var rollouts unstructured.UnstructuredList
	rollouts.SetGroupVersionKind(rolloutKind().GroupVersion().WithKind(recipe.Rollout + "List"))
	if err := r.APIReader.List(ctx, &rollouts, options...); err != nil && !meta.IsNoMatchError(err) &&
		!apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("listing the Rollouts of %s: %w", namespace, err)
	}
	for i := range rollouts.Items {
		all = append(all, rolloutWorkload(&rollouts.Items[i], templates))
	}
	return all, nil
}
