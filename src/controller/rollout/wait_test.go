package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// clockBench has a Restarter with a clock that tests move, and counts results.
type clockBench struct {
	*testing.T
	client.WithWatch
	restarter *rollout.Restarter
	config    rollout.Config
	now       time.Time
	results   map[string]int
}

func newClockBench(t *testing.T, config rollout.Config, objects ...client.Object) *clockBench {
	t.Helper()
	b := &clockBench{T: t, now: now, results: map[string]int{}}
	b.WithWatch = fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objects...).Build()
	// The fake API server does not count the changes of a spec.
	writer := interceptor.NewClient(b.WithWatch, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if err := c.Patch(ctx, o, p, opts...); err != nil {
				return err
			}
			o.SetGeneration(o.GetGeneration() + 1)
			return c.Update(ctx, o)
		}})
	config.APIReader, config.Writer, config.Clock = b.WithWatch, writer, func() time.Time { return b.now }
	config.Count = func(kind, result string) { b.results[kind+" "+result]++ }
	if config.MaxConcurrent == 0 {
		config.MaxConcurrent = 10
	}
	b.config = config
	b.newProcess()
	return b
}

// newProcess replaces the Restarter by one without memory.
func (b *clockBench) newProcess() {
	b.Helper()
	var err error
	b.restarter, err = rollout.New(b.config)
	require.NoError(b, err)
}

func (b *clockBench) restart(c rollout.Change) rollout.Report {
	b.Helper()
	report, err := b.restarter.Restart(b.Context(), c)
	require.NoError(b, err)
	return report
}

// finish makes the rollout of a Deployment end, as its controller does.
func (b *clockBench) finish(namespace, name string) {
	b.Helper()
	var d appsv1.Deployment
	require.NoError(b, b.Get(b.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &d))
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}
	require.NoError(b, b.Status().Update(b.Context(), &d))
}

func unfinished(d *appsv1.Deployment) { d.Status.UpdatedReplicas = 0 }

