package controller_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// without gives the controller a cache without resources, and an API server that fails reads of resources.
func (b *bench) without(live error) {
	b.Helper()
	get := func(err error) interceptor.Funcs {
		return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			if _, ok := object.(*v2beta1.AzureKeyVaultSecret); ok && err != nil {
				return err
			}
			return c.Get(ctx, key, object, opts...)
		}}
	}
	config := b.controller.Config
	config.Client = interceptor.NewClient(b.client, get(apierrors.NewNotFound(schema.GroupResource{}, "db")))
	config.APIReader = interceptor.NewClient(b.client, get(live))
	var err error
	b.controller, err = controller.New(config)
	require.NoError(b, err)
}

func TestKeysAreReleasedOnlyIfTheAPIServerSaysThatTheResourceIsGone(t *testing.T) {
	both := map[string]string{"theirs": "x", "password": canary}
	for name, c := range map[string]struct {
		live error
		says string
	}{
		"the API server does not answer": {errors.New("no answer"), "no answer"},
		"it is there":                    {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, resource("db"))
			b.foreign("true", map[string]string{"theirs": "x"})
			b.reconcile("db")
			require.Equal(t, both, values(b.secret().Data))
			b.without(c.live)
			_, err := b.controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "db"}})
			if c.says == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.says, "it is tried again")
			}
			assert.Equal(t, both, values(b.secret().Data))
		})
	}
}

func TestKeysOfAnEarlierResourceOfTheNameLeaveASharedSecret(t *testing.T) {
	b := newBench(t, resource("db"))
	b.foreign("true", map[string]string{"theirs": "x"})
	b.reconcile("db")
	require.NoError(t, b.client.Delete(t.Context(), resource("db")))
	again := resource("db")
	again.UID, again.Spec.Output.Secret.Name = "uid-again", "elsewhere"
	require.NoError(t, b.client.Create(t.Context(), again))
	b.reconcile("db")
	assert.Equal(t, map[string]string{"theirs": "x"}, values(b.secret().Data))
}

func TestWhatCannotBeTakenOutOfASharedSecretIsToldOrLogged(t *testing.T) {
	refusals := map[string]error{
		"invalid":   apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "out", nil),
		"forbidden": apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "out", errors.New("a policy")),
	}
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, resource("db"))
			b.foreign("true", map[string]string{"theirs": "x"})
			b.reconcile("db")
			b.onRefuse = func(object string) error {
				if object == "out" {
					return refusal
				}
				return nil
			}
			b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Name = "renamed" })
			assert.Equal(t, "TargetConflict", b.ready("db").Reason)
			assert.Contains(t, b.ready("db").Message, `removing the data of this resource from Secret "out", which also holds data of others`)
			assert.Contains(t, b.ready("db").Message, "rejects the object without this data")
			b.remove(resource("db")) // asserts that there is no retry
			assert.Equal(t, map[string]string{"theirs": "x", "password": canary}, values(b.secret().Data))
		})
	}
	b := newBench(t, resource("db"))
	b.foreign("true", map[string]string{"theirs": "x"})
	b.reconcile("db")
	b.onRefuse = func(string) error { return apierrors.NewInternalError(errors.New("etcd")) }
	require.NoError(t, b.client.Delete(t.Context(), resource("db")))
	_, err := b.controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "db"}})
	assert.Error(t, err, "it is tried again")
}

func TestOfResourcesOfOneSecondTheSmallerUIDHasTheKey(t *testing.T) {
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		b := newBench(t, resource("a"), resource("b"))
		for range 2 {
			for _, name := range order {
				b.reconcile(name)
			}
			b.now = b.now.Add(time.Minute)
		}
		assert.Equal(t, "Synced", b.ready("a").Reason, "%v", order)
		assert.Equal(t, "TargetConflict", b.ready("b").Reason, "%v", order)
		assert.Contains(t, b.ready("b").Message, `from AzureKeyVaultSecret "a"`)
	}
}

func TestAnOutputThatCannotBeDeletedIsNotReplaced(t *testing.T) {
	b := newBench(t, immutable())
	b.reconcile("db")
	config := b.controller.Config
	config.Client = interceptor.NewClient(b.client, interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.DeleteOption) error {
			if object.GetName() == "out" {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "out", errors.New("a policy"))
			}
			return c.Delete(ctx, object, opts...)
		}})
	var err error
	b.controller, err = controller.New(config)
	require.NoError(t, err)
	b.vault.value, b.now = "rotated", b.now.Add(time.Minute)
	writes := len(b.writes)
	b.reconcile("db")
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	assert.Contains(t, b.ready("db").Message, "deleting Secret shop/out")
	assert.Equal(t, []string{"apply All", "apply", "status"}, b.writes[writes:], "rehearsed and kept, and then nothing is written")
	assert.False(t, b.exists(&corev1.Secret{}, spareName))
}

