package servingcert_test

import (
	"context"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/servingcert"
)

var serving = types.NamespacedName{Namespace: "akv2k8s", Name: "serving"}

// newV1Release is the state that 1.8 left: a CA that another bench created.
func newV1Release(t *testing.T) (client.Client, string) {
	t.Helper()
	other := newRotatorTest(t)
	k := other.newRotator()
	other.reconcileUntilReady(k)
	data := map[string][]byte{"tls.crt": []byte(k.RootCAs()), "tls.key": other.readSecret().Data["ca.key"]}
	return fake.NewClientBuilder().WithObjects(
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "old-ca"}, Data: data},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "old-tls"}, Data: map[string][]byte{"tls.crt": []byte("no PEM")}}).Build(), k.RootCAs()
}

func TestTheCAOfThePredecessorIsInherited(t *testing.T) {
	c, root := newV1Release(t)
	from := []string{"old-ca", "old-tls", "old-none"}
	said, err := servingcert.MigrateV1CA(t.Context(), c, serving, from)
	require.NoError(t, err)
	assert.Contains(t, said, "is in Secret serving-predecessor")
	var made corev1.Secret
	require.NoError(t, c.Get(t.Context(), servingcert.V1CASecret(serving), &made))
	assert.Equal(t, map[string][]byte{"ca.crt": []byte(root)}, made.Data, "the certificate, and no key")
	for _, name := range []string{"old-ca", "old-tls"} {
		var kept corev1.Secret
		require.NoError(t, c.Get(t.Context(), types.NamespacedName{Namespace: "akv2k8s", Name: name}, &kept))
		assert.Equal(t, "keep", kept.Annotations["helm.sh/resource-policy"], name)
	}

	// Later upgrades find our Secret, and the CA of 1.8 is not trusted again.
	require.NoError(t, c.Delete(t.Context(), &made))
	require.NoError(t, c.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "serving"}}))
	said, err = servingcert.MigrateV1CA(t.Context(), c, serving, from)
	require.NoError(t, err)
	assert.Contains(t, said, "only its CA is trusted")
	assert.True(t, apierrors.IsNotFound(c.Get(t.Context(), servingcert.V1CASecret(serving), &made)))
}

func TestOfACertificateWithItsChainTheCAAloneIsInherited(t *testing.T) {
	other := newRotatorTest(t)
	k := other.newRotator()
	other.reconcileUntilReady(k)
	served, err := k.GetCertificate(nil)
	require.NoError(t, err)
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: served.Certificate[0]})
	c := fake.NewClientBuilder().WithObjects(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "old-tls"},
		Data: map[string][]byte{"tls.crt": append(leaf, k.RootCAs()...)}}).Build()
	_, err = servingcert.MigrateV1CA(t.Context(), c, serving, []string{"old-tls"})
	require.NoError(t, err)
	var made corev1.Secret
	require.NoError(t, c.Get(t.Context(), servingcert.V1CASecret(serving), &made))
	assert.Equal(t, k.RootCAs(), string(made.Data["ca.crt"]))
}

func TestADamagedCAOfThePredecessorIsNamedBeforeAnythingIsUpgraded(t *testing.T) {
	_, root := newV1Release(t)
	lines := strings.SplitAfter(root, "\n")
	cut := strings.Join(append(append([]string{}, lines[:2]...), lines[3:]...), "")
	unreadable := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no certificate")}))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE " + "KEY", Bytes: []byte("x")}))
	for name, c := range map[string]struct {
		data map[string][]byte
		says []string
	}{
		"no last line":         {map[string][]byte{"tls.crt": []byte(root + strings.TrimSuffix(root, lines[len(lines)-2]))}, []string{"old-ca", "tls.crt", "block 2"}},
		"a line that is lost":  {map[string][]byte{"tls.crt": []byte(root), "ca.crt": []byte(cut)}, []string{"old-ca", "ca.crt", "block 1"}},
		"no base64":            {map[string][]byte{"ca.crt": []byte(root + strings.Replace(root, lines[1], "!"+lines[1], 1))}, []string{"old-ca", "ca.crt", "block 2"}},
		"a key, and no X.509":  {map[string][]byte{"tls.crt": []byte(key + unreadable)}, []string{"old-ca", "tls.crt", "block 2", "cannot be parsed"}},
		"a key beside the CA":  {map[string][]byte{"tls.crt": []byte(key + root)}, nil},
		"text between the CAs": {map[string][]byte{"tls.crt": []byte("# ours\n" + root + "# ours\n" + root)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			old := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "old-ca"}, Data: c.data}
			client := fake.NewClientBuilder().WithObjects(old).Build()
			_, err := servingcert.MigrateV1CA(t.Context(), client, serving, []string{"old-ca"})
			for _, part := range c.says {
				require.ErrorContains(t, err, part)
			}
			made := client.Get(t.Context(), servingcert.V1CASecret(serving), &corev1.Secret{})
			assert.Equal(t, c.says == nil, made == nil, "%v", err)

			require.NoError(t, client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "serving"}}))
			_, err = servingcert.MigrateV1CA(t.Context(), client, serving, []string{"old-ca"})
			assert.NoError(t, err, "it does not matter any more once our own CA is there")
		})
	}
}

