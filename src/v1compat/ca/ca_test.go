package ca_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
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
	"github.com/akv2k8s/akv2k8s/src/v1compat/ca"
)

var serving = types.NamespacedName{Namespace: "akv2k8s", Name: "serving"}

// installation is the Secret of our own CA and a webhook configuration, with their Rotator.
type installation struct {
	*testing.T
	client client.Client
	now    time.Time
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	service := admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "akv2k8s", Name: "akv2k8s-envinjector"}}
	none := admissionv1.SideEffectClassNone
	return &installation{T: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), client: fake.NewClientBuilder().WithObjects(
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: serving.Namespace, Name: serving.Name}},
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "hook", Annotations: map[string]string{"akv2k8s.io/ca": "env-injector"}}, Webhooks: []admissionv1.MutatingWebhook{
			{Name: "a.example.org", ClientConfig: service, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}},
			{Name: "b.example.org", ClientConfig: service, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}}},
	).Build()}
}

func (i *installation) clock() time.Time { return i.now }

func (i *installation) newRotator(extra servingcert.ExtraCAs) *servingcert.Rotator {
	i.Helper()
	k, err := servingcert.New(servingcert.Config{Live: i.client, Writer: i.client, Secret: serving, WebhookConfigName: "hook", DNSNames: []string{"akv2k8s-envinjector"},
		Clock: i.clock, Random: rand.Reader, ExtraCAs: extra})
	require.NoError(i, err)
	return k
}

func (i *installation) readSecret() *corev1.Secret {
	i.Helper()
	var secret corev1.Secret
	require.NoError(i, i.client.Get(i.Context(), serving, &secret))
	return &secret
}

func (i *installation) caBundles() []string {
	i.Helper()
	var hook admissionv1.MutatingWebhookConfiguration
	require.NoError(i, i.client.Get(i.Context(), types.NamespacedName{Name: "hook"}, &hook))
	var bundles []string
	for _, webhook := range hook.Webhooks {
		bundles = append(bundles, string(webhook.ClientConfig.CABundle))
	}
	return bundles
}

func (i *installation) reconcileUntilReady(k *servingcert.Rotator) {
	i.Helper()
	for range 3 {
		_, err := k.Reconcile(i.Context(), ctrl.Request{})
		require.NoError(i, err)
	}
	require.NoError(i, k.CheckReady())
}

// verifyLeaf reports whether a client that trusts only root accepts the leaf.
func (i *installation) verifyLeaf(root string, k *servingcert.Rotator) error {
	i.Helper()
	pool := x509.NewCertPool()
	require.True(i, pool.AppendCertsFromPEM([]byte(root)))
	served, err := k.GetCertificate(nil)
	require.NoError(i, err)
	_, err = served.Leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: i.now})
	return err
}

// newV1Release is the state that 1.8 left: a CA that another installation created.
func newV1Release(t *testing.T) (client.Client, string) {
	t.Helper()
	other := newInstallation(t)
	k := other.newRotator(nil)
	other.reconcileUntilReady(k)
	data := map[string][]byte{"tls.crt": []byte(k.RootCAs()), "tls.key": other.readSecret().Data["ca.key"]}
	return fake.NewClientBuilder().WithObjects(
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "old-ca"}, Data: data},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "old-tls"}, Data: map[string][]byte{"tls.crt": []byte("no PEM")}}).Build(), k.RootCAs()
}

func TestTheCAOfV1IsCopied(t *testing.T) {
	c, root := newV1Release(t)
	from := []string{"old-ca", "old-tls", "old-none"}
	said, err := ca.Migrate(t.Context(), c, serving, from)
	require.NoError(t, err)
	assert.Contains(t, said, "is in Secret serving-v1-ca")
	var made corev1.Secret
	require.NoError(t, c.Get(t.Context(), ca.SecretName(serving), &made))
	assert.Equal(t, map[string][]byte{"ca.crt": []byte(root)}, made.Data, "the certificate, and no key")
	for _, name := range []string{"old-ca", "old-tls"} {
		var kept corev1.Secret
		require.NoError(t, c.Get(t.Context(), types.NamespacedName{Namespace: "akv2k8s", Name: name}, &kept))
		assert.Equal(t, "keep", kept.Annotations["helm.sh/resource-policy"], name)
	}

	// Later upgrades find our Secret, and the CA of 1.8 is not trusted again.
	require.NoError(t, c.Delete(t.Context(), &made))
	require.NoError(t, c.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "serving"}}))
	said, err = ca.Migrate(t.Context(), c, serving, from)
	require.NoError(t, err)
	assert.Contains(t, said, "only its CA is trusted")
	assert.True(t, apierrors.IsNotFound(c.Get(t.Context(), ca.SecretName(serving), &made)))
}

