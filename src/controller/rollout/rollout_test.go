package rollout_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// changed is the time at which the data changed; now is the time of the restart.
var (
	changed = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now     = changed.Add(30 * time.Second)
)

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.NewTime(changed.Add(-time.Hour)),
		Annotations: map[string]string{"akv2k8s.io/restart": "true"}}
}

// template returns a pod template that has the Secret "out" as a volume.
func template() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"own": "1"}},
		Spec: corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "out"}}}}}}
}

func deploymentWorkload(name string, edit func(*appsv1.Deployment)) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: meta(name), Spec: appsv1.DeploymentSpec{Template: template()},
		Status: appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}}
	if edit != nil {
		edit(d)
	}
	return d
}

func auto() rollout.Change {
	return rollout.Change{Namespace: "shop", Resource: "db", ChangedAt: changed, Targets: recipe.Restart{Auto: true},
		Outputs: map[output.Kind]string{output.Secret: "out", output.ConfigMap: "public"}}
}

func restarter(objects ...client.Object) (*rollout.Restarter, client.WithWatch) {
	c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objects...).Build()
	r, err := rollout.New(rollout.Config{APIReader: c, Writer: c, Clock: func() time.Time { return now }, MaxConcurrent: 10})
	if err != nil {
		panic(err)
	}
	return r, c
}

func TestEveryKindOfWorkloadThatUsesTheOutputIsRestartedOnce(t *testing.T) {
	r, c := restarter(deploymentWorkload("d", nil), &appsv1.StatefulSet{ObjectMeta: meta("s"), Spec: appsv1.StatefulSetSpec{Template: template()}},
		&appsv1.DaemonSet{ObjectMeta: meta("ds"), Spec: appsv1.DaemonSetSpec{Template: template()}})
	report, err := r.Restart(t.Context(), auto())
	require.NoError(t, err)
	assert.Equal(t, []string{`Deployment "d"`, `StatefulSet "s"`, `DaemonSet "ds"`}, report.Restarted)
	assert.Empty(t, report.Skipped)
	assert.True(t, report.Unfinished, "the pods are being replaced")
	var d appsv1.Deployment
	require.NoError(t, c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "d"}, &d))
	assert.Equal(t, map[string]string{"own": "1", "akv2k8s.io/restartedAt": "2026-01-02T03:04:35Z"}, d.Spec.Template.Annotations)
	assert.Equal(t, template().Spec, d.Spec.Template.Spec)
	report, err = r.Restart(t.Context(), auto())
	require.NoError(t, err)
	assert.Empty(t, report.Restarted, "the same change again")
	second := auto()
	second.ChangedAt = changed.Add(10 * time.Second)
	report, err = r.Restart(t.Context(), second)
	require.NoError(t, err)
	assert.Empty(t, report.Restarted, "another resource's change of the same batch")
	second.ChangedAt = now.Add(time.Second)
	report, err = r.Restart(t.Context(), second)
	require.NoError(t, err)
	assert.Len(t, report.Restarted, 3, "a later change")
}

func TestWhoTakesPart(t *testing.T) {
	variable := func(v corev1.EnvVar) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			d.Spec.Template.Spec = corev1.PodSpec{Containers: []corev1.Container{{Env: []corev1.EnvVar{v}}}}
		}
	}
	from := func(s corev1.EnvFromSource) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			d.Spec.Template.Spec = corev1.PodSpec{InitContainers: []corev1.Container{{EnvFrom: []corev1.EnvFromSource{s}}}}
		}
	}
	volume := func(v corev1.VolumeSource) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			d.Spec.Template.Spec = corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: v}}}
		}
	}
	named := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	for name, c := range map[string]struct {
		edit func(*appsv1.Deployment)
		want bool
	}{
		"a volume":                   {nil, true},
		"a volume of a ConfigMap":    {volume(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named("public")}}), true},
		"a projected volume":         {volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: named("out")}}}}}), true},
		"a projected ConfigMap":      {volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("public")}}}}}), true},
		"a variable":                 {variable(corev1.EnvVar{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("out")}}}), true},
		"a variable of a ConfigMap":  {variable(corev1.EnvVar{ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("public")}}}), true},
		"all variables":              {from(corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("out")}}), true},
		"all variables, a ConfigMap": {from(corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("public")}}), true},
		"a reference":                {variable(corev1.EnvVar{Value: "db@azurekeyvault?x"}), true},
		"another's reference":        {variable(corev1.EnvVar{Value: "dbx@azurekeyvault"}), false},
		"another Secret":             {volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "public"}}), false},
		"a variable of another Secret": {variable(corev1.EnvVar{ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("public")}}}), false},
		"a variable of another ConfigMap": {variable(corev1.EnvVar{ValueFrom: &corev1.EnvVarSource{
			ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("out")}}}), false},
		"all variables of another Secret": {from(corev1.EnvFromSource{
			SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("public")}}), false},
		"all variables of another ConfigMap": {from(corev1.EnvFromSource{
			ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("out")}}), false},
		"a volume of another ConfigMap": {volume(corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named("out")}}), false},
		"a projected volume of others": {volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: named("public")}},
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("out")}}}}}), false},
		"a variable of nothing":  {variable(corev1.EnvVar{ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{}}}), false},
		"an empty directory":     {volume(corev1.VolumeSource{}), false},
		"not willing":            {func(d *appsv1.Deployment) { d.Annotations = nil }, false},
		"willing in other words": {func(d *appsv1.Deployment) { d.Annotations["akv2k8s.io/restart"] = "yes" }, false},
		"in another namespace":   {func(d *appsv1.Deployment) { d.Namespace = "other" }, false},
		"made since":             {func(d *appsv1.Deployment) { d.CreationTimestamp = metav1.NewTime(changed) }, false},
		"restarted since by kubectl": {func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] = "2026-01-02T04:04:10+01:00"
		}, false},
		"restarted before by kubectl": {func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] = "2026-01-02T03:04:04Z"
		}, true},
		"with a time that is none": {func(d *appsv1.Deployment) { d.Spec.Template.Annotations["akv2k8s.io/restartedAt"] = "never" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := restarter(deploymentWorkload("d", c.edit))
			report, err := r.Restart(t.Context(), auto())
			require.NoError(t, err)
			assert.Equal(t, c.want, len(report.Restarted) == 1)
			assert.Empty(t, report.Skipped)
		})
	}
}