func TestATypedSecretKeepsTheKeysThatAGoneResourceLeft(t *testing.T) {
	gone, db := resource("gone"), resource("db")
	for _, r := range []*v2beta1.AzureKeyVaultSecret{gone, db} {
		r.Spec.Output.Secret.Type = "example.com/needs-both"
	}
	gone.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, db, gone)
	b.reconcile("db")
	b.reconcile("gone")
	require.Len(t, b.secret().Data, 2)
	require.NoError(t, b.client.Delete(t.Context(), gone))
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Len(t, b.secret().Data, 2, "the API server may refuse the rest of it")
	assert.Equal(t, "Synced", b.ready("db").Reason)
}

func TestALegacyOwnerWithoutDataKeepsAnAbandonedSecret(t *testing.T) {
	other := resource("other")
	other.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("db"), other)
	b.reconcile("db")
	s := b.secret()
	reference := s.OwnerReferences[0]
	reference.Name, reference.UID = "other", other.UID
	s.OwnerReferences = append(s.OwnerReferences, reference)
	require.NoError(t, b.client.Update(t.Context(), s))
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Name = "renamed" })
	left := b.secret()
	assert.Empty(t, left.Data, "the resource's own key goes")
	assert.Equal(t, []metav1.OwnerReference{reference}, left.OwnerReferences, "another resource that exists still counts on it")
}

func TestAResourceThatGoesTakesItsOwnKeysOutOfASharedSecretAndNoOthers(t *testing.T) {
	user := resource("user")
	user.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("db"), user)
	b.foreign("true", map[string]string{"theirs": "x"})
	b.reconcile("db")
	b.reconcile("user")
	b.remove(resource("db"))
	assert.Equal(t, map[string]string{"theirs": "x", "user": canary}, values(b.secret().Data))
	assert.Contains(t, b.secret().Annotations, "keys.akv2k8s.io/uid-user")
}

func TestAnOutputGoesAlsoIfTheOtherKindHasItsName(t *testing.T) {
	r := resource("db")
	r.Spec.Output.ConfigMap = &v2beta1.AzureKeyVaultOutputConfigMap{Name: "out", DataKey: "key"}
	b := newBench(t, r)
	b.reconcile("db")
	require.True(t, b.exists(&corev1.ConfigMap{}, "out"))
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.ConfigMap = nil })
	assert.False(t, b.exists(&corev1.ConfigMap{}, "out"))
	assert.True(t, b.exists(&corev1.Secret{}, "out"))
}

func TestASecretOfAnotherTypeThatWasEditedByHandIsNotReplaced(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	edited := b.secret()
	edited.Data["password"] = []byte("by hand")
	require.NoError(t, b.client.Update(t.Context(), edited, client.FieldOwner("kubectl-edit")))
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Type = "example.com/of-our-own" })
	assert.Equal(t, "by hand", string(b.secret().Data["password"]))
	assert.Contains(t, b.ready("db").Message, "holds data of others; delete it, and akv2k8s creates it again")
}

func TestARestoredOutputIsLoggedAndAnOrdinarySyncIsNot(t *testing.T) {
	b := newBench(t, immutable())
	var lines strings.Builder
	sync := func() {
		ctx := log.IntoContext(t.Context(), funcr.New(func(_, line string) { lines.WriteString(line + "\n") }, funcr.Options{}))
		_, err := b.controller.Reconcile(ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "db"}})
		require.NoError(t, err)
	}
	sync()
	assert.NotContains(t, lines.String(), "restor")
	b.crash("out")
	sync()
	assert.Contains(t, lines.String(), `"msg"="restored an output whose replacement was interrupted"`)
	assert.NotContains(t, lines.String(), canary)
	before := lines.String()
	b.now = b.now.Add(time.Hour)
	sync()
	assert.NotContains(t, strings.TrimPrefix(lines.String(), before), "restor", "once")
}

// occupied records how many write slots are in use while the vault is read and while outputs and statuses are written.
type occupied struct {
	controller.Vault
	controller      *controller.Controller
	reading, writes []int
}

func (o *occupied) Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error) {
	o.reading = append(o.reading, o.controller.UsedWriteSlots())
	return o.Vault.Read(ctx, ref, maxAge)
}

func TestWhoWritesTakesAPlaceAndWhoWaitsForItsVaultDoesNot(t *testing.T) {
	b := newBench(t, resource("db"))
	seen, config := &occupied{Vault: b.vault}, b.controller.Config
	note := func() { seen.writes = append(seen.writes, seen.controller.UsedWriteSlots()) }
	config.Vault = seen
	config.Client = interceptor.NewClient(b.client, interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			note()
			return c.Apply(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch,
			opts ...client.SubResourcePatchOption) error {
			note()
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		}})
	var err error
	b.controller, err = controller.New(config)
	require.NoError(t, err)
	seen.controller = b.controller
	b.controller.SetWriteSlots(2)
	b.reconcile("db")
	assert.Equal(t, []int{0}, seen.reading, "a vault that does not answer keeps nobody from writing")
	assert.Equal(t, []int{1, 1}, seen.writes, "the Secret and the status")
	assert.Zero(t, b.controller.UsedWriteSlots(), "the place is given back")
}