func TestOfACertificateWithItsChainTheCAAloneIsCopied(t *testing.T) {
	other := newInstallation(t)
	k := other.newRotator(nil)
	other.reconcileUntilReady(k)
	served, err := k.GetCertificate(nil)
	require.NoError(t, err)
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: served.Certificate[0]})
	c := fake.NewClientBuilder().WithObjects(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "old-tls"},
		Data: map[string][]byte{"tls.crt": append(leaf, k.RootCAs()...)}}).Build()
	_, err = ca.Migrate(t.Context(), c, serving, []string{"old-tls"})
	require.NoError(t, err)
	var made corev1.Secret
	require.NoError(t, c.Get(t.Context(), ca.SecretName(serving), &made))
	assert.Equal(t, k.RootCAs(), string(made.Data["ca.crt"]))
}

func TestADamagedCAOfV1IsNamedBeforeAnythingIsUpgraded(t *testing.T) {
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
			_, err := ca.Migrate(t.Context(), client, serving, []string{"old-ca"})
			for _, part := range c.says {
				require.ErrorContains(t, err, part)
			}
			made := client.Get(t.Context(), ca.SecretName(serving), &corev1.Secret{})
			assert.Equal(t, c.says == nil, made == nil, "%v", err)

			require.NoError(t, client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "serving"}}))
			_, err = ca.Migrate(t.Context(), client, serving, []string{"old-ca"})
			assert.NoError(t, err, "it does not matter any more once our own CA is there")
		})
	}
}

func TestWithoutV1NothingIsWritten(t *testing.T) {
	c := fake.NewClientBuilder().Build()
	said, err := ca.Migrate(t.Context(), c, serving, []string{"old-ca", "old-tls"})
	require.NoError(t, err)
	assert.Contains(t, said, "no CA of akv2k8s 1.8")
	var secrets corev1.SecretList
	require.NoError(t, c.List(t.Context(), &secrets))
	assert.Empty(t, secrets.Items)
}

func TestTheAPIServerTrustsV1AsLongAsItServes(t *testing.T) {
	_, root := newV1Release(t)
	b := newInstallation(t)
	old := ca.SecretName(serving)
	leave := func() {
		require.NoError(t, b.client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: old.Namespace, Name: old.Name}, Data: map[string][]byte{"ca.crt": []byte(root)}}))
	}
	leave()
	alone, trouble := false, error(nil)
	ofV1, err := ca.New(ca.Config{Live: b.client, Writer: b.client, ServingSecret: serving, Clock: b.clock,
		AllReplicasUpdated: func(context.Context) (bool, error) { return alone, trouble }})
	require.NoError(t, err)
	k := b.newRotator(ofV1)
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
	before, writer := b.readSecret().Data["ca.crt"], ofV1.Writer
	ofV1.Writer = interceptor.NewClient(b.client.(client.WithWatch), interceptor.Funcs{Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
		return errors.New("a policy forbids it")
	}})
	require.ErrorContains(t, k.ReplaceCA(t.Context()), "a policy forbids it")
	assert.Equal(t, before, b.readSecret().Data["ca.crt"], "nothing is half done, so the command can be repeated")
	ofV1.Writer = writer
	require.NoError(t, k.ReplaceCA(t.Context()))
	assert.True(t, apierrors.IsNotFound(b.client.Get(t.Context(), old, &corev1.Secret{})), "after a compromise nobody but the new CA is believed")
}

func TestWhatIsNoCAOfV1IsLeftOut(t *testing.T) {
	_, root := newV1Release(t)
	b := newInstallation(t)
	old := ca.SecretName(serving)
	ofV1, err := ca.New(ca.Config{Live: b.client, Writer: b.client, ServingSecret: serving, Clock: b.clock})
	require.NoError(t, err)
	none, err := ofV1.ReadCAs(t.Context())
	require.NoError(t, err)
	assert.Empty(t, none, "there is no Secret")
	damaged := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	require.NoError(t, b.client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: old.Namespace, Name: old.Name},
		Data: map[string][]byte{"ca.crt": []byte(damaged + strings.Repeat(root, 7))}}))
	some, err := ofV1.ReadCAs(t.Context())
	require.NoError(t, err)
	assert.Len(t, some, 5, "what is damaged is left out, and no more than five are trusted")
	b.now = b.now.AddDate(11, 0, 0)
	none, err = ofV1.ReadCAs(t.Context())
	require.NoError(t, err)
	assert.Empty(t, none, "they have expired")
}

func TestEachPartOfTheCAOfV1IsRequired(t *testing.T) {
	b := newInstallation(t)
	whole := ca.Config{Live: b.client, Writer: b.client, ServingSecret: serving, Clock: b.clock}
	for name, without := range map[string]func(*ca.Config){
		"live": func(c *ca.Config) { c.Live = nil }, "writer": func(c *ca.Config) { c.Writer = nil },
		"secret": func(c *ca.Config) { c.ServingSecret.Name = "" }, "clock": func(c *ca.Config) { c.Clock = nil },
	} {
		c := whole
		without(&c)
		_, err := ca.New(c)
		assert.ErrorContains(t, err, "New: missing or invalid: ", name)
	}
}
