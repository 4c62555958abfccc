package vaultclient

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/fault"
	kv "github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// cycleTime is the refresh interval in these tests.
const cycleTime = time.Minute

// TestAThousandUnchangedObjectsCostTheirListAlone uses the whole stack: all steps of a read, SDK, TLS, and a vault with
// paged lists.
func TestAThousandUnchangedObjectsCostTheirListAlone(t *testing.T) {
	var later atomic.Int64
	a, r := running(t, Config{CacheTTL: time.Minute, clock: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
	for i := range 1000 {
		a.Vaults.PutSecret("kv1", fmt.Sprintf("s-%d", i), keyvault.Secret{Value: fmt.Sprint("value ", i)})
	}
	time.Sleep(3 * time.Second) // a later change must get a different date
	cycle := func(p kv.Priority) map[int]string {
		t.Helper()
		a.ResetCounters()
		values := make([]string, 1000)
		ctx := kv.WithPurpose(t.Context(), kv.Purpose{Namespace: "n", Priority: p, RefreshInterval: cycleTime})
		var group errgroup.Group
		group.SetLimit(16)
		for i := range values {
			group.Go(func() error {
				object, err := r.Read(ctx, secret(i), time.Second)
				values[i] = string(object.Value.Reveal()) + string(fault.KindOf(err))
				return nil
			})
		}
		require.NoError(t, group.Wait())
		other := map[int]string{}
		for i, value := range values {
			if value != fmt.Sprint("value ", i) {
				other[i] = value
			}
		}
		later.Add(int64(cycleTime))
		return other
	}
	calls := func() [2]int {
		c := a.Counters()
		gets := 0
		for name, n := range c {
			if strings.HasPrefix(name, "kv1 get ") {
				gets += n
			}
		}
		return [2]int{gets, c["kv1 list 200"] + c["kv1 list 403"]}
	}
	assert.Empty(t, cycle(kv.PriorityFirstSync))
	assert.Equal(t, [2]int{1000, 0}, calls())
	for range 2 {
		assert.Empty(t, cycle(kv.PriorityRefresh))
		gets, lists := calls()[0], calls()[1]
		assert.Equal(t, 41, lists, "forty pages and the empty one")
		assert.Less(t, gets, 10, "those whose daily read it is")
	}
	a.Vaults.PutSecret("kv1", "s-7", keyvault.Secret{Value: "rotated"})
	a.Vaults.ChangeSecret("kv1", "s-8", func(s *keyvault.Secret) { s.Disabled = true })
	a.Vaults.DeleteSecret("kv1", "s-9")
	assert.Equal(t, map[int]string{7: "rotated", 8: "Disabled", 9: "NotFound"}, cycle(kv.PriorityRefresh))
	assert.Equal(t, 2*40, calls()[1], "a list that lacks what the last one had is read once more")
	assert.Less(t, calls()[0], 3+10)
	a.Vaults.SetPermissions("kv1", azuretest.AppObjectID, []string{"get"})
	assert.Equal(t, map[int]string{7: "rotated", 8: "Disabled", 9: "NotFound"}, cycle(kv.PriorityRefresh))
	assert.Equal(t, [2]int{1000, 1}, calls(), "without permission to list, each object is read")
	cycle(kv.PriorityRefresh)
	assert.Equal(t, [2]int{1000, 0}, calls(), "and the list is not asked for again")
}
