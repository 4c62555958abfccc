package controller_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

// spareName is the name of the copy of the output of resource("db").
const spareName = "akv2k8s-uid-db"

func immutable() *v2beta1.AzureKeyVaultSecret {
	r := resource("db")
	r.Spec.Output.Secret.Immutable = true
	r.Spec.Output.Secret.Metadata = &v2beta1.AzureKeyVaultOutputMetadata{Labels: map[string]string{"found-by": "a sidecar"}}
	return r
}

// exists reports whether an object of that name exists.
func (b *bench) exists(object client.Object, name string) bool {
	b.Helper()
	err := b.client.Get(b.Context(), types.NamespacedName{Namespace: "shop", Name: name}, object)
	require.NoError(b, client.IgnoreNotFound(err))
	return err == nil
}

// crash rotates the value and stops the controller before it applies the object. Then it starts another controller
// while the vault is unavailable.
func (b *bench) crash(before string) {
	b.Helper()
	b.vault.value, b.now = "rotated", b.now.Add(30*time.Second)
	b.onApply = func(name string) {
		if name == before {
			panic("crash")
		}
	}
	require.PanicsWithValue(b, "crash", func() { b.reconcile("db") })
	b.onApply, b.vault.next = nil, fault.New(fault.Unavailable, "the vault is away")
	b.restart()
}

func TestACrashWhileAnOutputIsReplacedLosesNothingThoughTheVaultIsAway(t *testing.T) {
	b := newBench(t, immutable())
	b.reconcile("db")
	b.crash("out")
	require.False(t, b.exists(&corev1.Secret{}, "out"), "the old one is deleted by then")

	b.reconcile("db")
	s := b.secret()
	assert.Equal(t, map[string][]byte{"password": []byte("rotated")}, s.Data)
	assert.True(t, *s.Immutable)
	assert.Equal(t, "a sidecar", s.Labels["found-by"])
	assert.NotContains(t, s.Annotations, "akv2k8s.io/spare-of")
	require.Len(t, s.OwnerReferences, 1)
	assert.Equal(t, "VaultUnavailable", b.ready("db").Reason, "what is there is not confirmed")

	b.vault.next, b.now = nil, b.now.Add(time.Hour)
	b.reconcile("db")
	assert.Equal(t, "Synced", b.ready("db").Reason)
	assert.False(t, b.exists(&corev1.Secret{}, spareName), "it ends with the first sync that succeeds")
	assert.Equal(t, s.UID, b.secret().UID, "what was restored is not replaced once more")
}

func TestACrashBetweenTypesLosesNothingThoughTheVaultIsAway(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	b.onApply = func(name string) {
		if name == "out" {
			panic("crash")
		}
	}
	require.PanicsWithValue(t, "crash", func() {
		b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Type = "example.com/of-our-own" })
	})
	b.onApply, b.vault.next = nil, fault.New(fault.Unavailable, "the vault is away")
	b.restart()
	b.reconcile("db")
	assert.Equal(t, corev1.SecretType("example.com/of-our-own"), b.secret().Type)
	assert.Equal(t, canary, string(b.secret().Data["password"]))
}

func TestASpareLastsNoLongerThanTheReplacement(t *testing.T) {
	b := newBench(t, immutable())
	b.reconcile("db")
	b.vault.value, b.now = "rotated", b.now.Add(30*time.Second)
	kept := false
	b.onApply = func(name string) {
		var spare corev1.Secret
		if name != "out" {
			return
		}
		kept = b.exists(&spare, spareName)
		assert.Equal(t, "rotated", string(spare.Data["password"]))
		require.Len(t, spare.OwnerReferences, 1, "it goes with the resource")
		assert.Equal(t, map[string]string{"akv2k8s.io/managed": "true"}, spare.Labels, "who looks for the output by its labels does not find it")
		assert.Nil(t, spare.Immutable)
	}
	b.reconcile("db")
	assert.True(t, kept)
	assert.Equal(t, "rotated", string(b.secret().Data["password"]))
	assert.False(t, b.exists(&corev1.Secret{}, spareName))
}

func TestACrashBeforeTheOldOneIsDeletedKeepsIt(t *testing.T) {
	b := newBench(t, immutable())
	b.reconcile("db")
	old := b.secret().UID
	b.crash(spareName)
	b.reconcile("db")
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	assert.Equal(t, old, b.secret().UID)
}

func TestASpareOfAnotherTypeFromAnEarlierCrashIsNotInTheWay(t *testing.T) {
	b := newBench(t, immutable())
	b.reconcile("db")
	b.crash("out")
	b.reconcile("db")
	require.True(t, b.exists(&corev1.Secret{}, spareName))
	b.vault.next, b.vault.value = nil, "rotated again"
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Type = "example.com/of-our-own" })
	assert.Equal(t, "Synced", b.ready("db").Reason, b.ready("db").Message)
	assert.Equal(t, "rotated again", string(b.secret().Data["password"]))
	assert.False(t, b.exists(&corev1.Secret{}, spareName))
}

func TestAnObjectOfSomebodyElseIsNeitherUsedNorOverwrittenAsASpare(t *testing.T) {
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: spareName, Annotations: map[string]string{"akv2k8s.io/spare-of": "out"},
		Labels: map[string]string{"akv2k8s.io/managed": "true"}}, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"password": []byte("forged")}}
	b := newBench(t, immutable(), foreign)
	b.vault.next = fault.New(fault.Unavailable, "the vault is away")
	b.reconcile("db")
	assert.False(t, b.exists(&corev1.Secret{}, "out"), "only what this resource applied is restored")

	b.vault.next, b.now = nil, b.now.Add(time.Hour)
	b.reconcile("db")
	require.Equal(t, canary, string(b.secret().Data["password"]))
	b.vault.value, b.now = "rotated", b.now.Add(time.Hour)
	b.reconcile("db")
	assert.Contains(t, b.ready("db").Message, `Secret "out" can't be replaced`)
	assert.Contains(t, b.ready("db").Message, `kept in Secret "`+spareName+`", which already exists`)
	assert.Equal(t, canary, string(b.secret().Data["password"]), "the old one stays")
	var s corev1.Secret
	require.True(t, b.exists(&s, spareName))
	assert.Equal(t, "forged", string(s.Data["password"]))
}

func TestASpareNeverReplacesWhatExistsNorAnotherOutput(t *testing.T) {
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "out"}, Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"password": []byte("foreign")}}
	b := newBench(t, immutable())
	b.reconcile("db")
	b.crash("out")
	require.NoError(t, b.client.Create(t.Context(), foreign))
	b.reconcile("db")
	assert.Equal(t, "foreign", string(b.secret().Data["password"]))

	require.NoError(t, b.client.Delete(t.Context(), foreign))
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Name = "renamed" })
	assert.False(t, b.exists(&corev1.Secret{}, "renamed"), "the spare is of another output")
}

func TestAnOldOneThatChangesMeanwhileStaysAndItsSpareGoes(t *testing.T) {
	b := newBench(t, immutable())
	b.reconcile("db")
	b.vault.value, b.now = "rotated", b.now.Add(30*time.Second)
	b.onApply = func(name string) {
		if name == spareName {
			changed := b.secret()
			changed.Annotations = map[string]string{"by": "hand"}
			require.NoError(t, b.client.Update(t.Context(), changed))
		}
	}
	b.reconcile("db")
	assert.Contains(t, b.ready("db").Message, "was changed while it was being removed")
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	err := b.client.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: spareName}, &corev1.Secret{})
	assert.True(t, apierrors.IsNotFound(err), "%v", err)
}
