//go:build !nov1compat

package envinjector

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/akv2k8s/akv2k8s/src/iplimit"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/servingcert"
	"github.com/akv2k8s/akv2k8s/src/v1compat/authservice"
	v1ca "github.com/akv2k8s/akv2k8s/src/v1compat/ca"
	"github.com/akv2k8s/akv2k8s/src/v1compat/initcontainer"
)

// v1Handler responds to pods that v1 injected.
type v1Handler struct{ *authservice.Handler }

// newV1Handler creates the handler for pods that v1 injected. It responds that they must be recreated or, with
// -legacy-auth-service, serves the v1 protocol.
func (s Settings) newV1Handler(mgr ctrl.Manager, keeper *servingcert.Rotator,
	vault *vaultclient.Client) (v1Handler, error) {
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
	handler, err := authservice.New(config)
	return v1Handler{handler}, err
}

// vaultTokenSource returns a function that gets the installation's vault token, which the v1 protocol hands to pods.
func vaultTokenSource(vault *vaultclient.Client) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		got, err := vault.Credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{vault.Cloud.VaultScope}})
		return got.Token, err
	}
}

// addTokenRoute adds the second step of the v1 protocol to the server of the auth service.
func (h v1Handler) addTokenRoute(server *iplimit.Server) {
	mux := http.NewServeMux()
	mux.Handle("/", server.Handler)
	mux.Handle(authservice.RoutePattern, h.TokenHandler())
	server.Handler, server.TLS.GetCertificate, server.TLS.ClientAuth = mux, h.GetCertificate, tls.RequestClientCert
}

// validationRoute returns the route of the first step, which is served over plain HTTP.
func (h v1Handler) validationRoute() map[string]http.Handler {
	return map[string]http.Handler{authservice.RoutePattern: h}
}

// addTo lets the manager start the handler.
func (h v1Handler) addTo(mgr ctrl.Manager) error { return mgr.Add(h) }

// newV1CA creates the CA of v1, which the API server must trust until no replica of v1 is left.
func (s Settings) newV1CA(live client.Reader, writer client.Writer) (servingcert.ExtraCAs, error) {
	own := types.NamespacedName{Namespace: s.Namespace, Name: s.serviceName}
	return v1ca.New(v1ca.Config{Live: live, Writer: writer, ServingSecret: s.servingSecretName(), Clock: time.Now,
		AllReplicasUpdated: v1ca.RolloutCheck(live, own)})
}

// MigrateV1CA copies the CA of a v1 release. The chart's hook runs it before an upgrade.
func MigrateV1CA(ctx context.Context, s Settings, stdout io.Writer) error {
	live, err := s.newClient()
	if err != nil {
		return err
	}
	done, err := v1ca.Migrate(ctx, live, s.servingSecretName(), s.v1CASecrets)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, done)
	return err
}

// withV1Variables fills the fields that the value does not set from the environment variables of v1. It returns the
// warnings about ignored variables.
func (i initContainerValue) withV1Variables(lookup func(string) (string, bool)) (initContainerValue, []string, error) {
	v1, err := initcontainer.Read(lookup)
	i.Resources = *i.Resources.DeepCopy()
	v1.AddResources(&i.Resources)
	security := &i.SecurityContext
	security.RunAsUser = firstSet(security.RunAsUser, v1.RunAsUser)
	security.RunAsGroup = firstSet(security.RunAsGroup, v1.RunAsGroup)
	security.ReadOnlyRootFilesystem = firstSet(security.ReadOnlyRootFilesystem, v1.ReadOnlyRootFilesystem)
	return i, v1.Warnings, err
}

// firstSet returns a if it is set, else b.
func firstSet[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// v1PullPolicyHint is the advice about the variable for errors about the pull policy.
const v1PullPolicyHint = ", and remove " + initcontainer.PullPolicyVariable

// v1PullPolicy returns the pull policy in the environment variable of v1.
func v1PullPolicy(lookup func(string) (string, bool)) string {
	text, _ := lookup(initcontainer.PullPolicyVariable)
	return text
}
