package clustertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
)

// Names of the cluster's objects.
const (
	// Namespace is that of the installation, and Team one with injected pods.
	Namespace = "akv2k8s"
	Team      = "team"
)

// Cluster is a cluster with an installation. Objects can be changed before Client is called.
type Cluster struct {
	// Objects are all objects that exist, by client.Object.
	Objects []client.Object
	// Now is the time of the test, and of the API server unless ServerTime is set.
	Now        time.Time
	ServerTime time.Time
	// GitVersion is the version of the API server.
	GitVersion string
	// Denies returns whether the user lacks a right; nil means that the user has all rights.
	Denies func(verb, resource, namespace string) bool
	// Admit is the admission of pods after the webhook's; nil admits all.
	Admit func(pod *corev1.Pod) error
	// CallWebhook is an error of the API server when it calls the webhook; nil means success.
	CallWebhook error
	// WebhookFailures is the number of calls that fail with CallWebhook; 0 means all.
	WebhookFailures int
	// SlowWebhook makes the API server wait for the webhook until the request ends.
	SlowWebhook bool
	// IgnoresWebhook makes the API server accept pods without calling the webhook.
	IgnoresWebhook bool

	mu sync.Mutex
	// DryRuns are the pods that were created as dry runs.
	DryRuns []*corev1.Pod
}

// New returns a cluster with a healthy installation of the chart with these values.
func New(t *testing.T, values ...string) *Cluster {
	t.Helper()
	c := &Cluster{Now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), GitVersion: "v1.37.0"}
	scheme := NewScheme(t)
	bundle := NewCA(t, c.Now.Add(-time.Hour), c.Now.Add(90*24*time.Hour))
	for _, rendered := range Render(t, Namespace, values...) {
		typed, err := scheme.New(rendered.GroupVersionKind())
		if err != nil {
			continue // kinds of other products
		}
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(rendered.Object, typed))
		switch object := typed.(type) {
		case *appsv1.Deployment:
			replicas := ptr.Deref(object.Spec.Replicas, 1)
			object.Status = appsv1.DeploymentStatus{Replicas: replicas, ReadyReplicas: replicas,
				UpdatedReplicas: replicas, AvailableReplicas: replicas}
		case *admissionv1.MutatingWebhookConfiguration:
			object.Webhooks[0].ClientConfig.CABundle = bundle
		case *corev1.Secret:
			if object.Name == "akv2k8s-envinjector-serving" {
				object.Data = map[string][]byte{"ca.crt": bundle}
			}
		}
		c.Objects = append(c.Objects, typed.(client.Object))
	}
	c.addSurroundings(t)
	return c
}

// Empty returns a cluster without an installation.
func Empty(t *testing.T) *Cluster {
	t.Helper()
	c := &Cluster{Now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), GitVersion: "v1.37.0"}
	c.addSurroundings(t)
	kept := c.Objects[:0]
	for _, object := range c.Objects {
		_, isDefinition := object.(*unstructured.Unstructured)
		_, isSlice := object.(*discoveryv1.EndpointSlice)
		if !isDefinition && !isSlice {
			kept = append(kept, object)
		}
	}
	c.Objects = kept
	return c
}

// addSurroundings adds what the chart does not have.
func (c *Cluster) addSurroundings(t *testing.T) {
	t.Helper()
	definition := &unstructured.Unstructured{}
	require.NoError(t, yaml.Unmarshal(crd.YAML(), &definition.Object))
	label := map[string]string{"azure-key-vault-env-injection": "enabled", "kubernetes.io/metadata.name": Team}
	c.Objects = append(c.Objects, definition,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Team, Labels: label}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}},
		&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: "akv2k8s-envinjector-x",
			Labels: map[string]string{discoveryv1.LabelServiceName: "akv2k8s-envinjector"}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}, {Addresses: []string{"10.0.0.2"}}}})
	for _, name := range []string{"node-1", "node-2"} {
		c.Objects = append(c.Objects, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady,
				Status: corev1.ConditionTrue}}, NodeInfo: corev1.NodeSystemInfo{KubeletVersion: "v1.37.0",
				OperatingSystem: "linux", ContainerRuntimeVersion: "containerd://2.1.4"}}},
			&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: name},
				Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: c.Now.Add(-5 * time.Second)}}})
	}
	c.Objects = append(c.Objects, &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: Team,
		Name: "database", Generation: 1}, Status: v2beta1.AzureKeyVaultSecretStatus{ObservedGeneration: 1,
		Conditions: []metav1.Condition{{Type: v2beta1.ConditionReady, Status: metav1.ConditionTrue,
			Reason: "Synced"}}}})
}

// Find returns the object of a type with a name; it fails the test if there is none.
func Find[T client.Object](t *testing.T, c *Cluster, name string) T {
	t.Helper()
	for _, object := range c.Objects {
		if typed, ok := object.(T); ok && object.GetName() == name {
			return typed
		}
	}
	require.FailNow(t, "the cluster has no such object", name)
	panic("unreachable")
}

// Remove removes the object of a type with a name.
func Remove[T client.Object](t *testing.T, c *Cluster, name string) {
	t.Helper()
	gone := client.Object(Find[T](t, c, name))
	kept := make([]client.Object, 0, len(c.Objects))
	for _, object := range c.Objects {
		if object != gone {
			kept = append(kept, object)
		}
	}
	c.Objects = kept
}

// Add adds objects.
func (c *Cluster) Add(objects ...client.Object) { c.Objects = append(c.Objects, objects...) }

// NewScheme returns the scheme of the command line.
func NewScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	require.NoError(t, v2beta1.AddToScheme(scheme))
	return scheme
}

// Client returns a client of the cluster.
func (c *Cluster) Client(t *testing.T) client.WithWatch {
	t.Helper()
	return fake.NewClientBuilder().WithScheme(NewScheme(t)).WithObjects(c.Objects...).
		WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string {
			return []string{string(o.(*corev1.Event).InvolvedObject.UID)}
		}).
		WithIndex(&corev1.Event{}, "reason", func(o client.Object) []string {
			return []string{o.(*corev1.Event).Reason}
		}).
		WithInterceptorFuncs(interceptor.Funcs{Create: c.createObject, Get: c.getObject, List: c.listObjects}).Build()
}

// Version implements the server of the doctor.
func (c *Cluster) Version(context.Context) (*version.Info, time.Time, error) {
	at := c.ServerTime
	if at.IsZero() {
		at = c.Now
	}
	return &version.Info{GitVersion: c.GitVersion}, at, nil
}

// NewCA returns a certificate authority of its own, PEM.
func NewCA(t *testing.T, from, until time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: rand.Text()}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: from, NotAfter: until, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// SetCA makes a certificate authority that of the webhook.
func SetCA(t *testing.T, c *Cluster, bundle []byte) {
	t.Helper()
	Find[*admissionv1.MutatingWebhookConfiguration](t, c,
		"akv2k8s-envinjector").Webhooks[0].ClientConfig.CABundle = bundle
	Find[*corev1.Secret](t, c, "akv2k8s-envinjector-serving").Data = map[string][]byte{"ca.crt": bundle}
}

// MoveTo moves the clock of the cluster, with the leases of its nodes.
func (c *Cluster) MoveTo(now time.Time) {
	for _, object := range c.Objects {
		if lease, ok := object.(*coordinationv1.Lease); ok {
			lease.Spec.RenewTime = &metav1.MicroTime{Time: lease.Spec.RenewTime.Add(now.Sub(c.Now))}
		}
	}
	c.Now = now
}
