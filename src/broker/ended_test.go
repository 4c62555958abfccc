package broker_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

func TestThePodThatHasEndedGetsNothing(t *testing.T) {
	deleted := func(ago time.Duration) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			at := metav1.NewTime(time.Now().Add(-ago))
			pod.DeletionTimestamp, pod.Finalizers = &at, []string{"example.com/keep"}
		}
	}
	phase := func(is corev1.PodPhase) func(*corev1.Pod) { return func(pod *corev1.Pod) { pod.Status.Phase = is } }
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		ended  bool
	}{
		"it succeeded":                     {phase(corev1.PodSucceeded), true},
		"it failed":                        {phase(corev1.PodFailed), true},
		"its grace period is over":         {deleted(time.Minute), true},
		"its grace period is not over yet": {deleted(-time.Minute), false},
		"by a clock that is a bit ahead":   {deleted(2 * time.Second), false},
		"it is pending":                    {phase(corev1.PodPending), false},
		"it runs":                          {phase(corev1.PodRunning), false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrokerTest(t)
			b.live = c.change
			w := b.sendReferences(map[string]string{"A": "two@azurekeyvault"})
			if c.ended {
				b.assertError(w, fault.Unauthenticated, `pod "app" has ended`)
				assert.Empty(t, b.vault.calls)
				return
			}
			assert.Equal(t, http.StatusOK, w.Code, w.Body.String())
		})
	}
}
