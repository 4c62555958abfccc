//go:build cluster

package eso

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/statushash"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/controller/syncmetrics"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
)

// newVaults returns a client of the emulated vaults, as the controller has.
func newVaults(t *testing.T, a azure) *vaultclient.Client {
	t.Helper()
	t.Setenv("HTTPS_PROXY", a.proxy)
	environment := map[string]string{"AZURE_TENANT_ID": azuretest.Tenant, "AZURE_CLIENT_ID": azuretest.AppClientID,
		"AZURE_CLIENT_SECRET": a.AppSecret}
	vaults, err := vaultclient.New(vaultclient.Config{AuthType: "environment", ExtraCAs: a.CA, CacheTTL: time.Minute,
		RateLimits: vaultclient.RateLimits{Vault: vaultclient.DefaultVaultLimit, Subscription: vaultclient.DefaultSubscriptionLimit, Readers: 1},
		LookupEnv: func(name string) (string, bool) {
			value, ok := environment[name]
			return value, ok
		}})
	require.NoError(t, err)
	return vaults
}

// runController returns the Secrets that the controller of akv2k8s writes for the converted documents.
func runController(t *testing.T, a azure, documents []string) map[string]secret {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	require.NoError(t, v2beta1.AddToScheme(scheme))
	key := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "status-key"}}
	objects := []client.Object{key}
	var resources []*v2beta1.AzureKeyVaultSecret
	for _, document := range documents {
		var r v2beta1.AzureKeyVaultSecret
		require.NoError(t, yaml.Unmarshal([]byte(document), &r))
		if r.Kind != "AzureKeyVaultSecret" {
			continue
		}
		r.UID, r.Generation = types.UID("uid-"+r.Name), 1
		r.CreationTimestamp = metav1.Date(2026, 1, 1, 0, 0, len(resources), 0, time.UTC)
		resources = append(resources, &r)
		objects = append(objects, &r)
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v2beta1.AzureKeyVaultSecret{}).WithReturnManagedFields().
		WithIndex(store.NewPartialMetadata(output.Secret), store.OwnerIndex, store.OwnerIndexValues).
		WithIndex(store.NewPartialMetadata(output.ConfigMap), store.OwnerIndex, store.OwnerIndexValues).Build()
	metrics, err := syncmetrics.New(prometheus.NewRegistry())
	require.NoError(t, err)
	c, err := controller.New(controller.Config{Client: api, APIReader: api, Vault: newVaults(t, a),
		Events: events.NewFakeRecorder(1000), Metrics: metrics, DecodePool: decodepool.New(decodepool.Config{}),
		Hasher: &statushash.Key{APIReader: api, Writer: api, Random: strings.NewReader(strings.Repeat("k", 320)),
			Clock: time.Now, SecretName: types.NamespacedName{Namespace: "akv2k8s", Name: "status-key"}},
		RefreshInterval: time.Minute, FetchTimeout: 30 * time.Second, Clock: time.Now})
	require.NoError(t, err)
	for _, r := range resources {
		_, err := c.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(r)})
		require.NoError(t, err, r.Name)
		if r.Spec.Output != nil { // else only pods use it
			requireReady(t, api, r)
		}
	}
	var all corev1.SecretList
	require.NoError(t, api.List(context.Background(), &all, client.InNamespace("shop")))
	byName := map[string]secret{}
	for _, s := range all.Items {
		byName[s.Name] = secret{string(s.Type), s.Data, s.Labels, s.Annotations, s.Immutable != nil && *s.Immutable}
	}
	return byName
}

func requireReady(t *testing.T, api client.Client, r *v2beta1.AzureKeyVaultSecret) {
	t.Helper()
	var live v2beta1.AzureKeyVaultSecret
	require.NoError(t, api.Get(t.Context(), client.ObjectKeyFromObject(r), &live))
	for _, condition := range live.Status.Conditions {
		if condition.Type == v2beta1.ConditionReady {
			require.Equal(t, metav1.ConditionTrue, condition.Status, "%s: %s", r.Name, condition.Message)
			return
		}
	}
	t.Fatalf("%s has no condition", r.Name)
}
