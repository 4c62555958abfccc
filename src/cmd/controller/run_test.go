package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// runWithEnv runs the program with these environment variables, without a cluster.
func runWithEnv(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	lookup := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	code = run(t.Context(), args, lookup, &out, &errs)
	return code, out.String(), errs.String()
}

func TestTheProgramAnswersQuestionsWithoutACluster(t *testing.T) {
	code, out, _ := runWithEnv(t, nil, "--version")
	assert.Zero(t, code)
	assert.NotEmpty(t, out)
	code, out, _ = runWithEnv(t, nil, "trust")
	assert.Zero(t, code)
	assert.Contains(t, out, "CN=DigiCert Global Root G2")
	code, _, errs := runWithEnv(t, nil, "--help")
	assert.Zero(t, code)
	assert.Contains(t, errs, "azure-resync-period")
}

func TestSettingsThatCannotWorkAreRefusedAtStart(t *testing.T) {
	azureJSON := filepath.Join(t.TempDir(), "azure.json")
	require.NoError(t, os.WriteFile(azureJSON, []byte(`{"tenantId":"11111111-1111-4111-8111-111111111111","useManagedIdentityExtension":true}`), 0o600))
	environment := map[string]string{"AUTH_TYPE": "environment"}
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		code int
		says string
	}{
		"an unknown flag":        {nil, []string{"--nonsense"}, 2, "nonsense"},
		"rules that are none":    {nil, []string{"--vault-rules=x"}, 2, "vaultRules"},
		"half of a default":      {nil, []string{"--default-identity=team"}, 2, "NAMESPACE=SERVICEACCOUNT"},
		"metrics neither nor":    {map[string]string{"METRICS_ENABLED": "maybe"}, nil, 2, "METRICS_ENABLED must be true or false"},
		"no port":                {map[string]string{"HTTP_PORT": "x"}, nil, 2, "HTTP_PORT"},
		"port zero":              {map[string]string{"HTTP_PORT": "0"}, nil, 2, "HTTP_PORT"},
		"a port too high":        {map[string]string{"HTTP_PORT": "65536"}, nil, 2, "HTTP_PORT"},
		"a window in the past":   {nil, []string{"--rollout-restart-window=-1s"}, 2, "controller.rolloutRestart.window"},
		"no workers":             {nil, []string{"--workers=0"}, 2, "--workers"},
		"a window of a day":      {nil, []string{"--rollout-restart-window=24h"}, 2, "controller.rolloutRestart.window"},
		"a warning in the past":  {nil, []string{"--expiry-warning=-1h"}, 2, "controller.expiryWarning"},
		"an unknown log format":  {nil, []string{"--logging-format=xml"}, 1, "use text or json"},
		"no azure.json":          {nil, []string{"--cloudconfig=/no/such/file"}, 1, "keyVaultAuth"},
		"an unknown cloud":       {map[string]string{"AUTH_TYPE": "environment", "AZURE_ENVIRONMENT": "MarsCloud"}, nil, 1, "AzureChinaCloud"},
		"half a credential":      {map[string]string{"AUTH_TYPE": "environment", "AZURE_TENANT_ID": "11111111-1111-4111-8111-111111111111", "AZURE_CLIENT_ID": "c"}, nil, 1, "AZURE_CLIENT_SECRET"},
		"an unknown method":      {map[string]string{"AUTH_TYPE": "magic"}, nil, 1, "azureCloudConfig"},
		"no extra CA":            {environment, []string{"--extra-ca-file=/no/such/file"}, 1, "global.extraCACertificates"},
		"an extra CA that isn't": {environment, []string{"--extra-ca-file=" + azureJSON}, 1, "contain no PEM"},
		"no cluster for CRDs":    {nil, []string{"apply-crds"}, 1, "kubeconfig"},
		"no cluster":             {nil, []string{"--cloudconfig=" + azureJSON, "--kubeconfig=/no/such/file"}, 1, "kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := runWithEnv(t, c.env, append(slices.Clone(c.args), "--kubeconfig=/no/such/file")...)
			assert.Equal(t, c.code, code)
			assert.Contains(t, errs, c.says)
		})
	}
}

