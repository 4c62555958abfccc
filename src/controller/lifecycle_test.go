package controller_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// change edits a resource as a user does.
func (b *bench) change(name string, edit func(*v2beta1.AzureKeyVaultSecretSpec)) {
	b.Helper()
	var r v2beta1.AzureKeyVaultSecret
	require.NoError(b, b.client.Get(b.Context(), types.NamespacedName{Namespace: "shop", Name: name}, &r))
	edit(&r.Spec)
	r.Generation++
	require.NoError(b, b.client.Update(b.Context(), &r))
	b.reconcile(name)
}

func (b *bench) named(name string) (*corev1.Secret, error) {
	var s corev1.Secret
	return &s, b.client.Get(b.Context(), types.NamespacedName{Namespace: "shop", Name: name}, &s)
}

func (b *bench) configMap() (*corev1.ConfigMap, error) {
	var m corev1.ConfigMap
	return &m, b.client.Get(b.Context(), types.NamespacedName{Namespace: "shop", Name: "public"}, &m)
}

func TestASecretAndAConfigMapOfOneRead(t *testing.T) {
	r := resource("db")
	r.Spec.Output.ConfigMap = &v2beta1.AzureKeyVaultOutputConfigMap{Name: "public", DataKey: "key"}
	b := newBench(t, r)
	b.reconcile("db")
	m, err := b.configMap()
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"key": canary}, m.Data)
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	assert.Len(t, b.vault.calls, 1)
	status := b.status("db")
	assert.Equal(t, []string{"out", "public"}, []string{status.SecretName, status.ConfigMapName})
	assert.NotEmpty(t, status.ConfigMapHash)
	assert.Equal(t, `Secret "out" and ConfigMap "public" hold version v-of-c of secret "db" of vault "kv1"`, b.ready("db").Message)

	m.Data["key"] = "edited"
	require.NoError(t, b.client.Update(t.Context(), m))
	b.reconcile("db")
	m, err = b.configMap()
	require.NoError(t, err)
	assert.Equal(t, canary, m.Data["key"], "repaired")

	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.ConfigMap = nil })
	_, err = b.configMap()
	assert.True(t, apierrors.IsNotFound(err), "an output that is no longer wanted goes")
	assert.Empty(t, b.status("db").ConfigMapName)
}

func TestAnOutputThatIsRefusedKeepsTheOtherNotBack(t *testing.T) {
	r := resource("db")
	r.Spec.Output.ConfigMap = &v2beta1.AzureKeyVaultOutputConfigMap{Name: "public", DataKey: "key"}
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "out"}, Type: corev1.SecretTypeOpaque}
	b := newBench(t, r, foreign)
	b.reconcile("db")
	m, err := b.configMap()
	require.NoError(t, err)
	assert.Equal(t, "TargetConflict", b.ready("db").Reason)
	assert.Empty(t, b.secret().Data)
	b.reconcile("db")
	require.Len(t, b.vault.calls, 1, "what is not ours is not looked at before its time")
	m.Data["key"] = "edited"
	require.NoError(t, b.client.Update(t.Context(), m))
	b.reconcile("db")
	m, err = b.configMap()
	require.NoError(t, err)
	assert.Equal(t, canary, m.Data["key"], "repaired at once all the same")
}

func TestARenamedOutputRemovesTheOldOneOnceTheNewOneIsThere(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Name = "renamed" })
	renamed, err := b.named("renamed")
	require.NoError(t, err)
	assert.Equal(t, canary, string(renamed.Data["password"]))
	_, err = b.named("out")
	assert.True(t, apierrors.IsNotFound(err))
}

func TestARenamedOutputStaysWhileTheNewOneCannotBeWritten(t *testing.T) {
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "taken"}, Type: corev1.SecretTypeOpaque}
	b := newBench(t, resource("db"), foreign)
	b.reconcile("db")
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Name = "taken" })
	assert.Equal(t, "TargetConflict", b.ready("db").Reason)
	assert.Equal(t, canary, string(b.secret().Data["password"]), "the last good Secret stays")
}

