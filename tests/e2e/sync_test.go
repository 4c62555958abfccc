//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// repairWithin is the promise for a Secret that was edited or deleted by hand.
const repairWithin = 5 * time.Second

func secretIsSynced(t *testing.T) {
	tm := newTeam(t)
	r := tm.resource("db", "db", "database")
	t.Logf("first sync after %s", tm.awaitValue("database", canary+"-db", patience))
	tm.awaitReason("db", "Synced")
	var secret corev1.Secret
	require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Namespace: tm.namespace, Name: "database"}, &secret))
	assert.Equal(t, corev1.SecretTypeOpaque, secret.Type)
	require.Len(t, secret.OwnerReferences, 1)
	assert.Equal(t, r.UID, secret.OwnerReferences[0].UID)
	assert.Equal(t, "spv.no/v2beta1", secret.OwnerReferences[0].APIVersion)
	require.NotEmpty(t, secret.ManagedFields)
	for _, entry := range secret.ManagedFields {
		assert.Equal(t, "akv2k8s-"+string(r.UID), entry.Manager)
		assert.Equal(t, metav1.ManagedFieldsOperationApply, entry.Operation)
	}
	var status v2beta1.AzureKeyVaultSecret
	require.NoError(t, s.Client.Get(t.Context(), client.ObjectKeyFromObject(r), &status))
	assert.Equal(t, "database", status.Status.SecretName)
	assert.NotEmpty(t, status.Status.SecretHash)
	assert.Equal(t, r.Generation, status.Status.ObservedGeneration)

	require.NoError(t, s.Azure.Put(t.Context(), tm.vault, "db", canary+"-db-2"))
	t.Logf("a new version arrived after %s", tm.awaitValue("database", canary+"-db-2", patience))
	assert.NoError(t, stage.Await(t.Context(), patience, "the event", func(ctx context.Context) error {
		var events eventsv1.EventList
		if err := s.Client.List(ctx, &events, client.InNamespace(tm.namespace)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == "Synced" && e.Type == "Normal" && e.Regarding.Name == "db" {
				return nil
			}
		}
		return fmt.Errorf("there are %d events", len(events.Items))
	}))
	require.NoError(t, s.Client.Delete(t.Context(), r))
	assert.NoError(t, stage.Await(t.Context(), patience, "the Secret to go with its resource", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(&secret), &corev1.Secret{}); err == nil {
			return fmt.Errorf("it is still there")
		}
		return nil
	}))
}

func secretIsRepaired(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "database")
	tm.awaitValue("database", canary+"-db", patience)
	key := types.NamespacedName{Namespace: tm.namespace, Name: "database"}
	for name, harm := range map[string]func(*corev1.Secret) error{
		"edited": func(secret *corev1.Secret) error {
			secret.Data["password"] = []byte("edited")
			return s.Client.Update(t.Context(), secret)
		},
		"robbed of its key": func(secret *corev1.Secret) error {
			delete(secret.Data, "password")
			return s.Client.Update(t.Context(), secret)
		},
		"robbed of its labels and owner": func(secret *corev1.Secret) error {
			secret.Labels, secret.OwnerReferences = nil, nil
			return s.Client.Update(t.Context(), secret)
		},
		"deleted": func(secret *corev1.Secret) error { return s.Client.Delete(t.Context(), secret) },
	} {
		var secret corev1.Secret
		require.NoError(t, s.Client.Get(t.Context(), key, &secret))
		require.NoError(t, harm(&secret), name)
		started := time.Now()
		require.NoError(t, stage.Await(t.Context(), repairWithin, "the repair of a Secret that was "+name, func(ctx context.Context) error {
			var now corev1.Secret
			if err := s.Client.Get(ctx, key, &now); err != nil {
				return err
			}
			if string(now.Data["password"]) != canary+"-db" || len(now.OwnerReferences) != 1 || now.Labels["akv2k8s.io/managed"] != "true" {
				return fmt.Errorf("it is not as it was")
			}
			return nil
		}))
		t.Logf("%s: repaired after %s", name, time.Since(started))
	}
}