func TestWithoutAPredecessorNothingIsWritten(t *testing.T) {
	c := fake.NewClientBuilder().Build()
	said, err := servingcert.MigrateV1CA(t.Context(), c, serving, []string{"old-ca", "old-tls"})
	require.NoError(t, err)
	assert.Contains(t, said, "no CA of akv2k8s 1.8")
	var secrets corev1.SecretList
	require.NoError(t, c.List(t.Context(), &secrets))
	assert.Empty(t, secrets.Items)
}

func TestTheAPIServerBelievesThePredecessorAsLongAsItServes(t *testing.T) {
	_, root := newV1Release(t)
	b := newRotatorTest(t)
	old := servingcert.V1CASecret(serving)
	leave := func() {
		require.NoError(t, b.client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: old.Namespace, Name: old.Name}, Data: map[string][]byte{"ca.crt": []byte(root)}}))
	}
	leave()
	alone, trouble := false, error(nil)
	k, err := servingcert.New(servingcert.Config{Live: b.client, Writer: b.client, Secret: serving, WebhookConfigName: "hook", DNSNames: []string{host},
		Clock: func() time.Time { return b.now }, Random: strings.NewReader(strings.Repeat("0123456789abcdef", 1<<16)),
		AllReplicasUpdated: func(context.Context) (bool, error) { return alone, trouble }})
	require.NoError(t, err)
	b.reconcileUntilReady(k)
	assert.NotContains(t, k.RootCAs(), root, "pods are not to believe it")
	both := k.RootCAs() + root
	assert.Equal(t, []string{both, both}, b.caBundles())
	require.NoError(t, k.RotateCA(t.Context()), "a rotation does not lose it")
	pass := func(d time.Duration) {
		b.now = b.now.Add(d)
		result, err := k.Reconcile(t.Context(), ctrl.Request{})
		require.NoError(t, err)
		assert.LessOrEqual(t, result.RequeueAfter, 10*time.Second)
	}
	pass(time.Hour)
	assert.Contains(t, b.caBundles()[0], root)
	trouble = errors.New("the API server is away")
	_, err = k.Reconcile(t.Context(), ctrl.Request{})
	require.ErrorIs(t, err, trouble)
	trouble, alone = nil, true
	pass(time.Second)
	pass(50 * time.Second)
	alone = false
	pass(time.Second)
	alone = true
	pass(50 * time.Second)
	assert.Contains(t, b.caBundles()[0], root, "a minute without any begins anew")
	pass(time.Minute)
	assert.True(t, apierrors.IsNotFound(b.client.Get(t.Context(), old, &corev1.Secret{})))
	b.reconcileUntilReady(k)
	assert.Equal(t, []string{k.RootCAs(), k.RootCAs()}, b.caBundles())
	assert.NoError(t, b.verifyLeaf(k.RootCAs(), k))

	leave()
	before, writer := b.readSecret().Data["ca.crt"], k.Writer
	k.Writer = interceptor.NewClient(b.client.(client.WithWatch), interceptor.Funcs{Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
		return errors.New("a policy forbids it")
	}})
	require.ErrorContains(t, k.ReplaceCA(t.Context()), "a policy forbids it")
	assert.Equal(t, before, b.readSecret().Data["ca.crt"], "nothing is half done, so the command can be repeated")
	k.Writer = writer
	require.NoError(t, k.ReplaceCA(t.Context()))
	assert.True(t, apierrors.IsNotFound(b.client.Get(t.Context(), old, &corev1.Secret{})), "after a compromise nobody but the new CA is believed")
}

func TestACAThatComesFromElsewhereIsLeft(t *testing.T) {
	for _, annotation := range []string{"akv2k8s.io/ca", "cert-manager.io/inject-ca-from", "of-the-predecessor"} {
		b := newRotatorTest(t)
		var hook admissionv1.MutatingWebhookConfiguration
		require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Name: "hook"}, &hook))
		hook.Annotations = map[string]string{annotation: "x"}
		for i := range hook.Webhooks {
			hook.Webhooks[i].ClientConfig.CABundle = []byte("theirs")
		}
		require.NoError(t, b.client.Update(t.Context(), &hook))
		k := b.newRotator()
		b.reconcileUntilReady(k)
		assert.Equal(t, []string{"theirs", "theirs"}, b.caBundles(), annotation)
		assert.NoError(t, b.verifyLeaf(k.RootCAs(), k), "pods believe our own")
		require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Name: "hook"}, &hook))
		hook.Annotations = map[string]string{"akv2k8s.io/ca": "env-injector"}
		require.NoError(t, b.client.Update(t.Context(), &hook))
		b.reconcileUntilReady(k)
		assert.Equal(t, []string{k.RootCAs(), k.RootCAs()}, b.caBundles(), "when the setting is gone, ours is written again")
	}
}