func TestARenamedOutputLeavesWhatOthersHaveInTheOldOne(t *testing.T) {
	second := resource("second")
	second.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("db"), second)
	b.reconcile("db")
	b.reconcile("second")
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Name = "renamed" })
	assert.Equal(t, map[string][]byte{"user": []byte(canary)}, b.secret().Data)
	require.Len(t, b.secret().OwnerReferences, 1)
	assert.Equal(t, "second", b.secret().OwnerReferences[0].Name)

	// A key that a user added by hand is not lost either.
	s := b.secret()
	s.Data["mine"] = []byte("x")
	require.NoError(t, b.client.Update(t.Context(), s))
	b.change("second", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Name = "renamed" })
	assert.Equal(t, map[string][]byte{"mine": []byte("x")}, b.secret().Data)
}

func TestAnotherTypeMakesTheSecretAnew(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Type = "kubernetes.io/ssh-auth" })
	assert.Equal(t, corev1.SecretTypeSSHAuth, b.secret().Type)
	assert.Equal(t, map[string][]byte{"ssh-privatekey": []byte(canary)}, b.secret().Data)
	assert.Equal(t, "Synced", b.ready("db").Reason)
}

func TestAnotherTypeIsRefusedWhereAnElderOrAUserHasData(t *testing.T) {
	younger := resource("younger")
	younger.CreationTimestamp = metav1.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)
	younger.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("elder"), younger)
	b.reconcile("elder")
	b.reconcile("younger")
	b.change("younger", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Type = "kubernetes.io/ssh-auth" })
	assert.Contains(t, b.ready("younger").Message, `AzureKeyVaultSecret "elder" also writes to it`)
	assert.Len(t, b.secret().Data, 2, "nothing is lost")
	b.change("elder", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Type = "example.org/own" })
	assert.Contains(t, b.ready("elder").Message, `AzureKeyVaultSecret "younger" also writes to it`)
	assert.Len(t, b.secret().Data, 2, "what the younger has could be its last good value")
	require.NoError(t, b.client.Delete(t.Context(), younger))
	b.now = b.now.Add(time.Minute)
	b.reconcile("elder")
	assert.EqualValues(t, "example.org/own", b.secret().Type, "nobody misses the keys of one that is gone")
	assert.Equal(t, map[string][]byte{"password": []byte(canary)}, b.secret().Data)

	b = newBench(t, resource("db"))
	b.reconcile("db")
	s := b.secret()
	s.Data["mine"] = []byte("x")
	require.NoError(t, b.client.Update(t.Context(), s))
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Type = "kubernetes.io/ssh-auth" })
	assert.Contains(t, b.ready("db").Message, "holds data of others")
	assert.Equal(t, "x", string(b.secret().Data["mine"]))
}

func TestASecretThatOthersFeedDoesNotBecomeImmutable(t *testing.T) {
	second := resource("second")
	second.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("first"), second)
	b.reconcile("first")
	b.reconcile("second")
	for _, name := range []string{"first", "second"} {
		b.change(name, func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Immutable = true })
		assert.Contains(t, b.ready(name).Message, "must become immutable, but AzureKeyVaultSecret")
	}
	assert.Nil(t, b.secret().Immutable)
	assert.Len(t, b.secret().Data, 2)
}

func TestAResourceThatTheCacheDoesNotHaveIsNotGone(t *testing.T) {
	unseen := resource("unseen")
	unseen.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("db"), unseen)
	b.reconcile("db")
	b.reconcile("unseen")
	selective := b.controller.Config
	selective.Client = interceptor.NewClient(b.client, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, list, opts...)
			if all, ok := list.(*v2beta1.AzureKeyVaultSecretList); ok {
				all.Items = slices.DeleteFunc(all.Items, func(r v2beta1.AzureKeyVaultSecret) bool { return r.Name == "unseen" })
			}
			return err
		}})
	var err error
	b.controller, err = controller.New(selective)
	require.NoError(t, err)
	b.reconcile("db")
	assert.Len(t, b.secret().Data, 2, "with OBJECT_LABELS another installation may work on it")
}

