//go:build cluster

package podidentity

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

var clientID = regexp.MustCompile(`clientID: (\S+)`)

// examples tries those of aad-pod-identity as their READMEs say.
func examples(t *testing.T, s *stage.Stage) {
	require.NoError(t, s.Azure.Vault(t.Context(), "akv2k8s-example", map[string]string{"database-password": "the password", "api-key": "the key"}))
	printed := func(namespace string) func(context.Context) error {
		return func(ctx context.Context) error {
			logs, err := s.Logs(ctx, namespace)
			if err == nil && !strings.Contains(fmt.Sprint(logs), "API_KEY is the key") {
				err = fmt.Errorf("the pod printed %v", logs)
			}
			return err
		}
	}
	for name, wanted := range map[string]func(context.Context) error{
		"aad-pod-identity-env-injector": printed("example-pod-identity-option1"),
		"aad-pod-identity-per-pod":      printed("example-pod-identity-option2"),
		"aad-pod-identity-exception": func(ctx context.Context) error {
			var secret corev1.Secret
			err := s.Client.Get(ctx, types.NamespacedName{Namespace: "example-pod-identity-exception", Name: "database"}, &secret)
			if err == nil && string(secret.Data["password"]) != "the password" {
				err = errors.New("the Secret is not the vault's")
			}
			return err
		},
	} {
		t.Run("example "+name, func(t *testing.T) {
			e, err := s.Example(name)
			require.NoError(t, err)
			for _, file := range []string{"identity.yaml", "resources.yaml"} {
				content, err := e.File(file)
				require.NoError(t, err)
				for _, id := range clientID.FindAllStringSubmatch(content, -1) {
					p := entra.Principal{Name: name, ClientID: id[1], ObjectID: id[1], ManagedIdentity: "user"}
					require.NoError(t, s.Azure.Seed(t.Context(), emulator.Seed{Principals: []entra.Principal{p},
						Vaults: map[string]emulator.VaultSeed{"akv2k8s-example": {Permissions: map[string][]string{p.ObjectID: {"get"}}}}}))
				}
			}
			_, err = s.Helm(t.Context(), "uninstall", "akv2k8s", "--namespace", "akv2k8s", "--wait", "--ignore-not-found")
			require.NoError(t, err)
			require.NoError(t, s.Try(t.Context(), e))
			assert.NoError(t, stage.Await(t.Context(), time.Minute, "the example", wanted))
		})
	}
}