func TestEverySettingOfV1IsAccepted(t *testing.T) {
	env := map[string]string{"AUTH_TYPE": "environment", "METRICS_ENABLED": "true", "HTTP_PORT": "9100", "OBJECT_LABELS": "app=a,tier in (x,y),!old", "RUNTIME_NAMESPACE": "own"}
	s, err := parse([]string{"--cloudconfig=/etc/azure.json", "--watch-all-namespaces=false", "--azure-resync-period=60", "--kube-resync-period=45", "--logging-format=json",
		"--kubeconfig=/k", "--master=https://m", "--v=debug"}, func(name string) (string, bool) { value, ok := env[name]; return value, ok }, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, []any{"/etc/azure.json", false, 60, 45, "json", "/k", "https://m", "debug"},
		[]any{s.cloudConfig, s.watchAll, s.resyncSeconds, s.kubeResyncSeconds, s.logFormat, s.kubeconfig, s.master, s.logLevel})
	assert.Equal(t, []any{"environment", true, "9100", "own"}, []any{s.authType, s.serveMetrics, s.httpPort, s.namespace})
	selector, err := labels.Parse(s.objectLabels)
	require.NoError(t, err, "equality and set-based")
	assert.True(t, selector.Matches(labels.Set{"app": "a", "tier": "y"}))
	assert.False(t, selector.Matches(labels.Set{"app": "a", "tier": "y", "old": ""}))
	_, err = parse([]string{"--version"}, func(string) (string, bool) { return "", false }, io.Discard)
	assert.NoError(t, err)
}

func TestEverySettingOfOursIsRead(t *testing.T) {
	nothing := func(string) (string, bool) { return "", false }
	s, err := parse([]string{"--fullname=own", "--extra-ca-file=/ca", "--identities", "--default-identity=team=reader", "--vault-limit=7",
		"--subscription-limit=8", "--readers=9", "--vault-fallback=kv-one=kv-two", `--vault-rules=[]`, "--workers=3", "--expiry-warning=1h",
		"--rollout-restart", "--rollout-restart-window=5s"}, nothing, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, []any{"own", "/ca", true, true, 3, time.Hour, 5 * time.Second},
		[]any{s.fullname, s.extraCAFile, s.identities.AllowServiceAccounts, s.restartWorkloads, s.workers, s.expiryWarning, s.restartWindow})
	assert.Equal(t, vaultclient.RateLimits{Vault: 7, Subscription: 8, Readers: 9}, s.limits)
	assert.Equal(t, vaultclient.VaultFallbacks{"kv-one": "kv-two"}, s.fallbacks)
	assert.Equal(t, "reader", s.identities.IdentityFor("team", "").ServiceAccount)
	s, err = parse(nil, nothing, io.Discard)
	require.NoError(t, err)
	assert.False(t, s.identities.AllowServiceAccounts, "nobody reads as somebody else unless the installation says so")
	assert.False(t, s.restartWorkloads)
}

func TestAnInstallationWatchesItsOwnNamespaceAloneIfItIsToldSo(t *testing.T) {
	for all, want := range map[bool]map[string]cache.Config{true: nil, false: {"own": {}}} {
		options, err := settings{namespace: "own", fullname: "akv", watchAll: all, objectLabels: "team=a"}.managerOptions(logr.Discard())
		require.NoError(t, err)
		assert.Equal(t, want, options.Cache.DefaultNamespaces)
		assert.Equal(t, []string{"akv-controller", "own"}, []string{options.LeaderElectionID, options.LeaderElectionNamespace})
		assert.True(t, options.LeaderElection, "two replicas would write in turns")
		for object, by := range options.Cache.ByObject {
			_, resource := object.(*v2beta1.AzureKeyVaultSecret)
			assert.Equal(t, resource, by.Label.Matches(labels.Set{"team": "a"}), "%T", object)
			assert.Equal(t, !resource, by.Label.Matches(labels.Set{wire.LabelManaged: "true"}), "%T", object)
			assert.False(t, by.Label.Matches(labels.Set{"team": "b"}), "%T", object)
		}
		assert.Len(t, options.Cache.ByObject, 3)
	}
	_, err := settings{objectLabels: "a=b=c"}.managerOptions(logr.Discard())
	assert.ErrorContains(t, err, "OBJECT_LABELS")
}

func TestADefinitionThatMayNotBeReadIsNotCheckedAndAnotherErrorIsTold(t *testing.T) {
	for reason, answer := range map[string]error{
		"":               apierrors.NewForbidden(schema.GroupResource{}, "crd", errors.New("no")),
		"no reply":       errors.New("no reply"),
		"does not exist": apierrors.NewNotFound(schema.GroupResource{}, "crd"),
	} {
		api := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
			Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return answer
			},
		})
		err := checkCRDs(t.Context(), api, logr.Discard())
		if reason == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, reason)
		}
	}
}

func TestOfOutputsTheCacheKeepsNoMoreThanIsAsked(t *testing.T) {
	object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: "7", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d", "keys.akv2k8s.io/u": "db: password"},
		OwnerReferences: []metav1.OwnerReference{{UID: "u"}}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}}}
	kept, err := stripMetadata(object)
	require.NoError(t, err)
	assert.Equal(t, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: "7", OwnerReferences: []metav1.OwnerReference{{UID: "u"}},
		Annotations: map[string]string{"keys.akv2k8s.io/u": "db: password"}}}, kept)
	kept, err = stripMetadata("a tombstone")
	require.NoError(t, err)
	assert.Equal(t, "a tombstone", kept)
}