func TestAPolicyThatRefusesTheNewSecretDoesNotCostTheOldOne(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	before := b.secret()
	b.refuse = apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "akv2k8s-uid-db", errors.New("no keys of "+canary+" here"))
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Type = "kubernetes.io/ssh-auth" })
	assert.Equal(t, before.UID, b.secret().UID)
	assert.Equal(t, before.Data, b.secret().Data)
	assert.Equal(t, `writing Secret shop/out: the API server rejected the request: HTTP status 403 Forbidden; the existing object is kept`,
		b.ready("db").Message)

	b.refuse, b.now = nil, b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Equal(t, corev1.SecretTypeSSHAuth, b.secret().Type)
	list := &corev1.SecretList{}
	require.NoError(t, b.client.List(t.Context(), list, client.InNamespace("shop")))
	assert.Len(t, list.Items, 1, "the rehearsal left nothing")
	assert.Contains(t, b.writes, "apply All")
}

func TestAnUnclassifiedErrorStandsAlone(t *testing.T) {
	r := resource("db")
	r.Spec.Output.ConfigMap = &v2beta1.AzureKeyVaultOutputConfigMap{Name: "public", DataKey: "key"}
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "out"}, Type: corev1.SecretTypeOpaque}
	b := newBench(t, r, foreign)
	b.refuse = errors.New("boom with words of somebody else")
	_, err := b.controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "db"}})
	require.Error(t, err, "it is retried")
	assert.Equal(t, "InternalError", b.ready("db").Reason)
	assert.NotContains(t, fmt.Sprint(b.status("db"), b.events.events), "boom")
}

func TestOfSeveralObjectsThatCannotBeReadTheFirstIsToldEachTime(t *testing.T) {
	r := resource("db")
	r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{}
	for i := range 20 {
		name := fmt.Sprintf("o%02d", i)
		r.Spec.Data = append(r.Spec.Data, v2beta1.AzureKeyVaultData{Object: v2beta1.AzureKeyVaultObject{Name: name, Type: "secret"}, DataKey: name})
	}
	b := newBench(t, r)
	b.vault.refuse = map[string]error{"o19": fault.New(fault.Denied, "o19"), "o03": fault.New(fault.NotFound, "o03"), "o00": nil}
	for range 20 {
		b.now = b.now.Add(time.Hour)
		b.reconcile("db")
		require.Equal(t, "o03", b.ready("db").Message)
	}
	assert.Len(t, b.vault.calls, 400, "each is read, and none is cut off by another's failure")
}

func TestAnImmutableSecretIsMadeAnewWhenTheValueChanges(t *testing.T) {
	r := resource("db")
	r.Spec.Output.Secret.Immutable = true
	b := newBench(t, r)
	b.reconcile("db")
	require.True(t, *b.secret().Immutable)
	b.now = b.now.Add(30 * time.Second)
	writes := len(b.writes)
	b.reconcile("db")
	assert.Len(t, b.writes, writes, "unchanged, nothing is written")
	b.vault.value, b.now = "rotated", b.now.Add(30*time.Second)
	b.reconcile("db")
	assert.Equal(t, "rotated", string(b.secret().Data["password"]))
	assert.True(t, *b.secret().Immutable)
}

