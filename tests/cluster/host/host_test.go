package host_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/cluster/host"
)

func TestClustersOfDifferentFoldersShareNoName(t *testing.T) {
	one, two := host.IDOf("/work/a"), host.IDOf("/work/b")
	assert.Equal(t, one, host.IDOf("/work/a"))
	assert.NotEqual(t, one, two)
	assert.NotEqual(t, one.Cgroup(), two.Cgroup())
	assert.NotEqual(t, one.Marker(), two.Marker())
	assert.LessOrEqual(t, len(one.Link()), 15, "the kernel takes no longer name of a link")
	subnet, err := one.Subnet()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, subnet, 0)
	assert.LessOrEqual(t, subnet, 255)
}

func TestNothingOfAClusterThatIsNotThereIsFound(t *testing.T) {
	folder := t.TempDir()
	assert.Empty(t, host.Processes(host.IDOf(folder), folder), "this test names the folder and is none of the cluster's processes")
	_, ok := host.Holder(host.IDOf(folder), folder)
	assert.False(t, ok)
}
