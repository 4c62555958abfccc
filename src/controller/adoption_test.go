package controller_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
)

// foreign creates the Secret out as another tool would, with this adopt annotation.
func (b *bench) foreign(adopt string, data map[string]string, change ...func(*corev1.Secret)) {
	b.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "out"}, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{}}
	if adopt != "" {
		s.Annotations = map[string]string{"akv2k8s.io/adopt": adopt}
	}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	for _, c := range change {
		c(s)
	}
	require.NoError(b, b.client.Create(b.Context(), s, client.FieldOwner("helm")))
}

// remove deletes a resource and reconciles it, as its delete event does.
func (b *bench) remove(r *v2beta1.AzureKeyVaultSecret) {
	b.Helper()
	require.NoError(b, b.client.Delete(b.Context(), r))
	b.reconcile(r.Name)
}

// collected reports whether the garbage collector can delete the object, because it has owners.
func collected(object client.Object) bool { return len(object.GetOwnerReferences()) > 0 }

func values(data map[string][]byte) map[string]string {
	text := map[string]string{}
	for key, value := range data {
		text[key] = string(value)
	}
	return text
}

func TestDeletingAResourceLeavesTheForeignKeysOfAnAdoptedSecret(t *testing.T) {
	b := newBench(t, resource("db"))
	b.foreign("true", map[string]string{"theirs": "x"})
	b.reconcile("db")
	assert.Equal(t, map[string]string{"theirs": "x", "password": canary}, values(b.secret().Data))
	assert.False(t, collected(b.secret()), "the garbage collector would delete all of it")
	assert.Equal(t, "Synced", b.ready("db").Reason)
	assert.Contains(t, b.ready("db").Message, `Secret "out" also holds data of others`)
	writes := len(b.writes)
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Len(t, b.writes, writes, "it is in sync")

	b.remove(resource("db"))
	s := b.secret()
	assert.Equal(t, map[string]string{"theirs": "x"}, values(s.Data))
	assert.Equal(t, map[string]string{"akv2k8s.io/adopt": "true"}, s.Annotations)
	assert.Empty(t, s.Labels)
}

func TestRenamingTheOutputLeavesAnAdoptedSecretAsDeletionDoes(t *testing.T) {
	for name, leave := range map[string]func(b *bench){
		"deletion": func(b *bench) { b.remove(resource("db")) },
		"deletion while the controller was down": func(b *bench) {
			require.NoError(b, b.client.Delete(b.Context(), resource("db")))
			b.restart()
			b.reconcile("db") // the event of the output triggers it
		},
		"rename": func(b *bench) {
			b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Name = "renamed" })
		},
		"another kind": func(b *bench) {
			b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) {
				s.Output.Secret, s.Output.ConfigMap = nil, &v2beta1.AzureKeyVaultOutputConfigMap{Name: "public", DataKey: "k"}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, resource("db"))
			b.foreign("true", map[string]string{"theirs": "x"})
			b.reconcile("db")
			require.Len(t, b.secret().Data, 2)
			leave(b)
			assert.Equal(t, map[string]string{"theirs": "x"}, values(b.secret().Data))
			assert.False(t, collected(b.secret()))
		})
	}
}

func TestASecretThatAToolCreatedEmptyIsNotDeletedWithTheResource(t *testing.T) {
	for name, change := range map[string]func(*corev1.Secret){
		"by Helm":    func(s *corev1.Secret) { s.Labels = map[string]string{"app.kubernetes.io/managed-by": "Helm"} },
		"by Argo CD": func(s *corev1.Secret) { s.Annotations["argocd.argoproj.io/tracking-id"] = "x" },
		"by a controller": func(s *corev1.Secret) {
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "u"}}
		},
		"by hand": func(*corev1.Secret) {},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, resource("db"))
			b.foreign("true", nil, change)
			references := len(b.secret().OwnerReferences)
			b.reconcile("db")
			require.Equal(t, canary, string(b.secret().Data["password"]))
			assert.Len(t, b.secret().OwnerReferences, references)
			// The annotation can be removed after the adoption.
			s := b.secret()
			delete(s.Annotations, "akv2k8s.io/adopt")
			require.NoError(t, b.client.Update(t.Context(), s, client.FieldOwner("helm")))
			b.now = b.now.Add(time.Minute)
			b.reconcile("db")
			assert.Len(t, b.secret().OwnerReferences, references)
			b.remove(resource("db"))
			assert.Empty(t, b.secret().Data, "the object stays, without our key")
		})
	}
}

