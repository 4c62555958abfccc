//go:build cluster

package examples

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/tests/readme"
	"github.com/akv2k8s/akv2k8s/tests/readme/walk"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

// password is the value that the READMEs put into vaults.
const password = "correct horse battery staple"

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
		"delivery":          printed("example-delivery"),
		"files":             changedInPlace("example-files"),
		"files-reload":      changedInPlace("example-files-reload"),
		"tls-certificate": made(
			"example-tls-certificate",
			map[string][]string{"Secret/site-tls": {"tls.crt", "tls.key"}, "Secret/site-pfx": {"site.pfx"},
				"ConfigMap/site-public": {"site.crt"}},
		),
		"keys": made("example-keys", map[string][]string{"Secret/signer": {"key.pem"}, "ConfigMap/signer": {"key.jwk"}}),
		"typed-secrets": made(
			"example-typed-secrets",
			map[string][]string{"Secret/registry": {".dockerconfigjson"}, "Secret/login": {"username", "password"},
				"Secret/deploy-key": {"ssh-privatekey"}, "ConfigMap/banner": {"text"}},
		),
		"multi-key-value": made(
			"example-multi-key-value",
			map[string][]string{"Secret/database": {"username", "password", "port"}},
		),
		"several-objects": made(
			"example-several-objects",
			map[string][]string{"Secret/application": {"DATABASE_PASSWORD", "API_KEY"}},
		),
		"search": made(
			"example-search",
			map[string][]string{"Secret/shop": {"database-password", "api-key", "mail-password"}},
		),
		"rollout-restart":  restarted("example-rollout-restart"),
		"restart-injected": restartedInjected("example-restart-injected"),
		"refresh-interval": all(
			synced("example-refresh-interval"),
			made("example-refresh-interval", map[string][]string{"Secret/api-key": {"key"}}),
		),
		"pods-with-own-credentials": printed("example-own-credentials"),
		"production-ha": all(
			synced("example-production-ha"),
			replicas(2, 3),
			kept("akv2k8s-controller", "akv2k8s-envinjector"),
		),
		"namespaced":      synced("akv2k8s"),
		"restricted":      printed("example-restricted"),
		"registry-mirror": all(synced("example-registry-mirror"), from(`^akv2k8s\d+\.azurecr\.io/akv2k8s/`)),
		"metrics":         all(synced("example-metrics"), told("example-metrics")),
		"gitops-argocd":   synced("example-gitops-argocd"),
		"gitops-flux":     synced("example-gitops-flux"),
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
		if err == nil && string(secret.Data["password"]) != password {
			err = errors.New("the Secret is not the vault's")
		}
		return err
	}
}

// restarted wants the Deployment to be restarted, and the Secret to have the new value.
func restarted(namespace string) outcome {
	return func(ctx context.Context, s *stage.Stage) error {
		var secret corev1.Secret
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "database"}, &secret); err != nil {
			return err
		}
		var d appsv1.Deployment
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "shop"}, &d); err != nil {
			return err
		}
		if string(secret.Data["password"]) != "another" || d.Spec.Template.Annotations["akv2k8s.io/restartedAt"] == "" ||
			d.Status.ObservedGeneration != d.Generation || d.Status.ReadyReplicas != 1 {
			return errors.New("the Deployment was not restarted")
		}
		return nil
	}
}

// restartedInjected wants the Deployment to be restarted after the second version of the vault's API key, and the
// status of the resource to say so.
func restartedInjected(namespace string) outcome {
	return func(ctx context.Context, s *stage.Stage) error {
		var d appsv1.Deployment
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "app"}, &d); err != nil {
			return err
		}
		if d.Spec.Template.Annotations["akv2k8s.io/restartedAt"] == "" || d.Status.ObservedGeneration != d.Generation ||
			d.Status.ReadyReplicas != 1 {
			return errors.New("the Deployment was not restarted")
		}
		var r v2beta1.AzureKeyVaultSecret
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "api-key"}, &r); err != nil {
			return err
		}
		if r.Status.Refresh == "" || len(r.Status.Workloads) != 1 || r.Status.Workloads[0].Version != r.Status.VaultVersion {
			return fmt.Errorf("the status has the refresh %q and the workloads %v", r.Status.Refresh, r.Status.Workloads)
		}
		return nil
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

// printed wants a pod that printed the vault's API key.
func printed(namespace string) outcome {
	return func(ctx context.Context, s *stage.Stage) error {
		logs, err := s.Logs(ctx, namespace)
		if err != nil {
			return err
		}
		for _, log := range logs {
			if strings.Contains(log, "API_KEY is "+password+"\n") {
				return nil
			}
		}
		return fmt.Errorf("the pod printed something else: %v", logs)
	}
}

