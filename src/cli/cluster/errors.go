package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

func noKubeconfigError() error {
	return fault.NewWithNextStep(fault.Invalid, "name a kubeconfig with --kubeconfig or the variable KUBECONFIG, or "+
		"create one, for example with 'az aks get-credentials'", "no cluster is configured")
}

// explainConfigError adds the next step to an error of the kubeconfig.
func explainConfigError(err error) error {
	switch {
	case clientcmd.IsEmptyConfig(err):
		return noKubeconfigError()
	case errors.Is(err, fs.ErrNotExist):
		return &fault.Error{Kind: fault.Invalid, Cause: err, Next: "correct --kubeconfig or the variable KUBECONFIG"}
	}
	return &fault.Error{Kind: fault.Invalid, Operation: "reading the kubeconfig", Cause: err,
		Next: "see it with 'kubectl config view'"}
}

// ExplainError adds the next step to an error of a request. An error that has one stays as it is.
func ExplainError(err error) error {
	if err == nil || fault.NextStepOf(err) != "" {
		return err
	}
	explain := func(kind fault.Kind, cause error, next string) error {
		return &fault.Error{Kind: kind, Cause: cause, Next: next}
	}
	var request *url.Error
	switch {
	case meta.IsNoMatchError(err):
		return explain(fault.NotFound, missingKindCause(err),
			"check that the context is the right one, and install the chart of akv2k8s, which has the CRD")
	case apierrors.IsUnauthorized(err):
		return explain(fault.Unauthenticated, err,
			"sign in to the cluster again, and check with 'kubectl auth whoami'")
	case apierrors.IsForbidden(err):
		return explain(fault.Denied, err, "ask for a Role that allows it; the ClusterRole view of "+
			"Kubernetes allows to read AzureKeyVaultSecrets, and edit to change them")
	case apierrors.IsTooManyRequests(err), apierrors.IsServerTimeout(err), apierrors.IsServiceUnavailable(err),
		apierrors.IsInternalError(err):
		return explain(fault.Unavailable, err, "the API server is overloaded or starts; try again in a minute")
	case errors.As(err, &request):
		return explainConnectionError(request)
	case errors.Is(err, context.DeadlineExceeded):
		return explain(fault.Unavailable, errors.New("the API server did not answer in time"),
			"try again, or allow more time with --request-timeout")
	}
	return err
}

// missingKindCause names the kinds that the API server does not have.
func missingKindCause(err error) error {
	kind := "the kind"
	var noKind *meta.NoKindMatchError
	var noResource *meta.NoResourceMatchError
	switch {
	case errors.As(err, &noKind):
		kind = noKind.GroupKind.String()
	case errors.As(err, &noResource):
		kind = noResource.PartialResource.String()
	}
	return fmt.Errorf("the cluster does not have %s", kind)
}

// explainConnectionError adds the next step to an error of a connection.
func explainConnectionError(request *url.Error) error {
	host := request.URL
	if parsed, err := url.Parse(request.URL); err == nil {
		host = parsed.Scheme + "://" + parsed.Host
	}
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var dns *net.DNSError
	next := "check the context, the network and the VPN, and try 'kubectl cluster-info'"
	switch {
	case errors.As(request.Err, &unknown), errors.As(request.Err, &wrongName):
		next = "a proxy may answer in its place, or the kubeconfig is of an older cluster; get its credentials again"
	case errors.As(request.Err, &dns):
		next = "the cluster may be deleted, or private; check the context, and connect to its network"
	case request.Timeout():
		next = "check the network and the VPN, or allow more time with --request-timeout"
	}
	return &fault.Error{Kind: fault.Unavailable, Operation: "connecting to the API server " + host,
		Cause: request.Err, Next: next}
}

// ExplainResourceError adds the next step to an error of reading a resource.
func ExplainResourceError(err error, key types.NamespacedName) error {
	if apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
		return fault.NewWithNextStep(fault.NotFound, "list them with 'kubectl akv2k8s get'",
			"there is no AzureKeyVaultSecret %q in namespace %q", key.Name, key.Namespace)
	}
	return ExplainError(err)
}
