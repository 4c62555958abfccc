package servingcert_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/akv2k8s/akv2k8s/src/servingcert"
)

const host = "akv2k8s-envinjector.akv2k8s.svc"

type rotatorTest struct {
	*testing.T
	client client.Client
	now    time.Time
	step   time.Duration
}

func newRotatorTest(t *testing.T) *rotatorTest {
	t.Helper()
	service := admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "akv2k8s", Name: "akv2k8s-envinjector"}}
	none := admissionv1.SideEffectClassNone
	return &rotatorTest{T: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), client: fake.NewClientBuilder().WithObjects(
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "serving", Labels: map[string]string{"kept": "yes"}}},
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "hook", Annotations: map[string]string{"akv2k8s.io/ca": "env-injector"}}, Webhooks: []admissionv1.MutatingWebhook{
			{Name: "a.example.org", ClientConfig: service, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}},
			{Name: "b.example.org", ClientConfig: service, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}}},
	).Build()}
}

// clock advances by step, if there is one, on each call.
func (b *rotatorTest) clock() time.Time {
	if b.step > 0 { // else keepers may ask at once
		b.now = b.now.Add(b.step)
	}
	return b.now
}

func (b *rotatorTest) newRotator() *servingcert.Rotator {
	b.Helper()
	k, err := servingcert.New(servingcert.Config{Live: b.client, Writer: b.client, Secret: types.NamespacedName{Namespace: "akv2k8s", Name: "serving"},
		WebhookConfigName: "hook", DNSNames: []string{host}, Clock: b.clock, Random: rand.Reader})
	require.NoError(b, err)
	return k
}

func (b *rotatorTest) readSecret() *corev1.Secret {
	b.Helper()
	var secret corev1.Secret
	require.NoError(b, b.client.Get(b.Context(), types.NamespacedName{Namespace: "akv2k8s", Name: "serving"}, &secret))
	return &secret
}

func (b *rotatorTest) caBundles() []string {
	b.Helper()
	var hook admissionv1.MutatingWebhookConfiguration
	require.NoError(b, b.client.Get(b.Context(), types.NamespacedName{Name: "hook"}, &hook))
	var bundles []string
	for _, webhook := range hook.Webhooks {
		require.NotNil(b, webhook.ClientConfig.Service, "nothing but the bundle is touched")
		bundles = append(bundles, string(webhook.ClientConfig.CABundle))
	}
	return bundles
}

func (b *rotatorTest) reconcileUntilReady(k *servingcert.Rotator) ctrl.Result {
	b.Helper()
	for range 3 {
		result, err := k.Reconcile(b.Context(), ctrl.Request{})
		require.NoError(b, err)
		if k.CheckReady() == nil {
			return result
		}
	}
	b.Fatal("the rotator does not get ready")
	return ctrl.Result{}
}

// verifyLeaf reports whether a client that trusts only root accepts the leaf of the rotator.
func (b *rotatorTest) verifyLeaf(root string, k *servingcert.Rotator) error {
	b.Helper()
	pool := x509.NewCertPool()
	require.True(b, pool.AppendCertsFromPEM([]byte(root)))
	served, err := k.GetCertificate(&tls.ClientHelloInfo{ServerName: host})
	require.NoError(b, err)
	between := x509.NewCertPool()
	for _, der := range served.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		require.NoError(b, err)
		between.AddCert(cert)
	}
	_, err = served.Leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, DNSName: host, CurrentTime: b.now})
	return err
}

func TestTheFirstReplicaMakesACAAndPublishesItBeforeItIsReady(t *testing.T) {
	b := newRotatorTest(t)
	k := b.newRotator()
	assert.Error(t, k.CheckReady())
	_, err := k.GetCertificate(nil)
	assert.Error(t, err)
	result := b.reconcileUntilReady(k)
	assert.InDelta(t, 60*24*time.Hour, result.RequeueAfter, float64(time.Hour), "the leaf is renewed at two thirds of 90 days")
	assert.Equal(t, []string{k.RootCAs(), k.RootCAs()}, b.caBundles())
	assert.NoError(t, b.verifyLeaf(k.RootCAs(), k))
	assert.Equal(t, "yes", b.readSecret().Labels["kept"])
}

func TestARenewalWhoseTimeComesMeanwhileIsNotForgotten(t *testing.T) {
	for before := range 10 { // in one of these the time comes between the look at the leaf and the plan for the next
		b := newRotatorTest(t)
		k := b.newRotator()
		wait := b.reconcileUntilReady(k).RequeueAfter
		b.now, b.step = b.now.Add(wait-time.Duration(before)*time.Second), time.Second
		assert.Positive(t, b.reconcileUntilReady(k).RequeueAfter, "controller-runtime takes zero and less for never")
	}
}