func TestNamedWorkloadsAreRestartedOrTheReasonIsTold(t *testing.T) {
	other := func(d *appsv1.Deployment) { d.Spec.Template.Spec = corev1.PodSpec{} }
	r, _ := restarter(deploymentWorkload("uses-nothing", other), deploymentWorkload("unnamed", nil), deploymentWorkload("unwilling", func(d *appsv1.Deployment) { d.Annotations = nil }),
		&appsv1.DaemonSet{ObjectMeta: meta("ds")}, &appsv1.StatefulSet{ObjectMeta: meta("s")})
	change := auto()
	change.Targets = recipe.Restart{Workloads: []recipe.Workload{{Kind: "Deployment", Name: "uses-nothing"}, {Kind: "Deployment", Name: "unwilling"},
		{Kind: "StatefulSet", Name: "gone"}, {Kind: "StatefulSet", Name: "s"}, {Kind: "DaemonSet", Name: "ds"}}}
	report, err := r.Restart(t.Context(), change)
	require.NoError(t, err)
	assert.Equal(t, []string{`Deployment "uses-nothing"`, `StatefulSet "s"`, `DaemonSet "ds"`}, report.Restarted)
	assert.Equal(t, []string{`StatefulSet "gone" does not exist`, `Deployment "unwilling" has no annotation akv2k8s.io/restart: "true"`}, report.Skipped)
}

func TestAFailureSaysWhatWasDoneBefore(t *testing.T) {
	r, c := restarter(deploymentWorkload("a", nil), deploymentWorkload("b", nil))
	r.Writer = interceptor.NewClient(c, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		if o.GetName() == "b" {
			return errors.New("away")
		}
		return c.Patch(ctx, o, p, opts...)
	}})
	report, err := r.Restart(t.Context(), auto())
	assert.ErrorContains(t, err, "restarting Deployment shop/b: the request to the API server failed")
	assert.Equal(t, []string{`Deployment "a"`}, report.Restarted)
	r.APIReader = interceptor.NewClient(c, interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("no list")
		},
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("no get")
		},
	})
	_, err = r.Restart(t.Context(), auto())
	assert.ErrorContains(t, err, "no list")
	change := auto()
	change.Targets = recipe.Restart{Workloads: []recipe.Workload{{Kind: "Deployment", Name: "a"}}}
	_, err = r.Restart(t.Context(), change)
	assert.ErrorContains(t, err, "reading Deployment shop/a: no get")
}

func TestPodsThatNameNothingDoNotUseAnOutputThatIsNotMade(t *testing.T) {
	nothing := deploymentWorkload("d", func(d *appsv1.Deployment) {
		d.Spec.Template.Spec = corev1.PodSpec{Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}},
			{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}}}}
	})
	r, _ := restarter(nothing)
	change := auto()
	change.Outputs = nil
	report, err := r.Restart(t.Context(), change)
	require.NoError(t, err)
	assert.Empty(t, report.Workloads)
}

func TestAWorkloadThatGoesMeanwhileKeepsTheOthersNotBack(t *testing.T) {
	r, c := restarter(deploymentWorkload("a", nil), deploymentWorkload("b", nil))
	r.Writer = interceptor.NewClient(c, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object,
		p client.Patch, opts ...client.PatchOption) error {
		if o.GetName() == "a" {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "deployments"}, "a")
		}
		return c.Patch(ctx, o, p, opts...)
	}})
	report, err := r.Restart(t.Context(), auto())
	require.NoError(t, err)
	assert.Contains(t, report.Restarted, `Deployment "b"`)
}
