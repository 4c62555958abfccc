//go:build cluster

package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/tests/cluster/host"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

// crowd is the number of resources that are synced when something breaks.
const crowd = 1000

// takeover is the longest time in which another replica leads.
const takeover = 20 * time.Second

// many is a namespace with a crowd of resources.
type many struct {
	*testing.T
	*stage.Stage
	cluster *local.Cluster
}

// TestNothingIsLostOrWrittenTwice breaks the API server, and then the leader, in the middle of a thousand syncs.
func TestNothingIsLostOrWrittenTwice(t *testing.T) {
	s := stagetest.Open(t, config(t, "faults"))
	require.NoError(t, s.Install(t.Context(), stage.Release{Name: "akv2k8s", Namespace: "akv2k8s", Values: map[string]any{
		"azureKeyVaultResyncPeriod": 10, "controller": map[string]any{"replicaCount": 2}, "env_injector": map[string]any{"enabled": false}}}))
	m := many{t, s, s.Cluster.(*local.Cluster)}
	require.NoError(t, s.Namespace(t.Context(), "crowd", nil))
	m.vault("one")
	controller := types.NamespacedName{Namespace: "akv2k8s", Name: "akv2k8s-controller"}
	require.NoError(t, s.Scale(t.Context(), controller, 0))
	m.resources()
	require.NoError(t, s.Scale(t.Context(), controller, 2))
	m.await("one", crowd/4)
	require.NoError(t, m.cluster.CrashAPIServer(t.Context()))
	started := time.Now()
	m.await("one", crowd)
	t.Logf("after a crash of the API server %d resources were in sync within %s", crowd, time.Since(started).Round(time.Millisecond))
	m.patchedOnce(1)

	m.vault("two")
	m.await("two", crowd/4)
	m.killLeader()
	m.await("two", crowd)
	m.patchedOnce(2)

	require.NoError(t, s.Client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "crowd"}}))
	require.NoError(t, stage.Await(t.Context(), 2*time.Minute, "the namespace to go, with the controller at work", func(ctx context.Context) error {
		if err := client.IgnoreNotFound(s.Client.Get(ctx, types.NamespacedName{Name: "crowd"}, &corev1.Namespace{})); err != nil {
			return err
		}
		var left corev1.SecretList
		if err := s.Client.List(ctx, &left, client.InNamespace("crowd")); err != nil || len(left.Items) > 0 {
			return fmt.Errorf("%d Secrets are left: %w", len(left.Items), err)
		}
		return nil
	}))
}

// vault gives every object a value.
func (m many) vault(value string) {
	m.Helper()
	secrets := map[string]string{}
	for i := range crowd {
		secrets[fmt.Sprintf("o-%d", i)] = value
	}
	require.NoError(m, m.Azure.Vault(m.Context(), "kv-crowd", secrets))
}

func (m many) resources() {
	m.Helper()
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for i := w; i < crowd; i += 8 {
				r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "crowd", Name: fmt.Sprintf("r-%d", i)}}
				r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = "kv-crowd", fmt.Sprintf("o-%d", i), "secret"
				r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: r.Name, DataKey: "v"}}
				assert.NoError(m, m.Client.Create(m.Context(), r))
			}
		})
	}
	group.Wait()
}

// await waits until that many Secrets have the value.
func (m many) await(value string, count int) {
	m.Helper()
	require.NoError(m, stage.Await(m.Context(), 3*time.Minute, fmt.Sprintf("%d Secrets of value %s", count, value), func(ctx context.Context) error {
		var all corev1.SecretList
		if err := m.Client.List(ctx, &all, client.InNamespace("crowd")); err != nil {
			return err
		}
		have := 0
		for _, secret := range all.Items {
			if string(secret.Data["v"]) == value {
				have++
			}
		}
		if have < count {
			return fmt.Errorf("there are %d", have)
		}
		return nil
	}))
}

// killLeader kills the leading process, which can't give up its Lease, and waits for another one to lead.
func (m many) killLeader() {
	m.Helper()
	name := types.NamespacedName{Namespace: "akv2k8s", Name: "akv2k8s-controller"}
	var lease coordinationv1.Lease
	require.NoError(m, m.Client.Get(m.Context(), name, &lease))
	before := *lease.Spec.HolderIdentity
	pod, _, _ := strings.Cut(before, "_")
	found := 0
	for _, p := range host.Processes(host.IDOf(m.cluster.Work), m.cluster.Work) {
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
		if err == nil && strings.Contains(p.Command, "--fullname=akv2k8s") && strings.Contains(string(environment), "HOSTNAME="+pod+"\x00") {
			require.NoError(m, syscall.Kill(p.PID, syscall.SIGKILL))
			found++
		}
	}
	require.Equal(m, 1, found, "the leading process")
	killed := time.Now()
	require.NoError(m, stage.Await(m.Context(), time.Minute, "another leader", func(ctx context.Context) error {
		if err := m.Client.Get(ctx, name, &lease); err != nil {
			return err
		}
		if holder := *lease.Spec.HolderIdentity; holder == before || holder == "" {
			return fmt.Errorf("the holder is %q", holder)
		}
		return nil
	}))
	m.Logf("another replica led after %s", time.Since(killed).Round(time.Millisecond))
	assert.Less(m, time.Since(killed), takeover)
}

// patchedOnce wants each output to have been applied once per version, as the API server's audit log has it. Of an
// apply that was under way when the API server was killed there is no line.
func (m many) patchedOnce(versions int) {
	m.Helper()
	log, err := os.Open(m.cluster.AuditLog())
	require.NoError(m, err)
	defer func() { _ = log.Close() }()
	patches := map[string]int{}
	for lines := bufio.NewScanner(log); lines.Scan(); {
		var e struct {
			Verb           string
			User           struct{ Username string }
			ObjectRef      struct{ Resource, Namespace, Name string }
			ResponseStatus struct{ Code int }
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // a line that the crash cut off
		}
		if e.Verb == "patch" && e.ObjectRef.Resource == "secrets" && e.ObjectRef.Namespace == "crowd" && e.ResponseStatus.Code < 300 {
			assert.Equal(m, "system:serviceaccount:akv2k8s:akv2k8s-controller", e.User.Username)
			patches[e.ObjectRef.Name]++
		}
	}
	total := 0
	for name, count := range patches {
		assert.LessOrEqual(m, count, versions, name)
		total += count
	}
	assert.GreaterOrEqual(m, total, versions*crowd-16)
}