// failuresKeepTheSecret does one harm after the other, because healing ends all faults of the vault.
func failuresKeepTheSecret(t *testing.T) {
	tm := newTeam(t)
	heal := func(string) error { return s.Azure.Heal(t.Context(), tm.vault) }
	strikes := func(f keyvault.Fault) func(string) error {
		return func(object string) error {
			f.Vault, f.Name = tm.vault, object
			return s.Azure.Inject(t.Context(), f)
		}
	}
	act := func(action string) func(string) error {
		return func(object string) error { return s.Azure.Act(t.Context(), tm.vault, object, action) }
	}
	for name, c := range map[string]struct {
		harm, heal func(object string) error
		reason     string
		says       string
	}{
		"disabled": {act("disable"), act("enable"), "ObjectDisabled", "enable"},
		"deleted": {act("delete"), func(object string) error { return s.Azure.Put(t.Context(), tm.vault, object, canary+"-"+object) },
			"ObjectNotFound", "check"},
		"denied":           {strikes(keyvault.Fault{Status: 403, Code: "ForbiddenByRbac"}), heal, "AccessDenied", "Key Vault Secrets User"},
		"throttled":        {strikes(keyvault.Fault{Status: 429}), heal, "Throttled", "429"},
		"throttled-a-time": {strikes(keyvault.Fault{Status: 429, RetryAfter: 2}), heal, "Throttled", "429"},
		"server-error":     {strikes(keyvault.Fault{Status: 500}), heal, "VaultUnavailable", "500"},
		"slow":             {strikes(keyvault.Fault{LatencyMillis: 60_000}), heal, "VaultUnavailable", "in time"},
		"reset":            {strikes(keyvault.Fault{Drop: true}), heal, "VaultUnavailable", "failed"},
		"no-json":          {strikes(keyvault.Fault{Body: "<html>" + canary + "</html>"}), heal, "VaultUnavailable", "answered in its place"},
		"another-object": {strikes(keyvault.Fault{Body: `{"value":"` + canary + `","id":"https://` + tm.vault + `.vault.azure.net/secrets/other/0123","attributes":{"enabled":true}}`}),
			heal, "MalformedObject", "another object"},
		"bad-challenge": {strikes(keyvault.Fault{RefuseTokens: true, Challenge: `Bearer authorization="https://login.microsoftonline.com", resource="https://vault.azure.net"`}),
			heal, "VaultUnavailable", "could not be parsed"},
	} {
		tm.secret(name, canary+"-"+name)
		tm.resource(name, name, "secret-"+name)
		tm.awaitValue("secret-"+name, canary+"-"+name, patience)
		require.NoError(t, c.harm(name), name)
		assert.Contains(t, tm.awaitReason(name, c.reason), c.says, name)
		assert.Equal(t, canary+"-"+name, tm.value(t.Context(), "secret-"+name), "%s: the last Secret stays", name)
		require.NoError(t, c.heal(name), name)
		tm.awaitReason(name, "Synced")
		assert.Equal(t, canary+"-"+name, tm.value(t.Context(), "secret-"+name), name)
	}
	tm.resource("unknown", "no-such-object", "unknown")
	assert.Contains(t, tm.awaitReason("unknown", "ObjectNotFound"), `"no-such-object"`)
	// A vault where the identity has no permission at all.
	require.NoError(t, s.Azure.Permit(t.Context(), tm.vault, stage.KubeletObjectID))
	tm.resource("forbidden", "db", "forbidden")
	assert.Contains(t, tm.awaitReason("forbidden", "AccessDenied"), stage.KubeletObjectID, "the message names the principal")
}

// slowVault has more resources on a vault that does not answer than are written at once.
func slowVault(t *testing.T) {
	slow, quick := newTeam(t), newTeam(t)
	slow.vault += "-slow"
	slow.secret("db", canary+"-db")
	require.NoError(t, s.Azure.Inject(t.Context(), keyvault.Fault{Vault: slow.vault, LatencyMillis: 60_000}))
	defer func() { assert.NoError(t, s.Azure.Heal(t.Context(), slow.vault)) }()
	for i := range 12 {
		slow.resource(fmt.Sprintf("slow-%d", i), "db", fmt.Sprintf("slow-%d", i))
	}
	time.Sleep(time.Second)
	quick.resource("quick", "db", "database")
	t.Logf("synced after %s", quick.awaitValue("database", canary+"-db", 10*time.Second))
}

