//go:build cluster

package podidentity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/tests/readme/walk"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// examples runs the READMEs of those of aad-pod-identity.
func examples(t *testing.T, s *stage.Stage) {
	const password = "correct horse battery staple"
	printed := func(namespace string) func(context.Context) error {
		return func(ctx context.Context) error {
			logs, err := s.Logs(ctx, namespace)
			if err == nil && !strings.Contains(fmt.Sprint(logs), "API_KEY is "+password) {
				err = fmt.Errorf("the pod printed %v", logs)
			}
			return err
		}
	}
	g := walk.New(t, s)
	for name, wanted := range map[string]func(context.Context) error{
		"aad-pod-identity-env-injector": printed("example-pod-identity-option1"),
		"aad-pod-identity-per-pod":      printed("example-pod-identity-option2"),
		"aad-pod-identity-exception": func(ctx context.Context) error {
			var secret corev1.Secret
			err := s.Client.Get(ctx, types.NamespacedName{Namespace: "example-pod-identity-exception", Name: "database"}, &secret)
			if err == nil && string(secret.Data["password"]) != password {
				err = errors.New("the Secret is not the vault's")
			}
			return err
		},
	} {
		t.Run("example "+name, func(t *testing.T) {
			_, err := s.Helm(t.Context(), "uninstall", "akv2k8s", "--namespace", "akv2k8s", "--wait", "--ignore-not-found")
			require.NoError(t, err)
			g.Follow(t, name, walk.Plan{Outcome: wanted})
		})
	}
}
