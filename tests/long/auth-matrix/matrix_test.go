//go:build cluster

package authmatrix

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

// method is one way of authenticating: how the product is installed, and whose token it has to get by which flow.
type method struct {
	name string
	// principal is registered for this method alone, and alone may read its vault.
	principal entra.Principal
	// secret is the Kubernetes Secret azure-credentials, whose keys become variables.
	secret map[string]string
	values map[string]any
	// flow is the emulator's name of how the token was asked for.
	flow string
}

// id makes an identifier that is the method's own.
func id(n int, last string) string { return fmt.Sprintf("a%07d-0000-4000-8000-00000000000%s", n, last) }

// both is a value for controller and env-injector.
func both(values map[string]any) map[string]any {
	return map[string]any{"controller": values, "env_injector": maps.Clone(values)}
}

// environment is keyVaultAuth=environment with the variables of the Secret.
func environment(more map[string]any) map[string]any {
	global := map[string]any{"keyVaultAuth": "environment", "envFromSecret": []any{"azure-credentials"}}
	out := map[string]any{"global": global}
	for key, value := range more {
		out[key] = value
	}
	return out
}

const password = "of-the-file"

// certificate makes a PFX with a password, and the certificate that is registered for it.
func certificate(t *testing.T) (pfx, registered string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	content, err := pkcs12.Modern.Encode(key, cert, nil, password)
	require.NoError(t, err)
	return string(content), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// methods is the matrix. Workload identity needs the key that signs the cluster's tokens, so it is tried where that is
// known.
func methods(t *testing.T, s *stage.Stage) []method {
	t.Helper()
	app := func(n int) map[string]string {
		return map[string]string{"AZURE_TENANT_ID": local.TenantID, "AZURE_CLIENT_ID": id(n, "1")}
	}
	with := func(values map[string]string, more ...string) map[string]string {
		for i := 0; i < len(more); i += 2 {
			values[more[i]] = more[i+1]
		}
		return values
	}
	principal := func(n int) entra.Principal {
		return entra.Principal{Name: fmt.Sprintf("app%d", n), ClientID: id(n, "1"), ObjectID: id(n, "2")}
	}
	pfx, registered := certificate(t)
	// A Secret of its own: bytes can't become a variable, as the keys of azure-credentials do.
	require.NoError(t, s.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "azure-certificate"},
		Data: map[string][]byte{"app.pfx": []byte(pfx)}}))
	bySecret, byCertificate, byPassword, system, user, sovereign, separate, private := principal(1), principal(2), principal(3), principal(4), principal(5), principal(6), principal(7), principal(9)
	bySecret.Secret, sovereign.Secret, separate.Secret, private.Secret = "one-secret", "six-secret", "seven-secret", "nine-secret"
	byCertificate.Certificates = registered
	byPassword.Username, byPassword.Password = "user@example.org", "of-the-user"
	system.ManagedIdentity, user.ManagedIdentity = "system", "user"
	mount := map[string]any{"extraVolumes": []any{map[string]any{"name": "cert", "secret": map[string]any{"secretName": "azure-certificate"}}},
		"extraVolumeMounts": []any{map[string]any{"name": "cert", "mountPath": "/cert", "readOnly": true}}}
	list := []method{
		{"environment: client secret, by global.envFromSecret", bySecret, with(app(1), "AZURE_CLIENT_SECRET", "one-secret"), environment(nil), "client-secret"},
		{"environment: client secret, by each component's envFromSecret", separate, with(app(7), "AZURE_CLIENT_SECRET", "seven-secret"),
			both(map[string]any{"keyVaultAuth": "environment", "envFromSecret": []any{"azure-credentials"}}), "client-secret"},
		{"environment: certificate, mounted", byCertificate, with(app(2), "AZURE_CERTIFICATE_PASSWORD", password),
			environment(both(stage.Merge(mount, map[string]any{"env": map[string]any{"AZURE_CERTIFICATE_PATH": "/cert/app.pfx"}}))), "assertion"},
		{"environment: username and password", byPassword, with(app(3), "AZURE_USERNAME", "user@example.org", "AZURE_PASSWORD", "of-the-user"), environment(nil), "password"},
		{"environment: system-assigned managed identity", system, map[string]string{"NOTHING": "of Azure"}, environment(nil), "managed-identity"},
		{"environment: user-assigned managed identity", user, map[string]string{"AZURE_CLIENT_ID": id(5, "1")}, environment(nil), "managed-identity"},
		{"US Government: client secret", sovereign, with(app(6), "AZURE_CLIENT_SECRET", "six-secret", "AZURE_ENVIRONMENT", "AzureUSGovernment"), environment(nil), "client-secret"},
		{"a cloud of one's own: client secret", private, with(app(9), "AZURE_CLIENT_SECRET", "nine-secret"), stage.Merge(environment(nil), map[string]any{"global": map[string]any{
			"customCloud": map[string]any{"authority": "https://login.private.example", "vaultDNSSuffix": "vault.private.example"}}}), "client-secret"},
	}
	if key := issuerKey(t, s); key != "" {
		list = append(list, workload(key, principal(8), app(8)))
	} else {
		t.Log("not tried: workload identity needs the key that signs the cluster's tokens, which only the local cluster gives; use CLUSTER=local")
	}
	return list
}