func TestMetadataOfTheOutputReachesTheSecretAlone(t *testing.T) {
	r := resource("db")
	r.Spec.Output.Secret.Metadata = &v2beta1.AzureKeyVaultOutputMetadata{Labels: map[string]string{"l": "1"}, Annotations: map[string]string{"a": "2"}}
	b := newBench(t, r)
	b.reconcile("db")
	assert.Equal(t, "1", b.secret().Labels["l"])
	assert.Equal(t, "2", b.secret().Annotations["a"])
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Metadata = nil })
	assert.NotContains(t, b.secret().Labels, "l")
	assert.NotContains(t, b.secret().Annotations, "a")
}

func TestKeysOfAResourceThatIsGoneLeaveASharedSecret(t *testing.T) {
	gone := resource("gone")
	gone.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("db"), gone)
	b.reconcile("db")
	b.reconcile("gone")
	require.Len(t, b.secret().Data, 2)
	require.NoError(t, b.client.Delete(t.Context(), gone))
	b.now = b.now.Add(30 * time.Second)
	b.reconcile("db")
	assert.Equal(t, map[string][]byte{"password": []byte(canary)}, b.secret().Data)
	require.Len(t, b.secret().OwnerReferences, 1)
	writes := len(b.writes)
	b.reconcile("db")
	assert.Len(t, b.writes, writes, "once")
}

func TestTheElderTakesAContestedKeyAndTheYoungerKeepsItsOthers(t *testing.T) {
	younger := resource("younger")
	younger.CreationTimestamp = metav1.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)
	younger.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{}
	younger.Spec.Data = []v2beta1.AzureKeyVaultData{
		{Object: v2beta1.AzureKeyVaultObject{Name: "db", Type: "secret"}, DataKey: "password"},
		{Object: v2beta1.AzureKeyVaultObject{Name: "user", Type: "secret"}, DataKey: "user"}}
	b := newBench(t, younger)
	b.reconcile("younger")
	require.Len(t, b.secret().Data, 2)
	require.NoError(t, b.client.Create(t.Context(), resource("elder")))
	b.reconcile("elder")
	assert.Equal(t, "Synced", b.ready("elder").Reason)
	b.reconcile("younger")
	assert.Equal(t, "TargetConflict", b.ready("younger").Reason)
	assert.Contains(t, b.ready("younger").Message, `data key password from AzureKeyVaultSecret "elder"`)
	assert.Len(t, b.secret().Data, 2, "its other key is written all the same")

	require.NoError(t, b.client.Delete(t.Context(), resource("elder")))
	b.now = b.now.Add(10 * time.Second)
	b.reconcile("younger")
	assert.Equal(t, "Synced", b.ready("younger").Reason, "the way is free")
	assert.Len(t, b.secret().Data, 2)
	assert.Equal(t, `Secret "out" holds 2 objects of vault "kv1"`, b.ready("younger").Message)
}

func TestSearchesAreMadeAnewAtEachLook(t *testing.T) {
	r := resource("db")
	r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{}
	r.Spec.DataFrom = []v2beta1.AzureKeyVaultDataFrom{{Match: v2beta1.AzureKeyVaultMatch{Prefix: "shop-"},
		Rewrite: &v2beta1.AzureKeyVaultRewrite{Source: "^shop-", Target: ""}}}
	b := newBench(t, r)
	b.reconcile("db")
	assert.False(t, b.vault.purpose.ConfirmList, "without outputs there is nothing to lose")
	b.vault.entries, b.now = []keyvault.Entry{{Name: "shop-a"}, {Name: "shop-b"}, {Name: "other"}}, b.now.Add(30*time.Second)
	b.reconcile("db")
	assert.Equal(t, map[string][]byte{"a": []byte(canary), "b": []byte(canary)}, b.secret().Data)
	assert.Equal(t, `Secret "out" holds 2 objects of vault "kv1"`, b.ready("db").Message)
	assert.Equal(t, keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecretList}, b.vault.calls[0])

	b.vault.entries, b.now = []keyvault.Entry{{Name: "shop-b"}, {Name: "shop-c"}}, b.now.Add(30*time.Second)
	b.reconcile("db")
	assert.Equal(t, map[string][]byte{"b": []byte(canary), "c": []byte(canary)}, b.secret().Data)

	b.vault.entries, b.now = nil, b.now.Add(30*time.Second)
	b.reconcile("db")
	assert.Len(t, b.secret().Data, 2, "nothing is found: the last good Secret stays")
	assert.Equal(t, "ObjectNotFound", b.ready("db").Reason)
	assert.True(t, b.vault.purpose.ConfirmList, "no key goes because one list lacks it, also after a restart")
	b.vault.next, b.now = fault.New(fault.Denied, "no list"), b.now.Add(30*time.Second)
	b.reconcile("db")
	assert.Equal(t, "no list", b.ready("db").Message)
	assert.Len(t, b.secret().Data, 2)
}

