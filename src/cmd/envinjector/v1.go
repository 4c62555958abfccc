package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/servingcert"
	"github.com/akv2k8s/akv2k8s/src/v1compat/authservice"
)

// newV1Handler creates the handler for pods that v1 injected. It responds that they must be recreated or, with
// -legacy-auth-service, serves the v1 protocol.
func (s settings) newV1Handler(mgr ctrl.Manager, keeper *servingcert.Rotator,
	vault *vaultclient.Client) (*authservice.Handler, error) {
	config := authservice.Config{Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("akv2k8s-env-injector"),
		Registry: metrics.Registry,
		Log:      mgr.GetLogger().WithName("auth-service")}
	if s.v1AuthService {
		ours := func(name string) types.NamespacedName {
			return types.NamespacedName{Namespace: s.Namespace, Name: s.serviceName + name}
		}
		label, value, _ := strings.Cut(s.namespaceLabel, "=")
		config.Protocol = &authservice.ProtocolConfig{Writer: mgr.GetClient(), ServingSecret: ours("-serving"),
			CASecret:         ours("-ca"),
			UpgradeAllowance: s.v1UpgradeTime, NamespaceLabel: label, NamespaceLabelValue: value,
			HasOwnIdentity: func(namespace string) bool {
				return s.Identities.IdentityFor(namespace,
					"") != keyvault.Identity{}
			},
			RootCAs: keeper.RootCAs, ServingCertificate: keeper.GetCertificate, VaultToken: vaultTokenSource(vault),
			Clock:  time.Now,
			Random: rand.Reader}
	}
	return authservice.New(config)
}

// vaultTokenSource returns a function that gets the installation's vault token, which the v1 protocol hands to pods.
func vaultTokenSource(vault *vaultclient.Client) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		got, err := vault.Credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{vault.Cloud.VaultScope}})
		return got.Token, err
	}
}

// withV1TokenHandler serves the second step of the v1 protocol on the port of the auth service.
func withV1TokenHandler(own http.Handler, older *authservice.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", own)
	mux.Handle(authservice.RoutePattern, older.TokenHandler())
	return mux
}
