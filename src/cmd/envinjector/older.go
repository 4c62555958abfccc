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

	"github.com/akv2k8s/akv2k8s/src/broker/legacy"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/gateway"
	"github.com/akv2k8s/akv2k8s/src/servingcert"
)

// older creates the handler for pods that v1 injected. It responds that they must be recreated or, with
// -legacy-auth-service, serves the v1 protocol.
func (s settings) older(mgr ctrl.Manager, keeper *servingcert.Keeper,
	vault *gateway.Gateway) (*legacy.Handler, error) {
	config := legacy.Config{Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("akv2k8s-env-injector"),
		Registry: metrics.Registry,
		Log:      mgr.GetLogger().WithName("auth-service")}
	if s.legacyAuthService {
		ours := func(name string) types.NamespacedName {
			return types.NamespacedName{Namespace: s.namespace, Name: s.service + name}
		}
		label, value, _ := strings.Cut(s.namespaceLabel, "=")
		config.Transition = &legacy.Transition{Writer: mgr.GetClient(), Serving: ours("-serving"), CA: ours("-ca"),
			Allowance: s.upgradeTime, Label: label, LabelValue: value,
			Reserved: func(namespace string) bool { return s.identities.Of(namespace, "") != keyvault.Identity{} },
			Root:     keeper.Root, Leaf: keeper.GetCertificate, Token: token(vault), Clock: time.Now,
			Random: rand.Reader}
	}
	return legacy.New(config)
}

// token returns a function that gets the installation's vault token, which the v1 protocol hands to pods.
func token(vault *gateway.Gateway) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		got, err := vault.Credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{vault.Cloud.VaultScope}})
		return got.Token, err
	}
}

// withOlder serves the second step of the v1 protocol on the port of the auth service.
func withOlder(own http.Handler, older *legacy.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", own)
	mux.Handle(legacy.Pattern, older.Tokens())
	return mux
}