func TestAWorkloadThatIsPausedOrWhoseRolloutGoesOnWaits(t *testing.T) {
	progressing := func(reason string) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			d.Status = appsv1.DeploymentStatus{Conditions: []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Reason: reason}}}
		}
	}
	stateful := func(edit func(*appsv1.StatefulSet)) client.Object {
		s := &appsv1.StatefulSet{ObjectMeta: meta("w"), Spec: appsv1.StatefulSetSpec{Template: template()},
			Status: appsv1.StatefulSetStatus{CurrentRevision: "1", UpdateRevision: "2"}}
		edit(s)
		return s
	}
	daemon := func(edit func(*appsv1.DaemonSet)) client.Object {
		d := &appsv1.DaemonSet{ObjectMeta: meta("w"), Spec: appsv1.DaemonSetSpec{Template: template()}, Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 3, UpdatedNumberScheduled: 2}}
		edit(d)
		return d
	}
	const paused, goesOn = "it is paused", "its last rollout has not finished"
	for name, c := range map[string]struct {
		workload client.Object
		pending  string
		forever  bool
	}{
		"a paused Deployment":         {deploymentWorkload("w", func(d *appsv1.Deployment) { d.Spec.Paused = true }), paused, true},
		"a rollout that goes on":      {deploymentWorkload("w", unfinished), goesOn, false},
		"one that was not seen":       {deploymentWorkload("w", func(d *appsv1.Deployment) { d.Generation = 2; d.Status.ObservedGeneration = 1 }), goesOn, false},
		"old pods":                    {deploymentWorkload("w", func(d *appsv1.Deployment) { d.Status.Replicas = 2 }), goesOn, false},
		"a condition that says so":    {deploymentWorkload("w", progressing("ReplicaSetUpdated")), goesOn, false},
		"one that ended":              {deploymentWorkload("w", progressing("NewReplicaSetAvailable")), "", false},
		"one that failed":             {deploymentWorkload("w", progressing("ProgressDeadlineExceeded")), "", false},
		"no replicas":                 {deploymentWorkload("w", func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32); d.Status = appsv1.DeploymentStatus{} }), "", false},
		"a StatefulSet that goes on":  {stateful(func(*appsv1.StatefulSet) {}), goesOn, false},
		"one that ended, unready":     {stateful(func(s *appsv1.StatefulSet) { s.Status.CurrentRevision = "2"; s.Status.Replicas = 3 }), "", false},
		"one that is updated by hand": {stateful(func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType }), "", false},
		"one with a partition": {stateful(func(s *appsv1.StatefulSet) {
			s.Spec.Replicas, s.Status.UpdatedReplicas = new(int32(3)), 1
			s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32(2))}
		}), "", false},
		"a DaemonSet that goes on":     {daemon(func(*appsv1.DaemonSet) {}), goesOn, false},
		"a DaemonSet that ended":       {daemon(func(d *appsv1.DaemonSet) { d.Status.UpdatedNumberScheduled = 3 }), "", false},
		"a DaemonSet updated by hand":  {daemon(func(d *appsv1.DaemonSet) { d.Spec.UpdateStrategy.Type = appsv1.OnDeleteDaemonSetStrategyType }), "", false},
		"a workload that allows none":  {deploymentWorkload("w", func(d *appsv1.Deployment) { d.Annotations = nil; d.Spec.Paused = true }), `it has no annotation akv2k8s.io/restart: "true"`, true},
		"a workload from after change": {deploymentWorkload("w", func(d *appsv1.Deployment) { d.CreationTimestamp = metav1.NewTime(changed); unfinished(d) }), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newClockBench(t, rollout.Config{}, c.workload)
			report := b.restart(auto())
			require.Len(t, report.Workloads, 1)
			if c.pending == "" {
				assert.True(t, report.Workloads[0].IsCurrent)
				assert.Equal(t, !c.forever, len(report.Restarted) == 1)
				return
			}
			assert.Equal(t, c.pending, report.Workloads[0].Pending)
			assert.False(t, report.Workloads[0].IsCurrent)
			assert.Empty(t, report.Restarted)
			assert.Equal(t, c.pending == paused || c.pending == goesOn, report.Unfinished, "it is tried again")
			b.now = changed.Add(limits.UnfinishedRolloutTime)
			assert.Equal(t, !c.forever, len(b.restart(auto()).Restarted) == 1, "a rollout can hang because of the old value")
		})
	}
}

func TestOnlySoManyWorkloadsRestartAtOnce(t *testing.T) {
	var objects []client.Object
	for i := range 5 {
		objects = append(objects, deploymentWorkload(fmt.Sprint("d-", i), nil))
		other := deploymentWorkload(fmt.Sprint("o-", i), nil)
		other.Namespace = "team"
		objects = append(objects, other)
	}
	b := newClockBench(t, rollout.Config{MaxConcurrent: 4}, objects...)
	report := b.restart(auto())
	assert.Len(t, report.Restarted, 2, "one namespace gets half")
	assert.True(t, report.Unfinished)
	assert.False(t, report.NeedsSlot, "the restarted ones are followed")
	assert.Equal(t, "other restarts have not finished (limit 4)", report.Workloads[0].Pending)
	assert.False(t, b.restarter.HasFreeSlot("shop"))
	assert.True(t, b.restarter.HasFreeSlot("team"))
	team := auto()
	team.Namespace = "team"
	assert.Len(t, b.restart(team).Restarted, 1, "half of the rest")

	b.newProcess()
	report = b.restart(auto())
	assert.Empty(t, report.Restarted, "the next leader knows which restarts go on")
	b.restart(team)
	assert.False(t, b.restarter.HasFreeSlot("shop"))

	restarted := 2
	for range 10 {
		for i := range 5 {
			b.finish("shop", fmt.Sprint("d-", i))
			b.finish("team", fmt.Sprint("o-", i))
		}
		b.now = b.now.Add(10 * time.Second)
		report = b.restart(auto())
		restarted += len(report.Restarted)
		b.restart(team)
	}
	assert.Equal(t, 5, restarted)
	assert.False(t, report.Unfinished)
	for _, w := range report.Workloads {
		assert.Equal(t, rollout.Workload{Kind: "Deployment", Name: w.Name, IsCurrent: true}, w)
	}
	assert.Equal(t, map[string]int{"Deployment restarted": 10}, b.results)
	assert.True(t, b.restarter.HasFreeSlot("shop"))
}