func TestAnOutputThatChangesWakesItsOwnersAndThoseThatShareIt(t *testing.T) {
	owner := func(kind, name string) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: "spv.no/v2beta1", Kind: kind, Name: name, UID: types.UID("uid-" + name)}
	}
	output := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "out",
		OwnerReferences: []metav1.OwnerReference{owner("AzureKeyVaultSecret", "owner"), owner("Deployment", "stranger")}}}
	b := newBench(t, resource("sharing"))
	b.foreign("true", map[string]string{"theirs": "x"})
	b.reconcile("sharing")
	require.Empty(t, b.secret().OwnerReferences)
	output.Annotations = b.secret().Annotations
	assert.ElementsMatch(t, []ctrl.Request{
		{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "owner"}},
		{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "sharing"}},
	}, controller.RequestsForOwners(t.Context(), output))
}

// unreadable makes reads of one object fail, in the cache and at the API server.
func (b *bench) unreadable(object string) {
	b.onGet = func(name string, o client.Object) error {
		if _, ok := o.(*v2beta1.AzureKeyVaultSecret); !ok && name == object {
			return errors.New("no answer")
		}
		return nil
	}
}

func TestAnOutputThatCannotBeReadCostsNoVaultCall(t *testing.T) {
	for name, r := range map[string]*v2beta1.AzureKeyVaultSecret{
		"in the cache, before it is due":              resource("db"),
		"at the API server, where one look is enough": once(),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, r)
			b.reconcile("db")
			if r.Spec.RefreshInterval != nil {
				b.restart()
			}
			b.unreadable("out")
			_, err := b.controller.Reconcile(t.Context(), requestForDB())
			require.ErrorContains(t, err, "no answer", "it is tried again")
			assert.Len(t, b.vault.calls, 1)
		})
	}
}

func TestASpareThatCannotBeLookedForKeepsNoSyncBack(t *testing.T) {
	b := newBench(t, resource("db"))
	b.unreadable(spareName)
	b.reconcile("db")
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	assert.Equal(t, "Synced", b.ready("db").Reason)
}

func TestASecretAndAConfigMapOfOneNameAndEqualDataAreBothRepaired(t *testing.T) {
	r := resource("db")
	r.Spec.Output.ConfigMap = &v2beta1.AzureKeyVaultOutputConfigMap{Name: "out", DataKey: "password"}
	b := newBench(t, r)
	b.reconcile("db")
	var m corev1.ConfigMap
	require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "out"}, &m))
	m.Data["password"] = "edited"
	require.NoError(t, b.client.Update(t.Context(), &m))
	b.reconcile("db")
	require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "out"}, &m))
	assert.Equal(t, canary, m.Data["password"])
}

func TestReadsOfOneResourceAtATimeAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resource("db")
		r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{}
		for i := range 3 * limits.ParallelReads {
			name := fmt.Sprint("o", i)
			r.Spec.Data = append(r.Spec.Data,
				v2beta1.AzureKeyVaultData{Object: v2beta1.AzureKeyVaultObject{Name: name, Type: "secret"}, DataKey: name})
		}
		b := newBench(t, r)
		vault := &held{Vault: b.vault, answer: make(chan struct{})}
		b.controller.Vault = vault
		done := make(chan error)
		go func() {
			_, err := b.controller.Reconcile(t.Context(), requestForDB())
			done <- err
		}()
		synctest.Wait()
		assert.EqualValues(t, limits.ParallelReads, vault.reads.Load())
		close(vault.answer)
		require.NoError(t, <-done)
		assert.Len(t, b.secret().Data, 3*limits.ParallelReads)
	})
}

func TestTheObjectsOfOneResourceAreBoundedInBytes(t *testing.T) {
	r := resource("db")
	b := newBench(t, r)
	b.reconcile("db")
	b.vault.value = strings.Repeat("x", 25<<10)
	for i := range 400 {
		b.vault.entries = append(b.vault.entries, keyvault.Entry{Name: fmt.Sprint("o", i)})
	}
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) {
		s.Vault.Object, s.Output.Secret.DataKey = v2beta1.AzureKeyVaultObject{}, ""
		s.DataFrom = []v2beta1.AzureKeyVaultDataFrom{{Match: v2beta1.AzureKeyVaultMatch{Prefix: "o"}}}
	})
	assert.Equal(t, "MalformedObject", b.ready("db").Reason)
	assert.Contains(t, b.ready("db").Message, "more than 4 MiB together")
	assert.Equal(t, canary, string(b.secret().Data["password"]), "the last good Secret stays")
	assert.Less(t, len(b.vault.calls), 200, "the others are not read")
}

// held is a vault that does not answer until it is released.
type held struct {
	controller.Vault
	reads  atomic.Int64
	answer chan struct{}
}

func (h *held) Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error) {
	h.reads.Add(1)
	<-h.answer
	return h.Vault.Read(ctx, ref, maxAge)
}