// workload is workload identity, with what its webhook would add to our pods.
func workload(key string, p entra.Principal, variables map[string]string) method {
	for _, account := range []string{"akv2k8s:akv2k8s-controller", "akv2k8s:akv2k8s-envinjector", "method-" + p.Name + ":default"} {
		p.Federated = append(p.Federated, entra.Federation{Issuer: "https://kubernetes.default.svc", Subject: "system:serviceaccount:" + account, Key: key})
	}
	variables["AZURE_FEDERATED_TOKEN_FILE"] = "/var/run/secrets/azure/tokens/azure-identity-token"
	token := map[string]any{"serviceAccountToken": map[string]any{"audience": "api://AzureADTokenExchange", "expirationSeconds": 3600, "path": "azure-identity-token"}}
	return method{"environment: workload identity", p, variables, environment(both(map[string]any{
		"extraVolumes":      []any{map[string]any{"name": "azure-identity-token", "projected": map[string]any{"sources": []any{token}}}},
		"extraVolumeMounts": []any{map[string]any{"name": "azure-identity-token", "mountPath": "/var/run/secrets/azure/tokens", "readOnly": true}},
	})), "assertion"}
}

func TestMatrix(t *testing.T) {
	s := stagetest.Open(t, stagetest.Config(t, "auth-matrix"))
	require.NoError(t, s.Namespace(t.Context(), "akv2k8s", nil))
	for _, m := range methods(t, s) {
		t.Run(m.name, func(t *testing.T) { try(t, s, m) })
	}
	t.Run("global.userDefinedMSI: an identity of the nodes, without the host's file", func(t *testing.T) { userDefined(t, s) })
	t.Run("without the auth service each pod reads with its own credentials", func(t *testing.T) { withoutAuthService(t, s) })
	t.Run("a tenant's own ServiceAccount reads its vault, and no other", func(t *testing.T) { ownIdentities(t, s) })
	t.Run("a wrong secret is told, and nothing starts", func(t *testing.T) { wrongSecret(t, s) })
	t.Run("a policy forbids the host's file: an event says so, and credentials of one's own are a way out", func(t *testing.T) { hostFileForbidden(t, s) })
	t.Run("the host's file is missing: an event names it", func(t *testing.T) { hostFileMissing(t, s) })
	t.Run("an identity that is assigned later is found without a restart", func(t *testing.T) { assignedLater(t, s) })
}

