//go:build !nov1compat

package envinjector

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/akv2k8s/akv2k8s/src/program"
	"github.com/akv2k8s/akv2k8s/src/webhook/initcontainer"
)

func TestVariablesOfV1HoldForTheInitContainerWithinTheRestrictedStandard(t *testing.T) {
	group := int64(0)
	quantities := func(pairs ...string) corev1.ResourceList {
		list := corev1.ResourceList{}
		for i := 0; i < len(pairs); i += 2 {
			list[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
		}
		return list
	}
	for name, c := range map[string]struct {
		env   map[string]string
		value string
		want  initcontainer.Settings
		warns []string
	}{
		"nothing": {},
		"requests and limits": {env: map[string]string{"WEBHOOK_INIT_CONTAINER_REQUESTS_CPU": "7m", "WEBHOOK_INIT_CONTAINER_REQUESTS_MEMORY": "20Mi", "WEBHOOK_INIT_CONTAINER_LIMITS_MEMORY": "99Mi"},
			want: initcontainer.Settings{Resources: corev1.ResourceRequirements{Requests: quantities("cpu", "7m", "memory", "20Mi"), Limits: quantities("memory", "99Mi")}}},
		"a user, a group, a root that can be written to": {env: map[string]string{"WEBHOOK_CONTAINER_SECURITY_CONTEXT_USER_UID": "2000", "WEBHOOK_CONTAINER_SECURITY_CONTEXT_GROUP_GID": "0",
			"WEBHOOK_CONTAINER_SECURITY_CONTEXT_READ_ONLY": "false"}, want: initcontainer.Settings{RunAsUser: 2000, RunAsGroup: &group, WritableRoot: true}},
		"what is so anyway": {env: map[string]string{"WEBHOOK_CONTAINER_SECURITY_CONTEXT_NON_ROOT": "true", "WEBHOOK_CONTAINER_SECURITY_CONTEXT_PRIVILEGED": "false",
			"WEBHOOK_CONTAINER_SECURITY_CONTEXT_ALLOW_PRIVILEGE_ESCALATION": "false", "WEBHOOK_CONTAINER_SECURITY_CONTEXT_SECCOMP_RUNTIME_DEFAULT": "true"}},
		"what is forbidden": {env: map[string]string{"WEBHOOK_CONTAINER_SECURITY_CONTEXT_NON_ROOT": "false", "WEBHOOK_CONTAINER_SECURITY_CONTEXT_PRIVILEGED": "true",
			"WEBHOOK_CONTAINER_SECURITY_CONTEXT_ALLOW_PRIVILEGE_ESCALATION": "true", "WEBHOOK_CONTAINER_SECURITY_CONTEXT_SECCOMP_RUNTIME_DEFAULT": "false",
			"WEBHOOK_CONTAINER_SECURITY_CONTEXT_USER_UID": "0"}, warns: []string{"PRIVILEGED=true is ignored", "ALLOW_PRIVILEGE_ESCALATION=true", "NON_ROOT=false", "SECCOMP_RUNTIME_DEFAULT=false", "USER_UID=0"}},
		"values come first": {env: map[string]string{"WEBHOOK_INIT_CONTAINER_REQUESTS_CPU": "7m", "WEBHOOK_CONTAINER_SECURITY_CONTEXT_USER_UID": "2000", "WEBHOOK_CONTAINER_SECURITY_CONTEXT_READ_ONLY": "false"},
			value: `{"resources":{"requests":{"cpu":"9m"}},"securityContext":{"runAsUser":3000,"readOnlyRootFilesystem":true}}`,
			want:  initcontainer.Settings{Resources: corev1.ResourceRequirements{Requests: quantities("cpu", "9m")}, RunAsUser: 3000}},
	} {
		t.Run(name, func(t *testing.T) {
			var value initContainerValue
			if c.value != "" {
				require.NoError(t, value.Set(c.value))
			}
			got, warnings, err := value.withV1Variables(func(name string) (string, bool) { text, ok := c.env[name]; return text, ok })
			require.NoError(t, err)
			assert.Equal(t, c.want, got.injectSettings())
			require.Len(t, warnings, len(c.warns))
			for i, text := range c.warns {
				assert.Contains(t, warnings[i], text)
			}
		})
	}
}

func TestWhatIsNoVariableOfV1IsRefusedByName(t *testing.T) {
	for variable, text := range map[string]string{"WEBHOOK_INIT_CONTAINER_REQUESTS_CPU": "much", "WEBHOOK_CONTAINER_SECURITY_CONTEXT_USER_UID": "me", "WEBHOOK_CONTAINER_SECURITY_CONTEXT_READ_ONLY": "maybe"} {
		_, _, err := initContainerValue{}.withV1Variables(func(name string) (string, bool) { return text, name == variable })
		assert.ErrorContains(t, err, variable)
	}
}

func TestThePullPolicyOfTheV1VariableComesFirst(t *testing.T) {
	for variable, want := range map[string]corev1.PullPolicy{"": corev1.PullIfNotPresent, "Always": corev1.PullAlways} {
		got, err := settingsOf(func(string) (string, bool) { return variable, true }, "IfNotPresent").initContainerPullPolicy()
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err := settingsOf(func(string) (string, bool) { return "Sometimes", true }, "IfNotPresent").initContainerPullPolicy()
	assert.ErrorContains(t, err, "remove WEBHOOK_CONTAINER_IMAGE_PULL_POLICY")
}

func TestAMigrationNeedsACluster(t *testing.T) {
	err := MigrateV1CA(t.Context(), Settings{Settings: program.Settings{Kubeconfig: "/no/such/file"}}, io.Discard)
	assert.ErrorContains(t, err, "finding the API server")
}
