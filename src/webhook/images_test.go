package webhook_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// unreachable reads images from registries that do not answer. It records the questions.
type unreachable struct {
	mu    sync.Mutex
	asked []ociimage.Query
}

func (u *unreachable) ReadCommand(_ context.Context, q ociimage.Query) (ociimage.Command, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, q)
	return ociimage.Command{}, fault.New(fault.Unavailable, "the registry could not be reached")
}

// TestRegistriesOfOnePodAreBounded is an attack with 200 registries that do not answer. It once took the webhook 20
// seconds.
func TestRegistriesOfOnePodAreBounded(t *testing.T) {
	env := []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}}
	later := []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "later"}}}}
	containers := func(n int, of corev1.Container) (all []corev1.Container) {
		for i := range n {
			of.Name, of.Image = fmt.Sprint("c", i), fmt.Sprintf("r%d.test/app:1", i)
			all = append(all, of)
		}
		return all
	}
	b := newBench(t)
	b.webhook.ReviewTimeout = time.Minute
	images := &unreachable{}
	b.webhook.Images = images

	response := b.admit(containers(200, corev1.Container{Env: env})...)
	require.False(t, response.Allowed)
	assert.Contains(t, response.Result.Message, `container "c8": the pod needs the commands of images from more than 8 registries, and registry r8.test is beyond this limit; set the container's command`)
	assert.Empty(t, images.asked, "nothing is asked for a pod that is refused anyway")

	response = b.admit(containers(200, corev1.Container{EnvFrom: later})...)
	assert.True(t, response.Allowed, "what is only wrapped as a precaution does not keep the pod out")
	assert.Len(t, images.asked, limits.ImageRegistriesPerPod)
	assert.NotEmpty(t, response.Warnings)

	images.asked = nil
	response = b.admit(append(containers(limits.ImageRegistriesPerPod, corev1.Container{EnvFrom: later}),
		corev1.Container{Name: "needed", Image: "needed.test/app:1", Env: env})...)
	assert.Contains(t, response.Result.Message, `container "needed": the registry could not be reached`, "what is needed is asked for first")

	images.asked = nil
	again := containers(limits.ImageRegistriesPerPod+1, corev1.Container{Env: env})
	again[limits.ImageRegistriesPerPod].Image = "r0.test/other:1"
	response = b.admit(again...)
	assert.NotContains(t, response.Result.Message, "beyond this limit", "another image of a registry that is asked anyway")

	images.asked = nil
	same := containers(20, corev1.Container{Env: env})
	for i := range same {
		same[i].Image = fmt.Sprintf("r.test/app%d:1", i)
	}
	b.admit(same...)
	assert.Len(t, images.asked, 20, "images of one registry are not bounded by it")
}

func TestPullSecretsOfOnePodAreBounded(t *testing.T) {
	b := newBench(t)
	images := &unreachable{}
	b.webhook.Images = images
	for n := range 100 {
		name := fmt.Sprint("pull", n)
		require.NoError(t, b.live.Create(t.Context(), &corev1.Secret{ObjectMeta: object(name)}))
		b.pod.Spec.ImagePullSecrets = append(b.pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	elsewhere := object("elsewhere")
	elsewhere.Namespace = "other"
	require.NoError(t, b.live.Create(t.Context(), &corev1.Secret{ObjectMeta: elsewhere}))
	app := corev1.Container{Name: "app", Image: "r.test/app:1", Env: []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}}}
	b.admit(app)
	require.Len(t, images.asked, 1)
	assert.Len(t, images.asked[0].PullSecrets, limits.ImagePullSecrets)
	assert.Equal(t, "team", images.asked[0].Namespace)
	assert.Contains(t, b.log.String(), "68 more")

	b.pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "elsewhere"}}
	b.admit(app)
	assert.Empty(t, images.asked[1].PullSecrets, "a pull secret of another namespace is not read")
}
