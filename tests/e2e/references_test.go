//go:build cluster

package e2e

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// overheard keeps the warnings of the API server.
type overheard struct {
	mu    sync.Mutex
	texts []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (o *overheard) HandleWarningHeader(_ int, _, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.texts = append(o.texts, text)
}

// take gives the warnings about references since the last call.
func (o *overheard) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var ours []string
	for _, text := range o.texts {
		if strings.Contains(text, "-references") {
			ours = append(ours, text)
		}
	}
	o.texts = nil
	return strings.Join(ours, "\n")
}

// referencesAreWarnedAbout applies what refers to Key Vault where nothing is injected, by dry run.
func referencesAreWarnedAbout(t *testing.T) {
	heard := &overheard{}
	config := rest.CopyConfig(s.REST)
	config.WarningHandler = heard
	c, err := client.New(config, client.Options{Scheme: s.Client.Scheme()})
	require.NoError(t, err)
	dry := client.NewDryRunClient(c)

	labelled := newTeam(t).namespace
	plain := "plain-" + labelled
	require.NoError(t, s.Namespace(t.Context(), plain, nil))
	template := func(value string) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways,
			Containers: []corev1.Container{{Name: "web", Image: "web", Env: []corev1.EnvVar{{Name: "DB", Value: value}}}}}}
	}
	deployment := func(namespace, value string) client.Object {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
			Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template(value)}}
	}
	says := func(object client.Object) string {
		require.NoError(t, dry.Create(t.Context(), object), "nothing is refused")
		return heard.take()
	}
	once := template("db@azurekeyvault")
	once.Spec.RestartPolicy = corev1.RestartPolicyNever
	for kind, object := range map[string]client.Object{
		"Deployment": deployment(plain, "db@azurekeyvault"),
		"Pod":        &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: plain, Name: "web"}, Spec: template("db@azurekeyvault").Spec},
		"CronJob": &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: plain, Name: "web"},
			Spec: batchv1.CronJobSpec{Schedule: "0 0 * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: once}}}},
	} {
		text := says(object)
		assert.Contains(t, text, "container web (DB)", kind)
		assert.Contains(t, text, "kubectl label namespace "+plain+" azure-key-vault-env-injection=enabled", kind)
	}
	assert.Contains(t, says(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: plain, Name: "settings"}, Data: map[string]string{"DB": "db@azurekeyvault"}}), "keys DB")
	assert.Contains(t, says(deployment(labelled, "a b@azurekeyvault")), "is not a valid reference to Azure Key Vault")
	assert.Empty(t, says(deployment(labelled, "db@azurekeyvault")))
	assert.Empty(t, says(deployment(plain, "text")))
	for namespace, want := range map[string]string{plain: "the pod would start without the files of its annotation akv2k8s.io/files, because ", labelled: ""} {
		with := deployment(namespace, "text").(*appsv1.Deployment)
		with.Spec.Template.Annotations = map[string]string{"akv2k8s.io/files.web": "/etc/app/db: db@azurekeyvault"}
		assert.Contains(t, says(with), want)
		if want == "" {
			assert.Empty(t, says(with))
		}
	}
}