func TestReplicasShareOneCAAlsoIfTheyStartAtOnce(t *testing.T) {
	b := newRotatorTest(t)
	one, two := b.newRotator(), b.newRotator()
	done := make(chan struct{})
	go func() { defer close(done); _, _ = one.Reconcile(t.Context(), ctrl.Request{}) }()
	_, _ = two.Reconcile(t.Context(), ctrl.Request{})
	<-done
	b.reconcileUntilReady(one)
	b.reconcileUntilReady(two)
	assert.Equal(t, one.RootCAs(), two.RootCAs())
	assert.NoError(t, b.verifyLeaf(one.RootCAs(), two))
	assert.NoError(t, b.verifyLeaf(two.RootCAs(), one))
}

func TestTheBundleIsRepairedAndNotWrittenWithoutNeed(t *testing.T) {
	b := newRotatorTest(t)
	k := b.newRotator()
	b.reconcileUntilReady(k)
	var hook admissionv1.MutatingWebhookConfiguration
	require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Name: "hook"}, &hook))
	version := hook.ResourceVersion
	b.reconcileUntilReady(k)
	require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Name: "hook"}, &hook))
	assert.Equal(t, version, hook.ResourceVersion)
	hook.Webhooks[1].ClientConfig.CABundle = nil
	require.NoError(t, b.client.Update(t.Context(), &hook))
	b.reconcileUntilReady(k)
	assert.Equal(t, []string{k.RootCAs(), k.RootCAs()}, b.caBundles())
}

func TestTheLeafIsRenewedInTime(t *testing.T) {
	b := newRotatorTest(t)
	k := b.newRotator()
	b.reconcileUntilReady(k)
	first, _ := k.GetCertificate(nil)
	b.now = b.now.Add(59 * 24 * time.Hour)
	b.reconcileUntilReady(k)
	same, _ := k.GetCertificate(nil)
	assert.Same(t, first, same)
	b.now = b.now.Add(2 * 24 * time.Hour)
	b.reconcileUntilReady(k)
	renewed, _ := k.GetCertificate(nil)
	assert.NotSame(t, first, renewed)
	assert.NoError(t, b.verifyLeaf(k.RootCAs(), k))
}

func TestAnEmptiedSecretGivesANewCA(t *testing.T) {
	b := newRotatorTest(t)
	k := b.newRotator()
	b.reconcileUntilReady(k)
	before := k.RootCAs()
	secret := b.readSecret()
	secret.Data = nil
	require.NoError(t, b.client.Update(t.Context(), secret))
	b.reconcileUntilReady(k)
	assert.NotEqual(t, before, k.RootCAs())
	assert.NoError(t, b.verifyLeaf(k.RootCAs(), k), "the leaf is of the new CA")
	assert.Error(t, b.verifyLeaf(before, k))
}

func TestABrokenSecretIsNotOverwritten(t *testing.T) {
	other := newRotatorTest(t)
	other.reconcileUntilReady(other.newRotator())
	foreign := other.readSecret().Data["ca.key"]
	k := other.newRotator()
	_, err := k.GetCertificate(nil)
	require.Error(t, err, "there is none yet")
	other.reconcileUntilReady(k)
	served, err := k.GetCertificate(nil)
	require.NoError(t, err)
	certificate := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	for name, c := range map[string]struct {
		spoil func(map[string][]byte)
		says  string
	}{
		"no PEM":               {func(d map[string][]byte) { d["ca.crt"] = []byte("x") }, "ca.crt or ca.key is not PEM"},
		"half of it":           {func(d map[string][]byte) { delete(d, "ca.key") }, "ca.crt or ca.key is not PEM"},
		"another CA's key":     {func(d map[string][]byte) { d["ca.key"] = foreign }, "its key does not belong to its certificate"},
		"a key that is none":   {func(d map[string][]byte) { d["ca.key"] = certificate([]byte("x")) }, "its key does not belong to its certificate"},
		"a leaf":               {func(d map[string][]byte) { d["ca.crt"] = certificate(served.Certificate[0]) }, "its certificate is not a CA certificate"},
		"no certificate in it": {func(d map[string][]byte) { d["ca.crt"] = certificate([]byte("x")) }, "its certificate is not a CA certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newRotatorTest(t)
			b.reconcileUntilReady(b.newRotator())
			secret := b.readSecret()
			c.spoil(secret.Data)
			require.NoError(t, b.client.Update(t.Context(), secret))
			k := b.newRotator()
			_, err := k.Reconcile(t.Context(), ctrl.Request{})
			require.ErrorContains(t, err, "Secret akv2k8s/serving")
			require.ErrorContains(t, err, c.says)
			assert.False(t, strings.Contains(err.Error(), "BEGIN"), "the error quotes nothing of the key")
			assert.Error(t, k.CheckReady())
			assert.Equal(t, secret.Data, b.readSecret().Data)
		})
	}
}