func TestARolloutThatNeverEndsGivesItsSlotBack(t *testing.T) {
	b := newClockBench(t, rollout.Config{MaxConcurrent: 1}, deploymentWorkload("hangs", nil), deploymentWorkload("waits", nil))
	assert.Equal(t, []string{`Deployment "hangs"`}, b.restart(auto()).Restarted)
	b.now = b.now.Add(limits.UnfinishedRolloutTime - time.Second)
	report := b.restart(auto())
	assert.Empty(t, report.Restarted)
	b.now = b.now.Add(time.Second)
	report = b.restart(auto())
	assert.Equal(t, []string{`Deployment "waits"`}, report.Restarted)
	assert.Equal(t, map[string]int{"Deployment restarted": 2, "Deployment unfinished": 1}, b.results)
	require.NoError(t, b.Delete(t.Context(), deploymentWorkload("waits", nil)))
	b.now = b.now.Add(limits.UnfinishedRolloutTime + time.Second)
	assert.True(t, b.restarter.HasFreeSlot("shop"), "what was deleted holds no slot for ever")
}

func TestAWorkloadThatOnlyWaitsForASlotIsNotReadMeanwhile(t *testing.T) {
	b := newClockBench(t, rollout.Config{MaxConcurrent: 1}, deploymentWorkload("a", nil), deploymentWorkload("b", nil))
	change := auto()
	change.Targets = recipe.Restart{Workloads: []recipe.Workload{{Kind: "Deployment", Name: "a"}}}
	b.restart(change)
	change.Targets.Workloads[0].Name = "b"
	report := b.restart(change)
	assert.True(t, report.NeedsSlot)
	assert.True(t, report.Unfinished)
}

func TestWorkloadsAreListedSoManyTimesASecond(t *testing.T) {
	b := newClockBench(t, rollout.Config{}, deploymentWorkload("a", nil))
	done := 0
	for range 3 * limits.RestartPasses {
		if report := b.restart(auto()); !report.Postponed {
			done++
		} else {
			assert.Equal(t, rollout.Report{Unfinished: true, Postponed: true}, report)
		}
	}
	assert.Equal(t, limits.RestartPasses/2, done)
	team := auto()
	team.Namespace = "team"
	assert.False(t, b.restart(team).Postponed, "another namespace has its part")
}

func TestASelectorSelectsByLabels(t *testing.T) {
	labelled := func(name string, labels map[string]string) client.Object {
		return deploymentWorkload(name, func(d *appsv1.Deployment) { d.Labels = labels; d.Spec.Template.Spec = corev1.PodSpec{} })
	}
	b := newClockBench(t, rollout.Config{}, labelled("both", map[string]string{"app": "shop", "tier": "web"}), labelled("one", map[string]string{"app": "shop"}),
		labelled("none", nil), labelled("old", map[string]string{"app": "shop", "tier": "web", "old": ""}), labelled("named", nil))
	change := auto()
	change.Targets = recipe.Restart{Workloads: []recipe.Workload{{Kind: "Deployment", Name: "named"}, {Kind: "Deployment", Name: "both"}, {Kind: "Rollout", Name: "argo"}},
		Labels: []recipe.LabelCondition{{Key: "app", Operator: recipe.LabelIn, Values: []string{"shop"}}, {Key: "tier", Operator: recipe.LabelExists},
			{Key: "old", Operator: recipe.LabelDoesNotExist}, {Key: "tier", Operator: recipe.LabelNotIn, Values: []string{"db"}}}}
	report := b.restart(change)
	assert.Equal(t, []string{`Deployment "named"`, `Deployment "both"`}, report.Restarted)
	require.Len(t, report.Skipped, 1)
	assert.Contains(t, report.Skipped[0], "controller.rolloutRestart.argoRollouts")
	assert.Equal(t, 1, b.results["Rollout skipped"])
	change.Again = true
	b.restart(change)
	assert.Equal(t, 1, b.results["Rollout skipped"], "once a change")
	change.Targets = recipe.Restart{Labels: []recipe.LabelCondition{{Key: "app", Operator: "Near"}}}
	_, err := b.restarter.Restart(t.Context(), change)
	assert.ErrorContains(t, err, "spec.rolloutRestart.selector")
}

