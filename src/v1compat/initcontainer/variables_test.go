package initcontainer_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/akv2k8s/akv2k8s/src/v1compat/initcontainer"
)

const (
	security  = "WEBHOOK_CONTAINER_SECURITY_CONTEXT_"
	resources = "WEBHOOK_INIT_CONTAINER_"
)

func lookupIn(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { value, ok := env[name]; return value, ok }
}

func TestEachVariableHasItsField(t *testing.T) {
	user, group, readOnly := int64(2000), int64(0), false
	for name, c := range map[string]struct {
		env  map[string]string
		want initcontainer.Settings
	}{
		"nothing": {},
		"security": {map[string]string{security + "USER_UID": "2000", security + "GROUP_GID": "0", security + "READ_ONLY": "false"},
			initcontainer.Settings{RunAsUser: &user, RunAsGroup: &group, ReadOnlyRootFilesystem: &readOnly}},
		"resources": {map[string]string{resources + "REQUESTS_CPU": "7m", resources + "REQUESTS_MEMORY": "20Mi", resources + "LIMITS_MEMORY": "99Mi"},
			initcontainer.Settings{Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("7m"), "memory": resource.MustParse("20Mi")},
				Limits:   corev1.ResourceList{"memory": resource.MustParse("99Mi")}}}},
		"root": {map[string]string{security + "USER_UID": "0"},
			initcontainer.Settings{Warnings: []string{security + "USER_UID=0 is ignored: the init container never runs as root"}}},
		"privileged": {map[string]string{security + "PRIVILEGED": "true"},
			initcontainer.Settings{Warnings: []string{security + "PRIVILEGED=true is ignored: the init container always passes the restricted Pod Security Standard"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := initcontainer.Read(lookupIn(c.env))
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestEachInvalidVariableIsNamed(t *testing.T) {
	env := map[string]string{security + "USER_UID": "-1", security + "GROUP_GID": "x", security + "READ_ONLY": "maybe", resources + "LIMITS_MEMORY": "much"}
	_, err := initcontainer.Read(lookupIn(env))
	for name := range env {
		assert.ErrorContains(t, err, name)
	}
}

func TestResourcesThatAreSetStay(t *testing.T) {
	s, err := initcontainer.Read(lookupIn(map[string]string{resources + "REQUESTS_CPU": "7m", resources + "REQUESTS_MEMORY": "20Mi"}))
	require.NoError(t, err)
	into := corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("9m")}}
	s.AddResources(&into)
	assert.Equal(t, corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("9m"), "memory": resource.MustParse("20Mi")}}, into)
}
