//go:build nov1compat

package envinjector

import (
	"context"
	"errors"
	"io"
	"net/http"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/iplimit"
	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/servingcert"
)

// This file replaces v1.go in a program without package v1compat.

var errNoV1 = errors.New("this program was built without support for akv2k8s 1.8; use an image of a release")

// v1Handler responds to no pod.
type v1Handler struct{}

func (s Settings) newV1Handler(ctrl.Manager, *servingcert.Rotator, *vaultclient.Client) (v1Handler, error) {
	if s.v1AuthService {
		return v1Handler{}, errNoV1
	}
	return v1Handler{}, nil
}

func (v1Handler) addTokenRoute(*iplimit.Server) {}

func (v1Handler) validationRoute() map[string]http.Handler { return nil }

func (v1Handler) addTo(ctrl.Manager) error { return nil }

func (Settings) newV1CA(client.Reader, client.Writer) (servingcert.ExtraCAs, error) { return nil, nil }

func MigrateV1CA(context.Context, Settings, io.Writer) error { return errNoV1 }

func (i initContainerValue) withV1Variables(func(string) (string, bool)) (initContainerValue, []string, error) {
	return i, nil, nil
}

// v1PullPolicyHint is empty, because there is no variable to remove.
const v1PullPolicyHint = ""

func v1PullPolicy(func(string) (string, bool)) string { return "" }
