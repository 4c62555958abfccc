//go:build cluster

package examples

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

type outcome func(ctx context.Context, s *stage.Stage) error

// outcomes are what each example has to come to; an example without one fails.
func outcomes() map[string]outcome {
	return map[string]outcome{
		"secret-sync":       synced("example-secret-sync"),
		"client-secret":     synced("example-client-secret"),
		"certificate":       synced("example-certificate"),
		"workload-identity": synced("example-workload-identity"),
		"managed-identity":  synced("example-managed-identity"),
		"sovereign-cloud":   synced("example-sovereign-cloud"),
		"multi-tenant":      all(synced("example-team-a"), synced("example-team-b")),
		"pod-security":      synced("example-pod-security"),
		"env-injection":     printed("example-env-injection"),
		"tls-certificate": made("example-tls-certificate", map[string][]string{"Secret/site-tls": {"tls.crt", "tls.key"}, "Secret/site-pfx": {"site.pfx"},
			"ConfigMap/site-public": {"site.crt"}}),
		"keys": made("example-keys", map[string][]string{"Secret/signer": {"key.pem"}, "ConfigMap/signer": {"key.jwk"}}),
		"typed-secrets": made("example-typed-secrets", map[string][]string{"Secret/registry": {".dockerconfigjson"}, "Secret/login": {"username", "password"},
			"Secret/deploy-key": {"ssh-privatekey"}, "ConfigMap/banner": {"text"}}),
		"multi-key-value":           made("example-multi-key-value", map[string][]string{"Secret/database": {"username", "password", "port"}}),
		"several-objects":           made("example-several-objects", map[string][]string{"Secret/application": {"DATABASE_PASSWORD", "API_KEY"}}),
		"search":                    made("example-search", map[string][]string{"Secret/shop": {"database-password", "api-key", "mail-password"}}),
		"rollout-restart":           restarted("example-rollout-restart"),
		"refresh-interval":          all(synced("example-refresh-interval"), made("example-refresh-interval", map[string][]string{"Secret/api-key": {"key"}})),
		"pods-with-own-credentials": printed("example-own-credentials"),
		"production-ha":             all(synced("example-production-ha"), replicas(2, 3), kept("akv2k8s-controller", "akv2k8s-envinjector")),
		"namespaced":                synced("akv2k8s"),
		"restricted":                printed("example-restricted"),
		"registry-mirror":           all(synced("example-registry-mirror"), from("registry.example.com/akv2k8s/")),
		"metrics":                   all(synced("example-metrics"), told("example-metrics")),
		"gitops-argocd":             synced("example-gitops-argocd"),
		"gitops-flux":               synced("example-gitops-flux"),
	}
}

// elsewhere are examples that need more than the product; the suite pod-identity tries them.
func elsewhere(name string) bool { return strings.HasPrefix(name, "aad-pod-identity-") }

func all(outcomes ...outcome) outcome {
	return func(ctx context.Context, s *stage.Stage) error {
		for _, one := range outcomes {
			if err := one(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
}

// synced wants the Secret of the vault's database password in a namespace.
func synced(namespace string) outcome {
	return func(ctx context.Context, s *stage.Stage) error {
		var secret corev1.Secret
		err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "database"}, &secret)
		if err == nil && string(secret.Data["password"]) != "the password" {
			err = errors.New("the Secret is not the vault's")
		}
		return err
	}
}

// restarted gives the vault another password, and wants the Deployment to be restarted.
func restarted(namespace string) outcome {
	const rotated = "the password, rotated"
	return func(ctx context.Context, s *stage.Stage) error {
		if err := synced(namespace)(ctx, s); err == nil { // the first time
			return errors.Join(s.Azure.Put(ctx, example, "database-password", rotated), errors.New("the value was just rotated"))
		}
		var d appsv1.Deployment
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "shop"}, &d); err != nil {
			return err
		}
		if d.Spec.Template.Annotations["akv2k8s.io/restartedAt"] == "" || d.Status.ObservedGeneration != d.Generation || d.Status.ReadyReplicas != 1 {
			return errors.New("the Deployment was not restarted")
		}
		return s.Azure.Put(ctx, example, "database-password", "the password")
	}
}

