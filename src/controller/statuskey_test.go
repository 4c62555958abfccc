package controller_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/controller/statushash"
)

var statusKey = types.NamespacedName{Namespace: "akv2k8s", Name: "akv2k8s-status-key"}

// withoutKey deletes the Secret of the key; with allowed false, creating it again is forbidden.
func (b *bench) withoutKey(allowed *bool) {
	b.Helper()
	require.NoError(b, b.client.Delete(b.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: statusKey.Namespace, Name: statusKey.Name}}))
	key := b.controller.Hasher.(*statushash.Key)
	key.Writer = interceptor.NewClient(b.client, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.CreateOption) error {
			if !*allowed {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, statusKey.Name, errors.New("quoting the key"))
			}
			return c.Create(ctx, object, opts...)
		}})
}

func TestAMissingStatusKeyStopsNoSync(t *testing.T) {
	b, allowed := newBench(t, resource("db")), false
	b.withoutKey(&allowed)
	b.reconcile("db")
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	assert.Equal(t, "Synced", b.ready("db").Reason)
	assert.Empty(t, b.status("db").SecretHash)
	assert.Contains(t, b.ready("db").Message, "Secret akv2k8s/akv2k8s-status-key")
	assert.Contains(t, b.ready("db").Message, "helm upgrade")
	assert.NotContains(t, b.ready("db").Message, "quoting")
	b.rotate("rotated")
	assert.Equal(t, "rotated", string(b.secret().Data["password"]), "a change is found without the key")

	allowed, b.now = true, b.now.Add(time.Hour)
	b.reconcile("db")
	assert.Len(t, b.status("db").SecretHash, 64)
	assert.NotContains(t, b.ready("db").Message, "status-key")
	var secret corev1.Secret
	require.NoError(t, b.client.Get(t.Context(), statusKey, &secret))
	assert.Len(t, secret.Data["key"], 32)
}

func TestAMissingStatusKeyIsCreatedAgainWhereThatIsAllowed(t *testing.T) {
	b, allowed := newBench(t, resource("db")), true
	b.withoutKey(&allowed)
	b.reconcile("db")
	assert.Len(t, b.status("db").SecretHash, 64)
	assert.NotContains(t, b.ready("db").Message, "status-key")
}

func TestWithoutTheStatusKeyARepairRestartsNothingAndAChangeDoes(t *testing.T) {
	b, done := restarting(t)
	allowed := false
	b.withoutKey(&allowed)
	b.reconcile("db")
	s := b.secret()
	s.Data["password"] = []byte("edited")
	require.NoError(t, b.client.Update(t.Context(), s))
	b.reconcile("db")
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	require.Equal(t, canary, string(b.secret().Data["password"]))
	assert.Empty(t, done.changes)
	b.rotate("rotated")
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Len(t, done.changes, 1)
}

func TestHashesOfAnEarlierVersionChangeOnceAndRestartNothing(t *testing.T) {
	b, done := restarting(t)
	b.reconcile("db")
	r := resource("db")
	require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "db"}, r))
	r.Status.SecretHash = "of an earlier version"
	require.NoError(t, b.client.Status().Update(t.Context(), r))
	before := b.secret()
	b.restart()
	b.now = b.now.Add(time.Hour)
	b.reconcile("db")
	b.now = b.now.Add(time.Hour)
	b.reconcile("db")
	assert.Len(t, b.status("db").SecretHash, 64)
	assert.Equal(t, before.ResourceVersion, b.secret().ResourceVersion)
	assert.Equal(t, r.Status.LastAzureUpdate, b.status("db").LastAzureUpdate)
	assert.Empty(t, done.changes)
}

func TestEqualValuesOfTwoResourcesHaveDifferentHashes(t *testing.T) {
	other := resource("other")
	other.Spec.Output.Secret.Name = "other"
	b := newBench(t, resource("db"), other)
	b.reconcile("db")
	b.reconcile("other")
	assert.NotEqual(t, b.status("db").SecretHash, b.status("other").SecretHash)
}

func TestHashesDependOnTheKeyOfTheInstallation(t *testing.T) {
	hash := func(key byte) string {
		b := newBench(t, resource("db"))
		var secret corev1.Secret
		require.NoError(t, b.client.Get(t.Context(), statusKey, &secret))
		secret.Data = map[string][]byte{"key": make([]byte, 32)}
		secret.Data["key"][0] = key
		require.NoError(t, b.client.Update(t.Context(), &secret))
		b.reconcile("db")
		return b.status("db").SecretHash
	}
	assert.NotEqual(t, hash(1), hash(2), "without a key a hash of a short value can be guessed")
	assert.Equal(t, hash(1), hash(1))
}