func TestEachFieldOfARotatorIsRequired(t *testing.T) {
	whole := newRotatorTest(t).newRotator().Config
	_, err := servingcert.New(whole)
	require.NoError(t, err)
	for name, without := range map[string]func(*servingcert.Config){
		"live": func(c *servingcert.Config) { c.Live = nil }, "writer": func(c *servingcert.Config) { c.Writer = nil },
		"secret": func(c *servingcert.Config) { c.Secret.Name = "" }, "webhook": func(c *servingcert.Config) { c.WebhookConfigName = "" },
		"names": func(c *servingcert.Config) { c.DNSNames = nil }, "clock": func(c *servingcert.Config) { c.Clock = nil }, "random": func(c *servingcert.Config) { c.Random = nil },
	} {
		c := whole
		without(&c)
		_, err := servingcert.New(c)
		assert.ErrorContains(t, err, "New: missing or invalid: ", name)
	}
}

func TestWhatTheChartRendersIsMissing(t *testing.T) {
	b := newRotatorTest(t)
	require.NoError(t, b.client.Delete(t.Context(), b.readSecret()))
	_, err := b.newRotator().Reconcile(t.Context(), ctrl.Request{})
	assert.ErrorContains(t, err, "run helm upgrade")
	b = newRotatorTest(t)
	require.NoError(t, b.client.Delete(t.Context(), &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "hook"}}))
	_, err = b.newRotator().Reconcile(t.Context(), ctrl.Request{})
	assert.ErrorContains(t, err, "run helm upgrade")
	_, err = servingcert.New(servingcert.Config{})
	assert.Error(t, err)
}

// firstCertificate is the first certificate of a bundle.
func firstCertificate(bundle string) string {
	return bundle[:strings.Index(bundle, "-----END CERTIFICATE-----")+len("-----END CERTIFICATE-----\n")]
}

func TestWhoBelievesAnOldCABelievesTheNextOnes(t *testing.T) {
	b := newRotatorTest(t)
	one, two := b.newRotator(), b.newRotator()
	b.reconcileUntilReady(one)
	b.reconcileUntilReady(two)
	roots := []string{one.RootCAs()}
	for range 3 {
		b.now = b.now.Add(time.Second)
		require.NoError(t, one.RotateCA(t.Context()))
		b.reconcileUntilReady(one)
		roots = append(roots, firstCertificate(one.RootCAs()))
		for age, root := range roots {
			assert.NoError(t, b.verifyLeaf(root, one), "the CA number %d", age)
		}
		assert.NoError(t, b.verifyLeaf(one.RootCAs(), two), "a replica that does not know yet is believed by pods that are made now")
		assert.Equal(t, []string{one.RootCAs(), one.RootCAs()}, b.caBundles(), "and by the API server")
		b.reconcileUntilReady(two)
		assert.Equal(t, one.RootCAs(), two.RootCAs())
	}
	for age, root := range roots[1:] {
		assert.NotEqual(t, roots[age], root, "each is a new one")
	}
	assert.NotContains(t, one.RootCAs(), "PRIVATE")
	// After a compromise no previous CA is trusted.
	require.NoError(t, one.ReplaceCA(t.Context()))
	b.reconcileUntilReady(one)
	for age, root := range roots {
		assert.Error(t, b.verifyLeaf(root, one), "the CA number %d", age)
	}
	assert.NoError(t, b.verifyLeaf(one.RootCAs(), one))
	assert.Equal(t, 1, strings.Count(one.RootCAs(), "BEGIN"))
	assert.NotContains(t, b.readSecret().Data, "cross.crt")
}

func TestTheCAIsRotatedInTimeAndThePastEnds(t *testing.T) {
	b := newRotatorTest(t)
	k := b.newRotator()
	b.reconcileUntilReady(k)
	first := k.RootCAs()
	b.now = b.now.Add(6*365*24*time.Hour + 210*24*time.Hour)
	b.reconcileUntilReady(k)
	assert.Equal(t, first, k.RootCAs())
	b.now = b.now.Add(60 * 24 * time.Hour)
	b.reconcileUntilReady(k)
	assert.NotEqual(t, first, firstCertificate(k.RootCAs()))
	assert.NoError(t, b.verifyLeaf(first, k))
	b.now = b.now.Add(4 * 365 * 24 * time.Hour)
	b.reconcileUntilReady(k)
	assert.NotContains(t, k.RootCAs(), first, "an expired CA is no longer believed")
	assert.Error(t, b.verifyLeaf(first, k))
	assert.NoError(t, b.verifyLeaf(k.RootCAs(), k))
	empty := newRotatorTest(t)
	assert.ErrorContains(t, empty.newRotator().RotateCA(t.Context()), "no CA yet")
}

func TestACAThatComesFromElsewhereIsLeft(t *testing.T) {
	for _, annotation := range []string{"akv2k8s.io/ca", "cert-manager.io/inject-ca-from", "of-v1"} {
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