// install gives the product these credentials.
func install(t *testing.T, s *stage.Stage, secret map[string]string, values map[string]any) {
	t.Helper()
	credentials := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "azure-credentials"}, Data: map[string][]byte{}}
	for key, value := range secret {
		credentials.Data[key] = []byte(value)
	}
	if err := s.Client.Delete(t.Context(), credentials.DeepCopy()); err != nil {
		require.True(t, apierrors.IsNotFound(err), err)
	}
	require.NoError(t, s.Client.Create(t.Context(), credentials))
	// Variables are read at start, so pods of other credentials have to go, also if nothing else changed.
	anew := both(map[string]any{"podAnnotations": map[string]any{"test/credentials": fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%v", secret)))}})
	require.NoError(t, s.Install(t.Context(), stage.Release{Name: "akv2k8s", Namespace: "akv2k8s", Values: stage.Merge(values, anew)}))
	// Replicas that end still serve for some seconds, with the credentials before these.
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the end of older replicas", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, client.InNamespace("akv2k8s")); err != nil {
			return err
		}
		for _, p := range pods.Items {
			if p.DeletionTimestamp != nil {
				return fmt.Errorf("%s still ends", p.Name)
			}
		}
		return nil
	}))
}

// resource makes an AzureKeyVaultSecret that becomes a Secret of its own name.
func resource(t *testing.T, s *stage.Stage, namespace, vault string) {
	t.Helper()
	require.NoError(t, s.Namespace(t.Context(), namespace, map[string]string{"azure-key-vault-env-injection": "enabled"}))
	r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "db"}}
	r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = vault, "db", "secret"
	r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: "db", DataKey: "v"}}
	require.NoError(t, s.Client.Create(t.Context(), r))
}

// try installs a method and has both components, and a pod for itself, read a vault that only its principal may read.
func try(t *testing.T, s *stage.Stage, m method) {
	vault, namespace := "kv-"+m.principal.Name, "method-"+m.principal.Name
	require.NoError(t, s.Azure.Seed(t.Context(), emulator.Seed{Principals: []entra.Principal{m.principal}, Vaults: map[string]emulator.VaultSeed{vault: {
		Permissions: map[string][]string{m.principal.ObjectID: {"get"}}, Secrets: map[string]keyvault.Secret{"db": {Value: "value-of-" + namespace}}}}}))
	require.NoError(t, s.Azure.ResetCounters(t.Context()))
	install(t, s, m.secret, m.values)
	resource(t, s, namespace, vault)
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the Secret", func(ctx context.Context) error {
		var secret corev1.Secret
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "db"}, &secret); err != nil {
			return fmt.Errorf("%w; %s", err, condition(ctx, s, namespace))
		}
		assert.Equal(t, "value-of-"+namespace, string(secret.Data["v"]))
		return nil
	}))
	code := run(t, s, namespace, "value-of-"+namespace)
	assert.Zero(t, code, "the env-injector read it too")
	asked := tokens(t, s, m)
	assert.GreaterOrEqual(t, asked, 2, "the controller and one or two env-injectors asked")
	assert.LessOrEqual(t, asked, 3, "one token a process")
	require.NoError(t, s.Azure.ResetCounters(t.Context()))
	code = start(t, s, ownCredentials(t, s, m, podOf(s, namespace, "value-of-"+namespace)))
	assert.Zero(t, code, "a pod read it for itself")
	assert.Equal(t, 1, tokens(t, s, m), "and nobody else asked for a token")
}

// tokens is how many the method's principal got by the method's flow. There must be no other requests for tokens.
func tokens(t *testing.T, s *stage.Stage, m method) int {
	t.Helper()
	counters, err := s.Azure.Counters(t.Context())
	require.NoError(t, err)
	maps.DeleteFunc(counters, func(name string, _ int) bool { return !strings.HasPrefix(name, "token ") })
	t.Logf("%s: %v", m.name, counters)
	assert.Len(t, counters, 1, "no other method was tried")
	return counters["token "+m.flow+" "+m.principal.Name+" 200"]
}

// run starts a pod that ends well if its variable has the value, and gives its exit code.
func run(t *testing.T, s *stage.Stage, namespace, value string) int32 {
	t.Helper()
	return start(t, s, podOf(s, namespace, value))
}

