package controller_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

// v1Output creates a Secret as akv2k8s 1.8 left it: written by Update, with the owners' references and without our label.
func (b *bench) v1Output(data map[string]string, owners ...string) {
	b.Helper()
	yes, no := true, false
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "out", Labels: map[string]string{"team": "a", "stale": "x"},
		Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"}}, StringData: nil, Data: map[string][]byte{}, Type: corev1.SecretTypeOpaque}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	for _, owner := range owners {
		s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{APIVersion: "spv.no/v2beta1", Kind: "AzureKeyVaultSecret", Name: owner,
			UID: types.UID("uid-" + owner), Controller: &no, BlockOwnerDeletion: &yes})
	}
	require.NoError(b, b.client.Create(b.Context(), s, client.FieldOwner("azure-keyvault-controller")))
}

func (b *bench) managers() map[string]metav1.ManagedFieldsOperationType {
	all := map[string]metav1.ManagedFieldsOperationType{}
	for _, entry := range b.secret().ManagedFields {
		all[entry.Manager] = entry.Operation
	}
	return all
}

func TestAnOutputOfV1IsTakenOverInPlace(t *testing.T) {
	b := newBench(t, resource("db"))
	b.v1Output(map[string]string{"password": canary, "old": "key"}, "db")
	uid := b.secret().UID
	b.reconcile("db")
	s := b.secret()
	assert.Equal(t, uid, s.UID)
	assert.Equal(t, map[string][]byte{"password": []byte(canary)}, s.Data, "a key that nobody wants goes")
	assert.Equal(t, map[string]string{"team": "a", "akv2k8s.io/managed": "true"}, s.Labels)
	assert.Empty(t, s.Annotations)
	assert.Equal(t, map[string]metav1.ManagedFieldsOperationType{"akv2k8s-uid-db": metav1.ManagedFieldsOperationApply}, b.managers())
	writes := len(b.writes)
	b.reconcile("db")
	assert.Len(t, b.writes, writes, "once")
}

func TestKeysOfAnOwnerThatCannotBeReadStayUntilItCan(t *testing.T) {
	second := resource("second")
	second.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("db"), second)
	b.v1Output(map[string]string{"password": "old", "user": "last good", "orphan": "x"}, "db", "second")
	b.reconcile("db")
	b.vault.next = fault.New(fault.Unavailable, "away")
	b.reconcile("second")
	assert.Equal(t, map[string][]byte{"password": []byte(canary), "user": []byte("last good"), "orphan": []byte("x")}, b.secret().Data, "no key is absent")
	assert.Contains(t, b.managers(), "azure-keyvault-controller")

	b.vault.next, b.now = nil, b.now.Add(60e9)
	b.reconcile("second")
	assert.Equal(t, map[string][]byte{"password": []byte(canary), "user": []byte(canary)}, b.secret().Data)
	assert.NotContains(t, b.managers(), "azure-keyvault-controller")
}

func TestAnOwnerThatIsGoneOrElsewhereIsNotWaitedFor(t *testing.T) {
	moved := resource("moved")
	moved.Spec.Output.Secret.Name = "elsewhere"
	b := newBench(t, resource("db"), moved)
	b.v1Output(map[string]string{"password": canary, "moved": "x", "gone": "x"}, "db", "moved", "gone")
	b.reconcile("db")
	assert.Equal(t, map[string][]byte{"password": []byte(canary)}, b.secret().Data)
}

func TestWhatOthersPutIntoAnOldOutputStays(t *testing.T) {
	b := newBench(t, resource("db"))
	b.v1Output(map[string]string{"password": canary}, "db")
	s := b.secret()
	s.Data["mine"] = []byte("x")
	require.NoError(t, b.client.Update(t.Context(), s, client.FieldOwner("kubectl-edit")))
	b.reconcile("db")
	assert.Equal(t, map[string][]byte{"password": []byte(canary), "mine": []byte("x")}, b.secret().Data)
	assert.Contains(t, b.managers(), "kubectl-edit")
}

func TestATakeoverOfTheSameDataIsNoChange(t *testing.T) {
	r := resource("db")
	before := metav1.Date(2025, 1, 1, 0, 0, 0, 0, metav1.Now().Location())
	r.Status.LastAzureUpdate, r.Status.SecretHash = &before, "5f4dcc3b5aa765d61d8327deb882cf99"
	b := newBench(t, r)
	b.v1Output(map[string]string{"password": canary}, "db")
	b.reconcile("db")
	status := b.status("db")
	assert.Len(t, status.SecretHash, 64, "the guessable MD5 is gone")
	assert.True(t, status.LastAzureUpdate.Equal(&before), "nothing changed")

	b = newBench(t, resource("db"))
	b.v1Output(map[string]string{"password": canary}, "db")
	b.reconcile("db")
	assert.NotNil(t, b.status("db").LastAzureUpdate, "where it never had a time, it has that of the first look")
}

func TestAStaleCacheDoesNotEndTheShareOfV1(t *testing.T) {
	second := resource("second")
	second.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("db"), second)
	b.v1Output(map[string]string{"password": canary, "user": "last good"}, "db", "second")
	behind := b.controller.Config
	behind.Client = interceptor.NewClient(b.client, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, list, opts...)
			if all, ok := list.(*v2beta1.AzureKeyVaultSecretList); ok {
				for i := range all.Items {
					all.Items[i].Spec.Output = nil // as a stale cache has it
				}
			}
			return err
		}})
	var err error
	b.controller, err = controller.New(behind)
	require.NoError(t, err)
	b.reconcile("db")
	assert.Equal(t, "last good", string(b.secret().Data["user"]))
}