func TestReferencesAreFoundWhereverPodsTakeTheirEnvironment(t *testing.T) {
	pod := func(c corev1.Container) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) { d.Spec.Template.Spec = corev1.PodSpec{Containers: []corev1.Container{c}} }
	}
	variable := func(from corev1.EnvVarSource) corev1.Container {
		return corev1.Container{Env: []corev1.EnvVar{{Name: "A", ValueFrom: &from}}}
	}
	named := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	field := func(path string) corev1.EnvVarSource {
		return corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	annotated := func(key, value string, c corev1.Container) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			pod(c)(d)
			d.Spec.Template.Annotations = map[string]string{key: value}
			d.Spec.Template.Labels = map[string]string{"label": "db@azurekeyvault"}
		}
	}
	for name, c := range map[string]struct {
		edit func(*appsv1.Deployment)
		want bool
	}{
		"all of a ConfigMap":          {pod(corev1.Container{EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("with")}}}}), true},
		"all of a Secret":             {pod(corev1.Container{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("with")}}}}), true},
		"all of another ConfigMap":    {pod(corev1.Container{EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("without")}}}}), false},
		"all of one that is missing":  {pod(corev1.Container{EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("no")}}, {SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("no")}}, {}}}), false},
		"a key of a ConfigMap":        {pod(variable(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("with"), Key: "ref"}})), true},
		"another key of it":           {pod(variable(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("with"), Key: "text"}})), false},
		"a key of a Secret":           {pod(variable(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("with"), Key: "ref"}})), true},
		"another key of the Secret":   {pod(variable(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("with"), Key: "text"}})), false},
		"an annotation":               {annotated("x/a", "db@azurekeyvault?k", variable(field("metadata.annotations['x/a']"))), true},
		"another annotation":          {annotated("x/a", "db@azurekeyvault?k", variable(field("metadata.annotations['x/b']"))), false},
		"a label":                     {annotated("x/a", "", variable(field("metadata.labels['label']"))), true},
		"another field":               {annotated("x/a", "", variable(field("metadata.name"))), false},
		"files":                       {annotated("akv2k8s.io/files", "/etc/db: db@azurekeyvault?tls.key, /etc/b: other@azurekeyvault", corev1.Container{}), true},
		"files of one container":      {annotated("akv2k8s.io/files.app", `{"a":"db@azurekeyvault"}`, corev1.Container{}), true},
		"files of another resource":   {annotated("akv2k8s.io/files", "my-db@azurekeyvault", corev1.Container{}), false},
		"an annotation of other name": {annotated("akv2k8s.io/filesystem", "db@azurekeyvault", corev1.Container{}), false},
	} {
		t.Run(name, func(t *testing.T) {
			data := map[string]string{"ref": " db@azurekeyvault?user\n", "text": "see db@azurekeyvault", "mail": "a@b.example"}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "with"}, Data: map[string][]byte{}}
			for key, value := range data {
				secret.Data[key] = []byte(value)
			}
			b := newClockBench(t, rollout.Config{}, deploymentWorkload("d", c.edit), secret, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "with"}, Data: data},
				&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "without"}, Data: map[string]string{"ref": "other@azurekeyvault"}})
			assert.Equal(t, c.want, len(b.restart(auto()).Restarted) == 1)
		})
	}
}

