//go:build nov1compat

package envinjector

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func TestWithoutV1ItsCommandAndItsProtocolAreRefused(t *testing.T) {
	assert.ErrorContains(t, MigrateV1CA(t.Context(), Settings{}, io.Discard), "without support for akv2k8s 1.8")
	_, err := Settings{v1AuthService: true}.newV1Handler(nil, nil, nil)
	assert.ErrorContains(t, err, "without support for akv2k8s 1.8")
	_, err = Settings{}.newV1Handler(nil, nil, nil)
	assert.NoError(t, err)
}

func TestWithoutV1ItsVariablesHaveNoEffect(t *testing.T) {
	lookup := func(string) (string, bool) { return "x", true }
	value, warnings, err := initContainerValue{}.withV1Variables(lookup)
	require.NoError(t, err)
	assert.Empty(t, warnings)
	assert.Equal(t, initContainerValue{}, value)
	policy, err := settingsOf(lookup, "Never").initContainerPullPolicy()
	require.NoError(t, err)
	assert.Equal(t, corev1.PullNever, policy)
}
