package broker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

func TestOneNamespaceCannotTakeThePlaceOfAllOthers(t *testing.T) {
	var l limits
	var leaves []func()
	pods := func(namespace string) (entered int, err error) {
		for i := range 2 * atOnce {
			leave, err := l.enter()
			require.NoError(t, err, "there is room for others")
			leaveAs, err := l.enterAs(caller{Namespace: namespace, UID: types.UID(fmt.Sprint(namespace, i))})
			if err != nil {
				leave()
				return i, err
			}
			leaves = append(leaves, leave, leaveAs)
		}
		return 2 * atOnce, nil
	}
	entered, err := pods("greedy")
	assert.Equal(t, atOncePerNamespace, entered)
	assert.Equal(t, fault.Throttled, fault.KindOf(err))
	assert.ErrorContains(t, err, "namespace")
	assert.Positive(t, fault.RetryAfter(err))
	leaveAs, err := l.enterAs(caller{Namespace: "modest", UID: "m"})
	require.NoError(t, err)
	leaveAs()
	for _, leave := range leaves {
		leave()
	}
	assert.Zero(t, l.all)
	assert.Empty(t, l.namespaces, "nothing is remembered of those who left")
	assert.Empty(t, l.pods)
	leaves = nil
	entered, _ = pods("greedy")
	assert.Equal(t, atOncePerNamespace, entered)
}
