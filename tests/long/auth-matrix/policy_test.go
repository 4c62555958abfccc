//go:build cluster

package authmatrix

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// restricted is a namespace whose policy forbids host paths and root.
const restricted = "restricted"

// hostFileForbidden follows docs/authentication.md: with default values the policy stops our pods, the event of the
// ReplicaSet says so, and credentials of one's own are a way out.
func hostFileForbidden(t *testing.T, s *stage.Stage) {
	_, err := s.Helm(t.Context(), "uninstall", "akv2k8s", "--namespace", "akv2k8s", "--wait")
	require.NoError(t, err)
	require.NoError(t, s.Namespace(t.Context(), restricted, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}))
	_, err = s.Helm(t.Context(), "install", "akv2k8s", s.Chart(), "--namespace", restricted)
	require.NoError(t, err)
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the events of both ReplicaSets", func(ctx context.Context) error {
		for _, component := range []string{"controller", "envinjector"} {
			if text := events(ctx, s, "ReplicaSet", "akv2k8s-"+component, "FailedCreate"); !strings.Contains(text, "hostPath") {
				return fmt.Errorf("%s: %q", component, text)
			}
		}
		return nil
	}))
	// One way out: the policy of this namespace allows the file. The command is the documentation's.
	label := func(level string) {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"`+level+`"}}}`))
		require.NoError(t, s.Client.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: restricted}}, patch))
	}
	label("privileged")
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the pods that are allowed now", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, client.InNamespace(restricted)); err != nil {
			return err
		}
		// those of hooks
		pods.Items = slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.Labels["batch.kubernetes.io/job-name"] != "" })
		if len(pods.Items) != 3 {
			return fmt.Errorf("there are %d", len(pods.Items))
		}
		return nil
	}))
	label("restricted")
	_, err = s.Helm(t.Context(), "uninstall", "akv2k8s", "--namespace", restricted, "--wait")
	require.NoError(t, err)
	// The other: credentials of one's own.
	credentials := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: restricted, Name: "azure-credentials"}, Data: map[string][]byte{
		"AZURE_TENANT_ID": []byte(local.TenantID), "AZURE_CLIENT_ID": []byte(id(1, "1")), "AZURE_CLIENT_SECRET": []byte("one-secret")}}
	require.NoError(t, s.Client.Create(t.Context(), credentials))
	require.NoError(t, s.Install(t.Context(), stage.Release{Name: "akv2k8s", Namespace: restricted, Values: environment(nil)}))
	require.NoError(t, s.Azure.Permit(t.Context(), "kv-wrong", id(1, "2"), "get"))
	resource(t, s, "way-out", "kv-wrong")
	assert.Zero(t, run(t, s, "way-out", "v"))
	_, err = s.Helm(t.Context(), "uninstall", "akv2k8s", "--namespace", restricted, "--wait")
	require.NoError(t, err)
}

// hostFileMissing is a node that is none of AKS: the kubelet's event names the file.
func hostFileMissing(t *testing.T, s *stage.Stage) {
	_, err := s.Helm(t.Context(), "install", "akv2k8s", s.Chart(), "--namespace", "akv2k8s", "--set", "cloudConfig=/etc/kubernetes/no-such-file.json")
	require.NoError(t, err)
	assert.NoError(t, stage.Await(t.Context(), time.Minute, "the events of both pods", func(ctx context.Context) error {
		for _, component := range []string{"controller", "envinjector"} {
			if text := events(ctx, s, "Pod", "akv2k8s-"+component, "FailedMount"); !strings.Contains(text, "no-such-file.json") {
				return fmt.Errorf("%s: %q", component, text)
			}
		}
		return nil
	}))
	_, err = s.Helm(t.Context(), "uninstall", "akv2k8s", "--namespace", "akv2k8s", "--wait")
	require.NoError(t, err)
}

// events are the messages of a reason about objects whose name begins so, whatever their namespace.
func events(ctx context.Context, s *stage.Stage, kind, prefix, reason string) string {
	var list corev1.EventList
	if err := s.Client.List(ctx, &list, client.MatchingFields{"reason": reason}); err != nil {
		return err.Error()
	}
	var texts []string
	for _, e := range list.Items {
		if e.InvolvedObject.Kind == kind && strings.HasPrefix(e.InvolvedObject.Name, prefix) {
			texts = append(texts, e.Message)
		}
	}
	return strings.Join(texts, "\n")
}