func TestANewOutputIsMadeInOneRequest(t *testing.T) {
	b := newBench(t, resource("db"))
	looks := 0
	counting := b.controller.Config
	counting.APIReader = interceptor.NewClient(b.client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			if key.Name == "out" {
				looks++
			}
			return c.Get(ctx, key, object, opts...)
		}})
	var err error
	b.controller, err = controller.New(counting)
	require.NoError(t, err)
	b.reconcile("db")
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	assert.Zero(t, looks, "nobody looks whether there is one")
	b.rotate("rotated")
	assert.Equal(t, 1, looks)
	assert.Equal(t, "rotated", string(b.secret().Data["password"]))
}

func TestAnEmptyValueKeepsTheLastGoodSecretUnlessItIsAllowed(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	b.vault.value, b.now = "", b.now.Add(30*time.Second)
	b.reconcile("db")
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	assert.Equal(t, "MalformedObject", b.ready("db").Reason)
	assert.Contains(t, b.ready("db").Message, "spec.output.allowEmpty")
	assert.Equal(t, metav1.ConditionTrue, meta.FindStatusCondition(b.status("db").Conditions, "Stale").Status)
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.AllowEmpty = true })
	assert.Empty(t, b.secret().Data["password"])
	assert.Equal(t, "Synced", b.ready("db").Reason)
}

func TestAnObjectWithoutEntriesKeepsTheLastGoodSecret(t *testing.T) {
	for contentType, empty := range map[string]string{"application/x-json": "{}", "application/x-yaml": "{} # none"} {
		r := resource("db")
		r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{Name: "db", Type: "multi-key-value-secret", ContentType: contentType}
		r.Spec.Output.AllowEmpty = true
		b := newBench(t, r)
		b.vault.value = `{"password": "` + canary + `"}`
		b.reconcile("db")
		b.vault.value, b.now = empty, b.now.Add(30*time.Second)
		b.reconcile("db")
		assert.Equal(t, canary, string(b.secret().Data["password"]))
		assert.Equal(t, "MalformedObject", b.ready("db").Reason)
	}
}

func TestAnOutputThatWouldBeTooLargeIsRefusedWithTheItemAndKeepsTheLastGood(t *testing.T) {
	r := resource("db")
	r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{}
	for i := range 50 {
		r.Spec.Data = append(r.Spec.Data, v2beta1.AzureKeyVaultData{Object: v2beta1.AzureKeyVaultObject{Name: fmt.Sprintf("o%d", i), Type: "secret"},
			DataKey: fmt.Sprintf("k%d", i), Transform: []v2beta1.Transform{"base64encode", "base64encode", "base64encode", "base64encode", "base64encode", "base64encode"}})
	}
	b := newBench(t, r)
	b.reconcile("db")
	good := b.secret().Data
	require.Len(t, good, 50)
	b.vault.value, b.now = strings.Repeat("x", 24<<10), b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Equal(t, good, b.secret().Data)
	assert.Equal(t, "MalformedObject", b.ready("db").Reason)
	assert.Regexp(t, `object o\d+`, b.ready("db").Message)
}
