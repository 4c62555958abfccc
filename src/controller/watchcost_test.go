package controller_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cache"
	"github.com/akv2k8s/akv2k8s/src/keyvault/refresh"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// countedVault is a vault whose objects were changed an hour before the test, or now if they are in changed. It counts
// its calls.
type countedVault struct {
	objects     int
	before      time.Time
	changed     map[string]time.Time
	gets, lists int
}

func (v *countedVault) updated(name string) time.Time {
	if at, ok := v.changed[name]; ok {
		return at
	}
	return v.before
}

func (v *countedVault) Fetch(_ context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Kind.ItemKind() == "" {
		v.gets++
		updated := v.updated(ref.Name)
		return keyvault.Object{Ref: ref, Version: fmt.Sprint(updated.Unix()), Value: keyvault.NewValue([]byte(fmt.Sprint(ref.Name, updated))), Updated: updated,
			ResponseDate: time.Now().UTC().Truncate(time.Second)}, nil
	}
	v.lists++
	list := keyvault.Object{Ref: ref, Version: "list"}
	for i := range v.objects {
		name := fmt.Sprint("r-", i)
		list.Entries = append(list.Entries, keyvault.Entry{Name: name, Updated: v.updated(name)})
	}
	return list, nil
}

// steps are the steps of a read that decide between lists and single reads, in front of a vault.
type steps struct{ *refresh.Fetcher }

func (s steps) Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error) {
	purpose := keyvault.PurposeOf(ctx)
	purpose.MaxAge = maxAge
	return s.Fetch(keyvault.WithPurpose(ctx, purpose), ref)
}

// queue reconciles each resource when it is due, like the queue of the controller.
type queue struct {
	*bench
	due map[string]time.Time
}

// runFor reconciles for a time.
func (q *queue) runFor(length time.Duration) {
	q.Helper()
	for end := time.Now().Add(length); ; {
		next, at := "", end
		for name, due := range q.due {
			if due.Before(at) {
				next, at = name, due
			}
		}
		time.Sleep(time.Until(at)) // on the clock of synctest, which costs no time
		synctest.Wait()
		if q.now = time.Now(); next == "" {
			return
		}
		q.due[next] = time.Now().Add(q.reconcile(next).RequeueAfter)
	}
}

func TestResourcesThatOnlyPodsUseCostTheListsOfTheirVaultAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 400
		v := &countedVault{objects: many, before: time.Now().Add(-time.Hour).UTC().Truncate(time.Second), changed: map[string]time.Time{}}
		cached, err := cache.New(v, cache.Config{Clock: time.Now, CallTimeout: time.Minute, TTL: 15 * time.Second, Entries: limits.CachedAnswers, Bytes: limits.CachedAnswerBytes})
		require.NoError(t, err)
		refreshed, err := refresh.New(cached, refresh.Config{Clock: time.Now})
		require.NoError(t, err)
		var objects []client.Object
		q := &queue{due: map[string]time.Time{}}
		for i := range many {
			r := podsOnly(fmt.Sprint("r-", i))
			r.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
			r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{Name: r.Name, Type: "secret"}
			objects = append(objects, r)
			q.due[r.Name] = time.Now()
		}
		q.bench = watching(t, objects...)
		q.controller.Vault = steps{refreshed}
		q.runFor(limits.FirstReadTime + time.Minute)
		assert.GreaterOrEqual(t, v.gets, many, "each once at first")
		v.gets, v.lists = 0, 0
		q.writes = nil
		q.runFor(10 * 30 * time.Second)
		assert.InDelta(t, 10, v.lists, 1, "one list an interval")
		assert.Less(t, v.gets, 10, "and the daily reads")
		assert.Empty(t, q.writes, "nothing changed")

		v.gets = 0
		v.changed["r-7"] = time.Now().UTC().Truncate(time.Second)
		q.runFor(90 * time.Second)
		assert.Equal(t, fmt.Sprint(v.changed["r-7"].Unix()), q.status("r-7").VaultVersion)
		assert.Less(t, v.gets, 10)
		assert.Equal(t, []string{"status"}, q.writes)
	})
}