// changedInPlace wants a pod with files that still runs its first containers, after the README has seen the new value
// in it, and no Secret.
func changedInPlace(namespace string) outcome {
	return func(ctx context.Context, s *stage.Stage) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, client.InNamespace(namespace)); err != nil || len(pods.Items) != 1 {
			return fmt.Errorf("there are %d pods: %w", len(pods.Items), err)
		}
		now := pods.Items[0].Status
		for _, status := range slices.Concat(now.InitContainerStatuses, now.ContainerStatuses) {
			if status.RestartCount > 0 || status.State.Running == nil {
				return fmt.Errorf("container %s has restarted or ended: %+v", status.Name, status)
			}
		}
		var secrets corev1.SecretList
		if err := s.Client.List(ctx, &secrets, client.InNamespace(namespace)); err != nil || len(secrets.Items) > 0 {
			return fmt.Errorf("there are %d Secrets: %w", len(secrets.Items), err)
		}
		return nil
	}
}

// plan is what differs from running every section of an example's README.
func plan(t *testing.T, s *stage.Stage, name string) walk.Plan {
	t.Helper()
	e, err := s.Example(name)
	require.NoError(t, err)
	byHelm := func(t *testing.T) {
		require.NoError(t, s.Install(t.Context(), stage.Release{Name: "akv2k8s", Namespace: "akv2k8s", Values: e.Values}))
	}
	uninstall := func(t *testing.T) {
		_, err := s.Helm(t.Context(), "uninstall", "akv2k8s", "--namespace", "akv2k8s", "--wait")
		require.NoError(t, err)
	}
	switch name {
	case "metrics":
		return walk.Plan{Before: map[string]func(*testing.T){"Install": func(t *testing.T) { define(t, s, operator) }}}
	case "pod-security": // what the example is a way out of
		return walk.Plan{Before: map[string]func(*testing.T){"Install": func(t *testing.T) {
			require.NoError(t, s.Apply(t.Context(), "", `{apiVersion: v1, kind: Namespace, metadata: {name: akv2k8s,
				labels: {pod-security.kubernetes.io/enforce: restricted}}}`))
		}}}
	case "gitops-argocd":
		return walk.Plan{Before: map[string]func(*testing.T){"Install": func(t *testing.T) { argo(t, s, e) }},
			NotRun: map[string]walk.Instead{
				"Wait for Argo CD": {Reason: "Argo CD does not run here; the test installs the values of the Application by Helm",
					Do: func(t *testing.T) { application(t, s, e); byHelm(t) }},
				"Remove the Application": {
					Reason: "Argo CD does not run here; the test uninstalls by Helm",
					Do: func(t *testing.T) {
						uninstall(t)
						require.NoError(t, s.Client.Delete(t.Context(), objectsOf(t, e, "application.yaml")[0]))
					},
				},
			}}
	case "gitops-flux":
		return walk.Plan{NotRun: map[string]walk.Instead{
			"Install": {
				Reason: "Flux does not run here, and its definitions are in no Go module; the test installs the values by Helm",
				Do:     func(t *testing.T) { flux(t, e); byHelm(t) },
			},
			"Remove the HelmRelease": {Reason: "Flux does not run here; the test uninstalls by Helm", Do: uninstall},
		}}
	}
	return walk.Plan{}
}

func TestExamples(t *testing.T) {
	s := stagetest.Open(t, stagetest.Config(t, "examples"))
	g := walk.New(t, s)
	g.Azure.Import = func(ctx context.Context, source, image string) error {
		name := strings.TrimPrefix(source, "ghcr.io/akv2k8s/")
		if !strings.HasSuffix(image, ".azurecr.io/akv2k8s/"+name) || !strings.HasSuffix(name, ":"+s.Version) {
			return fmt.Errorf("%s is not an image of this version, %s", source, s.Version)
		}
		if !strings.HasPrefix(name, "controller:") { // all three are loaded at once
			return nil
		}
		return s.LoadAs(ctx, strings.TrimSuffix(image, name))
	}
	known := outcomes()
	names, err := readme.Examples(s.Root)
	require.NoError(t, err)
	for _, name := range names {
		wanted, ok := known[name]
		delete(known, name)
		t.Run(name, func(t *testing.T) {
			if elsewhere(name) {
				t.Skip("NOT RUN: it needs aad-pod-identity; the suite pod-identity runs it")
			}
			require.True(t, ok, "the example has no outcome here")
			if needsTokens(name) && g.Azure.Cluster.IssuerKey == "" {
				t.Skip(
					"NOT RUN: it needs the key that signs the cluster's tokens, which only the local cluster gives; use CLUSTER=local",
				)
			}
			p := plan(t, s, name)
			p.Outcome = func(ctx context.Context) error { return wanted(ctx, s) }
			g.Follow(t, name, p)
		})
	}
	t.Run("getting started", func(t *testing.T) { gettingStarted(t, g) })
	t.Run("renders are what the API server takes", func(t *testing.T) { renders(t, s) })
	t.Run("manifests for users without Helm", func(t *testing.T) { manifests(t, s) })
	assert.Empty(t, known, "each outcome has an example")
}

// needsTokens are examples in which Entra ID trusts tokens of the cluster.
func needsTokens(name string) bool { return name == "workload-identity" || name == "multi-tenant" }
