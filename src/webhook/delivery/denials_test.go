package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/webhook/delivery"
)

// podList answers lists of pods of the namespace team.
type podList struct {
	client.Reader
	pods  []metav1.PartialObjectMetadata
	more  string
	err   error
	lists int
}

func (l *podList) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	l.lists++
	asked := client.ListOptions{}
	asked.ApplyOptions(options)
	if asked.Namespace != "team" || asked.Limit != limits.PodsInNamespace {
		return fmt.Errorf("it lists %+v", asked)
	}
	got := list.(*metav1.PartialObjectMetadataList)
	got.Items, got.Continue = l.pods, l.more
	return l.err
}

// owned is a pod of the controller with a UID.
func owned(uid types.UID, created time.Time) *corev1.Pod {
	yes := true
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", CreationTimestamp: metav1.NewTime(created),
		OwnerReferences: []metav1.OwnerReference{{UID: uid, Controller: &yes}}}}
}

func named(name string, created time.Time) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, CreationTimestamp: metav1.NewTime(created)}}
}

// denying is a chooser with denials, and the clock and the pods of the cluster.
func denying(t *testing.T) (choose func(*corev1.Pod) delivery.Reason, pods *podList, now *time.Time) {
	t.Helper()
	c, _ := chooser(t, delivery.ModeAuto, "v1.36.0", node("a", newKubelet, containerd))
	start := time.Unix(1_000_000, 0)
	pods, now = &podList{}, &start
	c.Denials = &delivery.Denials{Reader: pods, Clock: func() time.Time { return *now }}
	return func(p *corev1.Pod) delivery.Reason {
		got, err := c.Choose(t.Context(), p, false)
		require.NoError(t, err)
		assert.Equal(t, got.Reason == delivery.ReasonSupported, got.Mode == delivery.ModeImage)
		return got.Reason
	}, pods, now
}

func TestANamespaceWhosePolicyDeniesImageVolumesGetsInitContainers(t *testing.T) {
	for name, p := range map[string]*corev1.Pod{"a controller": owned("a", time.Time{}), "a user": named("app", time.Time{})} {
		t.Run(name, func(t *testing.T) {
			choose, pods, now := denying(t)
			pods.pods = []metav1.PartialObjectMetadata{
				{ObjectMeta: owned("other", *now).ObjectMeta}, {ObjectMeta: named("other", *now).ObjectMeta},
				{ObjectMeta: owned("a", now.Add(-time.Minute)).ObjectMeta}, {ObjectMeta: named("app", now.Add(-time.Minute)).ObjectMeta}}
			assert.Equal(t, delivery.ReasonSupported, choose(p), "the first attempt")
			*now = now.Add(limits.ImageDenialDelay - 1)
			assert.Equal(t, delivery.ReasonSupported, choose(p), "it may still be on its way")
			assert.Zero(t, pods.lists)
			*now = now.Add(1)
			assert.Equal(t, delivery.ReasonPolicy, choose(p))
			assert.Equal(t, delivery.ReasonPolicy, choose(owned("b", time.Time{})), "the others of the namespace as well")
			elsewhere := owned("a", time.Time{})
			elsewhere.Namespace = "elsewhere"
			assert.Equal(t, delivery.ReasonSupported, choose(elsewhere))
			assert.Equal(t, 1, pods.lists)
			*now = now.Add(limits.ImageDenialAge)
			assert.Equal(t, delivery.ReasonSupported, choose(p), "the policy may have changed")
		})
	}
}

func TestPodsThatAreCreatedAreNoDenials(t *testing.T) {
	for name, p := range map[string]*corev1.Pod{"a controller": owned("a", time.Time{}), "a user": named("app", time.Time{})} {
		t.Run(name, func(t *testing.T) {
			choose, pods, now := denying(t)
			choose(p)
			pods.pods = []metav1.PartialObjectMetadata{{ObjectMeta: owned("a", *now).ObjectMeta}, {ObjectMeta: named("app", *now).ObjectMeta}}
			for range 5 {
				*now = now.Add(limits.ImageDenialDelay)
				assert.Equal(t, delivery.ReasonSupported, choose(p))
			}
			assert.Equal(t, 1, pods.lists, "once it is known, nothing is listed")
		})
	}
}

func TestWhatIsNotKnownIsNoDenial(t *testing.T) {
	unnamed := named("", time.Time{})
	for name, c := range map[string]struct {
		pod   *corev1.Pod
		pods  podList
		lists int
	}{
		"an API server that is away":      {owned("a", time.Time{}), podList{err: errors.New("away")}, 3},
		"more pods than are read":         {owned("a", time.Time{}), podList{more: "next"}, 1},
		"a pod that says nothing":         {unnamed, podList{}, 0},
		"a name that can't be valid":      {named(strings.Repeat("x", 10_000), time.Time{}), podList{}, 0},
		"a controller that can't be real": {owned(types.UID(strings.Repeat("x", 10_000)), time.Time{}), podList{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			choose, pods, now := denying(t)
			*pods = c.pods
			for range 4 {
				assert.Equal(t, delivery.ReasonSupported, choose(c.pod))
				*now = now.Add(limits.ImageDenialDelay)
			}
			assert.Equal(t, c.lists, pods.lists)
		})
	}
}

func TestADryRunIsNoAttempt(t *testing.T) {
	c, _ := chooser(t, delivery.ModeAuto, "v1.36.0", node("a", newKubelet, containerd))
	now, pods := time.Unix(1, 0), &podList{}
	c.Denials = &delivery.Denials{Reader: pods, Clock: func() time.Time { return now }}
	for range 4 {
		got, err := c.Choose(t.Context(), named("app", time.Time{}), true)
		require.NoError(t, err)
		assert.Equal(t, delivery.ReasonSupported, got.Reason)
		now = now.Add(limits.ImageDenialDelay)
	}
	assert.Zero(t, pods.lists)
}

// TestStrangersCauseFewLists sends reviews of many controllers, as anyone can who reaches the port.
func TestStrangersCauseFewLists(t *testing.T) {
	choose, pods, now := denying(t)
	pods.more = "next"
	for range 3 {
		for n := range 1000 {
			choose(owned(types.UID(fmt.Sprint(n)), time.Time{}))
		}
		*now = now.Add(limits.ImageDenialDelay)
	}
	assert.LessOrEqual(t, pods.lists, 2)
}