func foreignSecret(t *testing.T) {
	tm := newTeam(t)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: "database"},
		Data: map[string][]byte{"password": []byte("theirs"), "other": []byte("x")}}
	require.NoError(t, s.Client.Create(t.Context(), foreign))
	tm.resource("db", "db", "database")
	assert.Contains(t, tm.awaitReason("db", "TargetConflict"), "akv2k8s.io/adopt=password")
	assert.Equal(t, "theirs", tm.value(t.Context(), "database"))
	foreign.Annotations = map[string]string{"akv2k8s.io/adopt": "password"}
	require.NoError(t, s.Client.Update(t.Context(), foreign))
	tm.awaitValue("database", canary+"-db", patience)
	assert.Contains(t, tm.awaitReason("db", "Synced"), "also holds data of others")
}

// adoptedSecrets deletes a resource and renames the output of another: both leave what others have in their Secrets.
func adoptedSecrets(t *testing.T) {
	tm := newTeam(t)
	names := []string{"deleted", "renamed"}
	for _, name := range names {
		require.NoError(t, s.Client.Create(t.Context(), &corev1.Secret{Data: map[string][]byte{"theirs": []byte("x")},
			ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: name, Annotations: map[string]string{"akv2k8s.io/adopt": "true"}}}))
		tm.resource(name, "db", name)
	}
	for _, name := range names {
		tm.awaitValue(name, canary+"-db", patience)
	}
	resource := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: "deleted"}}
	require.NoError(t, s.Client.Delete(t.Context(), resource))
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"output":{"secret":{"name":"elsewhere"}}}}`))
	resource = &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: "renamed"}}
	require.NoError(t, s.Client.Patch(t.Context(), resource, patch))
	for _, name := range names {
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			var secret corev1.Secret
			require.NoError(c, s.Client.Get(t.Context(), types.NamespacedName{Namespace: tm.namespace, Name: name}, &secret))
			assert.Equal(c, map[string][]byte{"theirs": []byte("x")}, secret.Data)
			assert.Empty(c, secret.OwnerReferences)
		}, patience, time.Second)
	}
}

// azureAway cuts the way to Azure for the whole cluster.
func azureAway(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "database")
	tm.awaitValue("database", canary+"-db", patience)
	require.NoError(t, s.Away(t.Context()))
	message := tm.awaitReason("db", "VaultUnavailable")
	assert.Contains(t, message, "check")
	assert.Equal(t, canary+"-db", tm.value(t.Context(), "database"), "the last Secret stays")
	// A pod that starts meanwhile waits.
	tm.create(tm.pod("waits", map[string]string{"DB": "db@azurekeyvault"}, "sh", "-c", "echo started with ${#DB} characters"))
	tm.awaitLog("waits", "retrying")
	require.NoError(t, s.Back(t.Context()))
	require.NoError(t, s.Azure.Put(t.Context(), tm.vault, "db", canary+"-after"))
	t.Logf("recovered after %s", tm.awaitValue("database", canary+"-after", 2*patience))
	tm.awaitReason("db", "Synced")
	code, log := tm.ended("waits")
	assert.Zero(t, code)
	assert.Contains(t, log, fmt.Sprintf("started with %d characters", len(canary+"-after")))
}

// upgradeKeeps upgrades the release to the same chart with another setting.
func upgradeKeeps(t *testing.T) {
	made := func() []any {
		var key, serving corev1.Secret
		var hook admissionv1.MutatingWebhookConfiguration
		require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Namespace: "akv2k8s", Name: "akv2k8s-status-key"}, &key))
		require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Namespace: "akv2k8s", Name: "akv2k8s-envinjector-serving"}, &serving))
		require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Name: "akv2k8s-envinjector"}, &hook))
		return []any{key.Data, serving.Data, hook.Webhooks[0].ClientConfig.CABundle}
	}
	before := made()
	for _, part := range before {
		require.NotEmpty(t, part)
	}
	tm := newTeam(t)
	tm.resource("db", "db", "")
	_, err := s.Helm(t.Context(), "upgrade", "akv2k8s", s.Chart(), "--namespace", "akv2k8s", "--reuse-values", "--set", "env_injector.cache.maxAge=9s",
		"--wait", "--timeout", "3m")
	require.NoError(t, err)
	assert.Equal(t, before, made())
	tm.create(tm.pod("after", map[string]string{"DB": "db@azurekeyvault"}, "sh", "-c", "echo got ${#DB} characters"))
	code, log := tm.ended("after")
	assert.Zero(t, code)
	assert.Contains(t, log, fmt.Sprintf("got %d characters", len(canary+"-db")))
}