func TestAForeignKeyOfTheSameNameIsOverwrittenOnlyIfItIsHandedOver(t *testing.T) {
	b := newBench(t, resource("db"))
	b.foreign("true", map[string]string{"password": "theirs", "other": "x"})
	b.reconcile("db")
	assert.Equal(t, "theirs", string(b.secret().Data["password"]))
	assert.Equal(t, "TargetConflict", b.ready("db").Reason)
	assert.Contains(t, b.ready("db").Message, "data key password")
	assert.Contains(t, b.ready("db").Message, "kubectl -n shop annotate --overwrite secret out akv2k8s.io/adopt=password")
	require.Len(t, b.events.events, 1)
	assert.Contains(t, b.events.events[0], "Warning ErrResourceExists")

	s := b.secret()
	s.Annotations["akv2k8s.io/adopt"] = "password"
	require.NoError(t, b.client.Update(t.Context(), s, client.FieldOwner("kubectl-annotate")))
	b.now = b.now.Add(10 * time.Second)
	b.reconcile("db")
	assert.Equal(t, "Synced", b.ready("db").Reason)
	assert.Equal(t, map[string]string{"password": canary, "other": "x"}, values(b.secret().Data))
	b.remove(resource("db"))
	assert.Equal(t, map[string]string{"other": "x"}, values(b.secret().Data))
}

func TestTheFirstRefusalOfAForeignSecretNamesTheKeysToHandOver(t *testing.T) {
	b := newBench(t, resource("db"))
	b.foreign("", map[string]string{"password": "theirs"})
	b.reconcile("db")
	assert.Contains(t, b.ready("db").Message, "annotate secret out akv2k8s.io/adopt=password")
}

func TestANewKeyOfTheResourceDoesNotOverwriteAForeignOneOfASharedSecret(t *testing.T) {
	b := newBench(t, resource("db"))
	b.foreign("true", map[string]string{"theirs": "x"})
	b.reconcile("db")
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.DataKey = "theirs" })
	assert.Equal(t, "TargetConflict", b.ready("db").Reason)
	assert.Equal(t, "x", string(b.secret().Data["theirs"]))
}

func TestAnEditByHandOfASharedSecretIsRepaired(t *testing.T) {
	b := newBench(t, resource("db"))
	b.foreign("true", map[string]string{"theirs": "x"})
	b.reconcile("db")
	s := b.secret()
	s.Data["password"] = []byte("edited")
	require.NoError(t, b.client.Update(t.Context(), s, client.FieldOwner("kubectl-edit")))
	b.reconcile("db")
	assert.Equal(t, map[string]string{"theirs": "x", "password": canary}, values(b.secret().Data))
	assert.Equal(t, "Synced", b.ready("db").Reason)
}

func TestAKeyThatSomebodyAddsLaterTakesTheOwnerReferenceAway(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	require.True(t, collected(b.secret()))
	s := b.secret()
	s.Data["mine"] = []byte("x")
	require.NoError(t, b.client.Update(t.Context(), s, client.FieldOwner("kubectl-edit")))
	b.reconcile("db")
	assert.False(t, collected(b.secret()))
	assert.Contains(t, fmt.Sprint(b.events.events), "Normal OutputShared")
	b.remove(resource("db"))
	assert.Equal(t, map[string]string{"mine": "x"}, values(b.secret().Data))
}

func TestALabelOfSomebodyElseDoesNotMakeAnOutputShared(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	s := b.secret()
	s.Labels["note"] = "x"
	require.NoError(t, b.client.Update(t.Context(), s, client.FieldOwner("kubectl-label")))
	b.reconcile("db")
	assert.True(t, collected(b.secret()))
}

func TestAnOutputThatIsSharedNoMoreGoesWithItsResource(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	for _, data := range []map[string][]byte{{"password": []byte(canary), "mine": []byte("x")}, {"password": []byte(canary)}} {
		s := b.secret()
		s.Data = data
		require.NoError(t, b.client.Update(t.Context(), s, client.FieldOwner("kubectl-edit")))
		b.reconcile("db")
	}
	require.False(t, collected(b.secret()))
	b.remove(resource("db"))
	_, err := b.named("out")
	assert.True(t, apierrors.IsNotFound(err), "we created it, and nobody else has anything in it")
}

func TestSeveralResourcesLeaveASharedSecretOneByOne(t *testing.T) {
	second := resource("second")
	second.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("db"), second)
	b.reconcile("db")
	b.reconcile("second")
	require.Len(t, b.secret().OwnerReferences, 2)
	s := b.secret()
	s.Data["mine"] = []byte("x")
	require.NoError(t, b.client.Update(t.Context(), s, client.FieldOwner("kubectl-edit")))
	b.reconcile("db")
	assert.False(t, collected(b.secret()), "of two owners the other one may be gone already")
	b.reconcile("second")
	assert.False(t, collected(b.secret()))
	b.remove(resource("db"))
	assert.Equal(t, map[string]string{"mine": "x", "user": canary}, values(b.secret().Data))
	b.remove(second)
	assert.Equal(t, map[string]string{"mine": "x"}, values(b.secret().Data))
}

func TestAnAdoptedOutputOfV1KeepsForeignKeys(t *testing.T) {
	b := newBench(t, resource("db"))
	b.v1Output(map[string]string{"password": canary}, "db")
	s := b.secret()
	s.Data["mine"] = []byte("x")
	require.NoError(t, b.client.Update(t.Context(), s, client.FieldOwner("kubectl-edit")))
	b.reconcile("db")
	assert.False(t, collected(b.secret()), "the reference of akv2k8s 1.8 goes too")
	b.remove(resource("db"))
	assert.Equal(t, map[string]string{"mine": "x"}, values(b.secret().Data))
}