func podOf(s *stage.Stage, namespace, value string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app"}, Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever,
		Containers: []corev1.Container{{Name: "app", Image: s.Image("testbox"), Command: []string{"sh", "-c", `test "$DB" = "$WANTED"`},
			Env: []corev1.EnvVar{{Name: "DB", Value: "db@azurekeyvault"}, {Name: "WANTED", Value: value}, {Name: "ENV_INJECTOR_RETRIES", Value: "0"}}}}}}
}

// start creates the pod and gives the exit code of its container.
func start(t *testing.T, s *stage.Stage, pod *corev1.Pod) int32 {
	t.Helper()
	require.NoError(t, s.Client.Create(t.Context(), pod))
	var code int32
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the pod", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		var ended bool
		if _, code, ended = stage.Ended(pod); !ended {
			return fmt.Errorf("it is %s", pod.Status.Phase)
		}
		return nil
	}))
	return code
}

func condition(ctx context.Context, s *stage.Stage, namespace string) string {
	var r v2beta1.AzureKeyVaultSecret
	if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "db"}, &r); err != nil {
		return err.Error()
	}
	if c := meta.FindStatusCondition(r.Status.Conditions, "Ready"); c != nil {
		return c.Reason + ": " + c.Message
	}
	return "no condition"
}

func wrongSecret(t *testing.T, s *stage.Stage) {
	const canary = "canary-wrong-secret"
	install(t, s, map[string]string{"AZURE_TENANT_ID": local.TenantID, "AZURE_CLIENT_ID": stage.AppClientID, "AZURE_CLIENT_SECRET": canary}, environment(nil))
	require.NoError(t, s.Azure.Vault(t.Context(), "kv-wrong", map[string]string{"db": "v"}))
	resource(t, s, "wrong", "kv-wrong")
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the condition", func(ctx context.Context) error {
		said := condition(ctx, s, "wrong")
		if !strings.Contains(said, "AuthenticationFailed") {
			return fmt.Errorf("it is %s", said)
		}
		for _, word := range []string{"AADSTS7000215", "AZURE_CLIENT_SECRET", "use the secret's value"} {
			assert.Contains(t, said, word)
		}
		assert.NotContains(t, said, canary)
		return nil
	}))
	assert.EqualValues(t, 77, run(t, s, "wrong", "v"))
	logs, err := s.Logs(t.Context(), "akv2k8s")
	require.NoError(t, err)
	for name, log := range logs {
		assert.NotContains(t, log, canary, filepath.Base(name))
	}
}

// assignedLater installs with an identity that Azure takes 45 seconds to assign to the node, as on a scale set.
func assignedLater(t *testing.T, s *stage.Stage) {
	late := entra.Principal{Name: "late", ClientID: id(20, "1"), ObjectID: id(20, "2"), ManagedIdentity: "user", AssignedAfterSeconds: 45}
	require.NoError(t, s.Azure.Seed(t.Context(), emulator.Seed{Principals: []entra.Principal{late}, Vaults: map[string]emulator.VaultSeed{"kv-late": {
		Permissions: map[string][]string{late.ObjectID: {"get"}}, Secrets: map[string]keyvault.Secret{"db": {Value: "value"}}}}}))
	install(t, s, map[string]string{"AZURE_CLIENT_ID": late.ClientID}, environment(nil))
	resource(t, s, "late", "kv-late")
	await := func(reason, says string) {
		t.Helper()
		require.NoError(t, stage.Await(t.Context(), 2*time.Minute, reason, func(ctx context.Context) error {
			if said := condition(ctx, s, "late"); !strings.HasPrefix(said, reason) || !strings.Contains(said, says) {
				return fmt.Errorf("it is %s", said)
			}
			return nil
		}))
	}
	await("AuthenticationFailed", "assign it to the node's virtual machine scale set")
	await("Synced", "")
	assert.Zero(t, run(t, s, "late", "value"))
	var pods corev1.PodList
	require.NoError(t, s.Client.List(t.Context(), &pods, client.InNamespace("akv2k8s")))
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			assert.Zero(t, c.RestartCount, p.Name)
		}
	}
}
