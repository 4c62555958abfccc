package fault_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

func TestRequireFieldsNamesEveryFieldThatIsMissing(t *testing.T) {
	require.NoError(t, fault.RequireFields("broker.New", map[string]bool{"Live": true, "Clock": true}))
	err := fault.RequireFields("broker.New", map[string]bool{"Live": false, "Clock": true, "Cached": false})
	require.EqualError(t, err, "broker.New: missing or invalid: Cached, Live")
	assert.Equal(t, fault.Bug, fault.KindOf(err))
}