// made wants outputs, by KIND/NAME, with exactly these data keys.
func made(namespace string, outputs map[string][]string) outcome {
	return func(ctx context.Context, s *stage.Stage) error {
		for output, keys := range outputs {
			kind, name, _ := strings.Cut(output, "/")
			object := &unstructured.Unstructured{}
			object.SetAPIVersion("v1")
			object.SetKind(kind)
			if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, object); err != nil {
				return err
			}
			data, _, err := unstructured.NestedStringMap(object.Object, "data")
			if err != nil {
				return err
			}
			slices.Sort(keys)
			if got := slices.Sorted(maps.Keys(data)); !slices.Equal(got, keys) {
				return fmt.Errorf("%s has the keys %v", output, got)
			}
		}
		return nil
	}
}

// objects puts what the examples of every object need into the vault.
func objects(t *testing.T, s *stage.Stage, root string) {
	t.Helper()
	require.NoError(t, s.Azure.Vault(t.Context(), example, map[string]string{
		"database-password": "the password", "api-key": "the key", "shop-database-password": "the password", "shop-api-key": "the key",
		"registry": `{"auths":{}}`, "login": "me:pass:word", "deploy-key": "a key", "banner": " hello\n",
		"database": `{"username": "app", "password": "x", "port": 5432}`}))
	require.NoError(t, s.Azure.PutSecret(t.Context(), example, "mail-password", keyvault.Secret{Value: "the password", Tags: map[string]string{"app": "shop"}}))
	pfx, err := os.ReadFile(filepath.Join(root, "src", "certificate", "testdata", "keytool.pfx"))
	require.NoError(t, err)
	require.NoError(t, s.Azure.PutCertificate(t.Context(), example, "site", keyvault.Certificate{Value: base64.StdEncoding.EncodeToString(pfx)}))
	require.NoError(t, s.Azure.PutCertificate(t.Context(), example, "signer", keyvault.Certificate{Value: base64.StdEncoding.EncodeToString(pfx)}))
}

// printed wants a pod that printed the vault's API key.
func printed(namespace string) outcome {
	return func(ctx context.Context, s *stage.Stage) error {
		logs, err := s.Logs(ctx, namespace)
		if err != nil {
			return err
		}
		for _, log := range logs {
			if strings.Contains(log, "API_KEY is the key\n") {
				return nil
			}
		}
		return fmt.Errorf("the pod printed something else: %v", logs)
	}
}

// know makes Azure know a principal that may read a vault.
func know(t *testing.T, s *stage.Stage, vault string, p entra.Principal) {
	t.Helper()
	p.Name, p.ObjectID = "example", p.ClientID
	require.NoError(t, s.Azure.Seed(t.Context(), emulator.Seed{Principals: []entra.Principal{p},
		Vaults: map[string]emulator.VaultSeed{vault: {Permissions: map[string][]string{p.ObjectID: {"get"}}}}}))
}

const example = "akv2k8s-example"

// credentials makes Azure know whom the example's files name: an identity, an application, a ServiceAccount.
func credentials(t *testing.T, s *stage.Stage, e stage.Example) {
	t.Helper()
	variables, _, err := unstructured.NestedStringMap(e.Values, "global", "env")
	require.NoError(t, err)
	if id := variables["AZURE_CLIENT_ID"]; id != "" && variables["AZURE_FEDERATED_TOKEN_FILE"] != "" {
		know(t, s, example, entra.Principal{ClientID: id, Federated: trusting(t, s, "akv2k8s:akv2k8s-controller", "akv2k8s:akv2k8s-envinjector")})
	} else if id != "" {
		know(t, s, example, entra.Principal{ClientID: id, ManagedIdentity: "user"})
	}
	for _, file := range []string{"credentials.yaml", "namespaces.yaml", "resources.yaml"} {
		content, err := e.File(file)
		require.NoError(t, err)
		for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(content), 4096); ; {
			object := &unstructured.Unstructured{}
			if err := decoder.Decode(object); errors.Is(err, io.EOF) {
				break
			} else {
				require.NoError(t, err)
			}
			named(t, s, object)
		}
	}
}