func TestSourcesAreReadOnceAndOnlyForWorkloadsThatAllowRestarts(t *testing.T) {
	uses := func(name string, sources int) client.Object {
		return deploymentWorkload(name, func(d *appsv1.Deployment) {
			c := corev1.Container{}
			for i := range sources {
				c.EnvFrom = append(c.EnvFrom, corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: fmt.Sprint("c-", i)}}})
			}
			d.Spec.Template.Spec = corev1.PodSpec{Containers: []corev1.Container{c}}
		})
	}
	locked := uses("locked", 3)
	locked.SetAnnotations(nil)
	b := newClockBench(t, rollout.Config{}, uses("a", 2), uses("b", 3), locked)
	reads := 0
	count := interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if reads++; key.Name == "c-300" {
			return errors.New("canary-of-a-value")
		}
		return c.Get(ctx, key, o, opts...)
	}}
	b.config.APIReader = interceptor.NewClient(b.WithWatch, count)
	b.newProcess()
	b.restart(auto())
	assert.Equal(t, 3, reads)
	require.NoError(t, b.Create(t.Context(), uses("many", limits.RestartSources+50)))
	reads = 0
	report := b.restart(auto())
	assert.Equal(t, limits.RestartSources, reads)
	require.Len(t, report.Skipped, 1)
	assert.Contains(t, report.Skipped[0], "more than 200 ConfigMaps and Secrets")
	assert.Empty(t, b.results)
}

func TestASourceThatCannotBeReadIsTriedAgain(t *testing.T) {
	for _, from := range []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "x"}}},
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "x"}}}} {
		b := newClockBench(t, rollout.Config{}, deploymentWorkload("d", func(d *appsv1.Deployment) {
			d.Spec.Template.Spec = corev1.PodSpec{Containers: []corev1.Container{{EnvFrom: []corev1.EnvFromSource{from}}}}
		}))
		b.config.APIReader = interceptor.NewClient(b.WithWatch, interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("canary-of-a-value")
		}})
		b.newProcess()
		_, err := b.restarter.Restart(t.Context(), auto())
		assert.ErrorContains(t, err, "shop/x")
		assert.NotContains(t, err.Error(), "canary")
	}
}

// argo returns a Rollout whose pods have the Secret "out" as a volume.
func argo(name string, edit func(*unstructured.Unstructured)) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"volumes": []any{map[string]any{"name": "v", "secret": map[string]any{"secretName": "out"}}}}}}, "status": map[string]any{"phase": "Healthy"}}}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout"})
	o.SetNamespace("shop")
	o.SetName(name)
	o.SetAnnotations(map[string]string{"akv2k8s.io/restart": "true"})
	o.SetCreationTimestamp(metav1.NewTime(changed.Add(-time.Hour)))
	if edit != nil {
		edit(o)
	}
	return o
}

