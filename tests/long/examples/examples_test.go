//go:build cluster

package examples

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// outcomes are what each example has to come to; an example without one fails.
func outcomes() map[string]func(ctx context.Context, s *stage.Stage) error {
	return map[string]func(ctx context.Context, s *stage.Stage) error{
		"secret-sync":      synced("example-secret-sync"),
		"client-secret":    synced("example-client-secret"),
		"managed-identity": synced("example-managed-identity"),
		"sovereign-cloud":  synced("example-sovereign-cloud"),
		"env-injection": func(ctx context.Context, s *stage.Stage) error {
			logs, err := s.Logs(ctx, "example-env-injection")
			for _, log := range logs {
				if strings.Contains(log, "API_KEY is the key\n") {
					return nil
				}
			}
			return fmt.Errorf("the pod printed something else: %w", err)
		},
	}
}

// synced wants the Secret of the vault's database password in a namespace.
func synced(namespace string) func(ctx context.Context, s *stage.Stage) error {
	return func(ctx context.Context, s *stage.Stage) error {
		var secret corev1.Secret
		err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "database"}, &secret)
		if err == nil && string(secret.Data["password"]) != "the password" {
			err = fmt.Errorf("the Secret is not the vault's")
		}
		return err
	}
}

// know makes Azure know a principal that may read the example's vault.
func know(t *testing.T, s *stage.Stage, p entra.Principal) {
	t.Helper()
	p.Name, p.ObjectID = "example", p.ClientID
	require.NoError(t, s.Azure.Seed(t.Context(), emulator.Seed{Principals: []entra.Principal{p},
		Vaults: map[string]emulator.VaultSeed{"akv2k8s-example": {Permissions: map[string][]string{p.ObjectID: {"get"}}}}}))
}

// credentials makes Azure know the identity that the example's values name, and the application in its credentials.yaml, which it applies.
func credentials(t *testing.T, s *stage.Stage, folder string, values map[string]any) {
	t.Helper()
	if id, ok, err := unstructured.NestedString(values, "global", "env", "AZURE_CLIENT_ID"); ok {
		require.NoError(t, err)
		know(t, s, entra.Principal{ClientID: id, ManagedIdentity: "user"})
	}
	content, err := os.ReadFile(filepath.Join(folder, "credentials.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	require.NoError(t, err)
	var secret corev1.Secret
	require.NoError(t, yaml.Unmarshal(content, &secret))
	client := secret.StringData["AZURE_CLIENT_ID"]
	require.NotEmpty(t, client)
	know(t, s, entra.Principal{ClientID: client, Secret: secret.StringData["AZURE_CLIENT_SECRET"]})
	require.NoError(t, s.Namespace(t.Context(), "akv2k8s", nil))
	require.NoError(t, s.Apply(t.Context(), "akv2k8s", string(content)))
}

func TestExamples(t *testing.T) {
	folder, err := os.Getwd()
	require.NoError(t, err)
	root, err := bed.Root(folder)
	require.NoError(t, err)
	s, err := stage.Open(t.Context(), bed.Config{Root: root, Name: "examples", Getenv: os.Getenv, Progress: stage.Progress(os.Stdout)})
	if s != nil {
		t.Cleanup(func() { assert.NoError(t, s.Cluster.Down(context.WithoutCancel(t.Context()))) })
	}
	require.NoError(t, err)
	require.NoError(t, s.Azure.Vault(t.Context(), "akv2k8s-example", map[string]string{"database-password": "the password", "api-key": "the key"}))
	folders, err := filepath.Glob(filepath.Join(root, "examples", "*"))
	require.NoError(t, err)
	require.Len(t, folders, len(outcomes()), "each example has an outcome, and each outcome an example")
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			outcome, ok := outcomes()[filepath.Base(folder)]
			require.True(t, ok, "the example has no outcome here")
			var values map[string]any
			content, err := os.ReadFile(filepath.Join(folder, "values.yaml"))
			require.NoError(t, err)
			require.NoError(t, yaml.Unmarshal(content, &values))
			credentials(t, s, folder, values)
			require.NoError(t, s.Install(t.Context(), stage.Release{Name: "akv2k8s", Namespace: "akv2k8s", Values: values}))
			resources, err := os.ReadFile(filepath.Join(folder, "resources.yaml"))
			require.NoError(t, err)
			require.NoError(t, s.Apply(t.Context(), "default", string(resources)))
			assert.NoError(t, stage.Await(t.Context(), time.Minute, "the example", func(ctx context.Context) error { return outcome(ctx, s) }))
			_, err = s.Helm(t.Context(), "uninstall", "akv2k8s", "--namespace", "akv2k8s", "--wait")
			assert.NoError(t, err)
		})
	}
}