// named makes Azure know whom one object names.
func named(t *testing.T, s *stage.Stage, object *unstructured.Unstructured) {
	t.Helper()
	if object.GetKind() == "ServiceAccount" {
		p := entra.Principal{ClientID: object.GetAnnotations()["azure.workload.identity/client-id"], Federated: trusting(t, s, object.GetNamespace()+":"+object.GetName())}
		know(t, s, "akv2k8s-team-a", p)
		return
	}
	values, _, err := unstructured.NestedStringMap(object.Object, "stringData")
	require.NoError(t, err)
	if values["AZURE_CLIENT_ID"] == "" {
		return
	}
	p := entra.Principal{ClientID: values["AZURE_CLIENT_ID"], Secret: values["AZURE_CLIENT_SECRET"]}
	if password := values["AZURE_CERTIFICATE_PASSWORD"]; password != "" {
		p.Certificates = certificate(t, s, password)
	}
	know(t, s, example, p)
}

// trusting trusts tokens of the cluster for ServiceAccounts.
func trusting(t *testing.T, s *stage.Stage, accounts ...string) []entra.Federation {
	t.Helper()
	cluster, ok := s.Cluster.(interface{ ServiceAccountKey() string })
	if !ok {
		t.Skip("needs the key that signs the cluster's tokens, which only the local cluster gives; use CLUSTER=local")
	}
	key, err := os.ReadFile(strings.TrimSuffix(cluster.ServiceAccountKey(), ".key") + ".pub")
	require.NoError(t, err)
	var list []entra.Federation
	for _, account := range accounts {
		list = append(list, entra.Federation{Issuer: "https://kubernetes.default.svc", Subject: "system:serviceaccount:" + account, Key: string(key)})
	}
	return list
}

// certificate makes Secret azure-certificate with a PFX file, and gives the certificate that is registered for it.
func certificate(t *testing.T, s *stage.Stage, password string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pfx, err := pkcs12.Modern.Encode(key, cert, nil, password)
	require.NoError(t, err)
	require.NoError(t, s.Namespace(t.Context(), "akv2k8s", nil))
	require.NoError(t, s.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "azure-certificate"}, Data: map[string][]byte{"app.pfx": pfx}}))
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestExamples(t *testing.T) {
	s := stagetest.Open(t, stagetest.Config(t, "examples"))
	objects(t, s, s.Root)
	require.NoError(t, s.Azure.Vault(t.Context(), "akv2k8s-team-b", map[string]string{"database-password": "the password"}))
	require.NoError(t, s.Azure.Seed(t.Context(), emulator.Seed{Vaults: map[string]emulator.VaultSeed{"akv2k8s-team-a": {
		Secrets: map[string]keyvault.Secret{"database-password": {Value: "the password"}}}}}))
	folders, err := filepath.Glob(filepath.Join(s.Root, "examples", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, folders)
	known := outcomes()
	for _, folder := range folders {
		name := filepath.Base(folder)
		if elsewhere(name) {
			continue
		}
		wanted, ok := known[name]
		delete(known, name)
		t.Run(name, func(t *testing.T) {
			require.True(t, ok, "the example has no outcome here")
			e, err := s.Example(name)
			require.NoError(t, err)
			// Of the example before; applying over it would keep its keys.
			old := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "azure-credentials"}}
			require.NoError(t, client.IgnoreNotFound(s.Client.Delete(t.Context(), old)))
			credentials(t, s, e)
			prepare(t, s, e)
			if name == "pod-security" { // what the example is a way out of
				require.NoError(t, s.Apply(t.Context(), "", `{apiVersion: v1, kind: Namespace, metadata: {name: akv2k8s, labels: {pod-security.kubernetes.io/enforce: restricted}}}`))
			}
			require.NoError(t, s.Try(t.Context(), e))
			assert.NoError(t, stage.Await(t.Context(), 2*time.Minute, "the example", func(ctx context.Context) error { return wanted(ctx, s) }))
			_, err = s.Helm(t.Context(), "uninstall", "akv2k8s", "--namespace", "akv2k8s", "--wait")
			assert.NoError(t, err)
			require.NoError(t, s.Apply(t.Context(), "", `{apiVersion: v1, kind: Namespace, metadata: {name: akv2k8s}}`), "without the example's labels")
		})
	}
	t.Run("renders are what the API server takes", func(t *testing.T) { renders(t, s) })
	t.Run("manifests for users without Helm", func(t *testing.T) { manifests(t, s) })
	t.Run("the values of chart-testing become ready where nobody can sign in", func(t *testing.T) { chartTesting(t, s) })
	assert.Empty(t, known, "each outcome has an example")
}