func TestAnAdoptedConfigMapKeepsForeignKeys(t *testing.T) {
	r := resource("db")
	r.Spec.Output.Secret, r.Spec.Output.ConfigMap = nil, &v2beta1.AzureKeyVaultOutputConfigMap{Name: "public", DataKey: "key"}
	b := newBench(t, r)
	require.NoError(t, b.client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "public",
		Annotations: map[string]string{"akv2k8s.io/adopt": "true"}}, Data: map[string]string{"theirs": "x"}}, client.FieldOwner("helm")))
	b.reconcile("db")
	m, err := b.configMap()
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"theirs": "x", "key": canary}, m.Data)
	assert.False(t, collected(m))
	b.remove(r)
	m, err = b.configMap()
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"theirs": "x"}, m.Data)
}

func TestAnAdoptedSecretIsNeverCreatedAgainOrMadeImmutable(t *testing.T) {
	yes := true
	for name, c := range map[string]struct {
		theirs func(*corev1.Secret)
		ours   func(*v2beta1.AzureKeyVaultOutputSecret)
	}{
		"another type":    {func(s *corev1.Secret) { s.Type = "example.org/theirs" }, func(*v2beta1.AzureKeyVaultOutputSecret) {}},
		"immutable":       {func(s *corev1.Secret) { s.Immutable = &yes }, func(*v2beta1.AzureKeyVaultOutputSecret) {}},
		"to be immutable": {func(*corev1.Secret) {}, func(o *v2beta1.AzureKeyVaultOutputSecret) { o.Immutable = true }},
	} {
		t.Run(name, func(t *testing.T) {
			r := resource("db")
			c.ours(r.Spec.Output.Secret)
			b := newBench(t, r)
			b.foreign("true", nil, c.theirs)
			before := b.secret()
			b.reconcile("db")
			assert.Equal(t, "TargetConflict", b.ready("db").Reason)
			assert.Contains(t, b.ready("db").Message, "holds data of others")
			assert.Equal(t, before.UID, b.secret().UID)
			assert.Equal(t, before.ResourceVersion, b.secret().ResourceVersion)
		})
	}
}

func TestAResourceThatIsCreatedAgainKeepsItsKeysInASharedSecret(t *testing.T) {
	b := newBench(t, resource("db"))
	b.foreign("true", map[string]string{"theirs": "x"})
	b.reconcile("db")
	require.NoError(t, b.client.Delete(t.Context(), resource("db")))
	again := resource("db")
	again.UID = "uid-again"
	require.NoError(t, b.client.Create(t.Context(), again))
	b.reconcile("db")
	assert.Equal(t, map[string]string{"theirs": "x", "password": canary}, values(b.secret().Data))
	assert.NotContains(t, b.secret().Annotations, "keys.akv2k8s.io/uid-db")
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.Name = "renamed" })
	assert.Equal(t, map[string]string{"theirs": "x"}, values(b.secret().Data))
}

func TestAnAdoptAnnotationOfTheResourceIsNotCopied(t *testing.T) {
	r := resource("db")
	r.Annotations = map[string]string{"akv2k8s.io/adopt": "true", "keys.akv2k8s.io/uid-other": "other: password", "note": "x"}
	b := newBench(t, r)
	b.reconcile("db")
	assert.Equal(t, map[string]string{"note": "x"}, b.secret().Annotations)
	assert.True(t, collected(b.secret()))
}

func TestKeyNamesOfASharedSecretAreBounded(t *testing.T) {
	r := resource("db")
	r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{Name: "db", Type: "multi-key-value-secret", ContentType: "application/x-json"}
	r.Spec.Output.Secret.DataKey = ""
	b := newBench(t, r)
	b.vault.value = "{"
	for i := range 200 {
		b.vault.value += fmt.Sprintf(`"%0200d":"x",`, i)
	}
	b.vault.value += `"last":"x"}`
	b.foreign("true", map[string]string{"theirs": "x"})
	b.reconcile("db")
	assert.Equal(t, "TargetConflict", b.ready("db").Reason)
	assert.Contains(t, b.ready("db").Message, "limit 32 KiB")
	assert.Len(t, b.secret().Data, 1)
}

func TestTheFirstApplyDoesNotAdoptWhatTheCacheDoesNotShow(t *testing.T) {
	b := newBench(t, resource("db"))
	b.foreign("", map[string]string{"theirs": "x"})
	s := b.secret() // the fake API server starts at 1; a real one is always higher
	s.Labels = map[string]string{"later": "x"}
	require.NoError(t, b.client.Update(t.Context(), s))
	blind := b.controller.Config
	blind.Client = interceptor.NewClient(b.client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			// a foreign object does not have our label
			if _, metadata := object.(*metav1.PartialObjectMetadata); metadata {
				return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
			}
			return c.Get(ctx, key, object, opts...)
		}})
	var err error
	b.controller, err = controller.New(blind)
	require.NoError(t, err)
	b.reconcile("db")
	assert.Equal(t, map[string]string{"theirs": "x"}, values(b.secret().Data))
	assert.Equal(t, "TargetConflict", b.ready("db").Reason)
}
