package controller_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func TestANamespaceWhoseDecodingHangsIsRefusedByName(t *testing.T) {
	b := newBench(t, resource("r"))
	b.controller.DecodePool = decodepool.New(decodepool.Config{Workers: 2, Timeout: 500 * time.Millisecond})
	release := make(chan struct{})
	for n := range limits.StuckDecodes {
		share := b.controller.DecodePool.ForNamespace("shop")
		_, err := share.Do(t.Context(), share.CacheKey("hang", n), func(context.Context) (decodepool.Output, error) {
			<-release
			return decodepool.Output{}, nil
		})
		require.Error(t, err)
	}
	b.reconcile("r")
	ready := b.ready("r")
	assert.Equal(t, metav1.ConditionFalse, ready.Status)
	assert.Equal(t, "Throttled", ready.Reason)
	assert.Contains(t, ready.Message, "namespace shop")
	close(release)
	require.Eventually(t, func() bool {
		b.now = b.now.Add(time.Hour)
		b.reconcile("r")
		return b.ready("r").Status == metav1.ConditionTrue
	}, 10*time.Second, 10*time.Millisecond)
	assert.Equal(t, canary, string(b.secret().Data["password"]))
}

func TestAnEmptyValueKeepsTheLastGoodSecret(t *testing.T) {
	trimmed := resource("r")
	trimmed.Spec.Output.Transform = []v2beta1.Transform{"trim"}
	b := newBench(t, trimmed)
	b.reconcile("r")
	b.vault.value = " \n"
	b.now = b.now.Add(time.Hour)
	b.reconcile("r")
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	ready := b.ready("r")
	assert.Equal(t, metav1.ConditionFalse, ready.Status)
	assert.Equal(t, "MalformedObject", ready.Reason)
	assert.Contains(t, ready.Message, "the value is empty")
	assert.Contains(t, ready.Message, "allowEmpty")
}