func TestRolloutsOfArgoRestartAsArgoRestartsThem(t *testing.T) {
	set := func(value any, path ...string) func(*unstructured.Unstructured) {
		return func(o *unstructured.Unstructured) {
			require.NoError(t, unstructured.SetNestedField(o.Object, value, path...))
		}
	}
	for name, c := range map[string]struct {
		edit    func(*unstructured.Unstructured)
		pending string
	}{
		"healthy":           {nil, "its pods are being replaced"},
		"degraded":          {set("Degraded", "status", "phase"), "its pods are being replaced"},
		"restarted before":  {set("2020-01-01T00:00:00Z", "spec", "restartAt"), "its last rollout has not finished"},
		"paused":            {set(true, "spec", "paused"), "it is paused"},
		"paused at a step":  {set("Paused", "status", "phase"), "it is paused"},
		"progressing":       {set("Progressing", "status", "phase"), "its last rollout has not finished"},
		"not willing":       {func(o *unstructured.Unstructured) { o.SetAnnotations(nil) }, `it has no annotation akv2k8s.io/restart: "true"`},
		"restarted since":   {set("2026-01-02T03:04:06Z", "spec", "restartAt"), "its pods are being replaced"},
		"of a bad template": {set("none", "spec", "template", "spec"), "absent"},
		"of another object": {func(o *unstructured.Unstructured) { unstructured.RemoveNestedField(o.Object, "spec", "template") }, "absent"},
		"with a workloadRef": {func(o *unstructured.Unstructured) {
			unstructured.RemoveNestedField(o.Object, "spec", "template")
			set(map[string]any{"kind": "Deployment", "name": "base"}, "spec", "workloadRef")(o)
		}, "its pods are being replaced"},
	} {
		t.Run(name, func(t *testing.T) {
			base := deploymentWorkload("base", func(d *appsv1.Deployment) { d.Annotations = nil })
			b := newClockBench(t, rollout.Config{ArgoRollouts: true}, argo("r", c.edit), base)
			b.now = now.Add(300 * time.Millisecond)
			pending := "absent"
			for _, w := range b.restart(auto()).Workloads {
				if w.Kind == "Rollout" {
					pending = w.Pending
				}
			}
			assert.Equal(t, c.pending, pending)
		})
	}
	b := newClockBench(t, rollout.Config{ArgoRollouts: true}, argo("r", nil))
	b.now = now.Add(300 * time.Millisecond)
	change := auto()
	change.ChangedAt = b.now.Add(-time.Millisecond)
	change.Targets = recipe.Restart{Workloads: []recipe.Workload{{Kind: "Rollout", Name: "r"}, {Kind: "Rollout", Name: "none"}}}
	report := b.restart(change)
	assert.Equal(t, []string{`Rollout "r"`}, report.Restarted)
	assert.Equal(t, []string{`Rollout "none" does not exist`}, report.Skipped)
	live := argo("r", nil)
	require.NoError(t, b.Get(t.Context(), client.ObjectKeyFromObject(live), live))
	at, _, _ := unstructured.NestedString(live.Object, "spec", "restartAt")
	assert.Equal(t, "2026-01-02T03:04:36Z", at, "rounded up, or it would be before the change")
	report = b.restart(change)
	assert.Empty(t, report.Restarted)
	assert.True(t, report.Unfinished)
	set(at, "status", "restartedAt")(live)
	require.NoError(t, b.Update(t.Context(), live))
	assert.False(t, b.restart(change).Unfinished)
}

func TestAClusterWithoutArgoHasNoRollouts(t *testing.T) {
	b := newClockBench(t, rollout.Config{ArgoRollouts: true}, deploymentWorkload("d", nil))
	missing := &apimeta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "argoproj.io", Kind: "Rollout"}}
	b.config.APIReader = interceptor.NewClient(b.WithWatch, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, ok := list.(runtime.Unstructured); ok {
				return missing
			}
			return c.List(ctx, list, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(runtime.Unstructured); ok {
				return missing
			}
			return c.Get(ctx, key, o, opts...)
		}})
	b.newProcess()
	assert.Equal(t, []string{`Deployment "d"`}, b.restart(auto()).Restarted)
	change := auto()
	change.Targets = recipe.Restart{Workloads: []recipe.Workload{{Kind: "Rollout", Name: "r"}}}
	assert.Equal(t, []string{`Rollout "r" does not exist`}, b.restart(change).Skipped)
}

func TestARestarterNeedsItsParts(t *testing.T) {
	b := newClockBench(t, rollout.Config{})
	for name, remove := range map[string]func(*rollout.Config){
		"APIReader": func(c *rollout.Config) { c.APIReader = nil }, "Writer": func(c *rollout.Config) { c.Writer = nil },
		"Clock": func(c *rollout.Config) { c.Clock = nil }, "MaxConcurrent": func(c *rollout.Config) { c.MaxConcurrent = 0 },
	} {
		part := b.config
		remove(&part)
		_, err := rollout.New(part)
		require.EqualError(t, err, "rollout.New: missing or invalid: "+name)
	}
}

func TestAFailedRestartHoldsNoSlot(t *testing.T) {
	b := newClockBench(t, rollout.Config{MaxConcurrent: 1}, deploymentWorkload("a", nil))
	b.config.Writer = interceptor.NewClient(b.WithWatch, interceptor.Funcs{Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
		return errors.New("away")
	}})
	b.newProcess()
	_, err := b.restarter.Restart(t.Context(), auto())
	require.Error(t, err)
	assert.True(t, b.restarter.HasFreeSlot("shop"))
	assert.Equal(t, map[string]int{"Deployment failed": 1}, b.results)
}
