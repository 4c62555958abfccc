package akvsclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Config is what a Client works with; every field is required.
type Config struct {
	// Host and Port are the API server's, as Kubernetes tells every container.
	Host, Port string
	// CA is its root certificate, PEM.
	CA []byte
	// Namespace is the pod's.
	Namespace string
	// Token gives the pod's token for the API server; the kubelet renews it, so it is asked for each time.
	Token func() (string, error)
}

// Client asks the API server.
type Client struct {
	config Config
	http   *http.Client
}

// recreate is the next step where what the webhook put into the pod is not there.
const recreate = "recreate the pod, so that the env-injector adds it"

// New checks the configuration. What can't work is fault.Invalid.
func New(c Config) (*Client, error) {
	if c.Host == "" || c.Port == "" {
		return nil, fault.New(fault.Invalid,
			"KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is missing; don't remove them from the container's "+
				"environment")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.CA) {
		return nil, fault.New(fault.Invalid, "the certificate of the API server is not in the pod; %s", recreate)
	}
	if c.Namespace == "" || c.Token == nil {
		return nil, fault.New(fault.Invalid, "the pod's namespace or token is not in the pod; %s", recreate)
	}
	return &Client{config: c, http: &http.Client{
		Timeout: limits.APIServerTime,
		// No proxy: the program's own proxy variables are not meant for the API server. A redirect would carry the
		// token. One connection is enough, by HTTP/2; without the bound each of the first requests would open its own.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: true, MaxConnsPerHost: 1,
			MaxResponseHeaderBytes: limits.APIServerHeaderBytes},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Fetch gives the JSON of the AzureKeyVaultSecret of that name. Errors are of package fault.
func (c *Client) Fetch(ctx context.Context, name string) ([]byte, error) {
	token, err := c.config.Token()
	if err != nil {
		return nil, fault.Wrap(fault.Unauthenticated, err, "reading the pod's token")
	}
	address := url.URL{Scheme: "https", Host: net.JoinHostPort(c.config.Host, c.config.Port)}
	target := address.JoinPath("apis", wire.Group, wire.StorageVersion, "namespaces",
		url.PathEscape(c.config.Namespace), "azurekeyvaultsecrets", url.PathEscape(name))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, fault.New(fault.Invalid,
			"the address of the API server is none; don't change KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT")
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.connectionError(name, err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, limits.ResourceBytes+1))
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, c.refusal(name, response)
	case err != nil || len(content) > limits.ResourceBytes:
		return nil, fault.New(fault.Unavailable,
			"reading AzureKeyVaultSecret %q: the answer of the API server was cut off or is too long", name)
	}
	return content, nil
}

// connectionError explains an error of the connection, without the request's URL and what else the library adds.
func (c *Client) connectionError(name string, err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return &fault.Error{Kind: fault.Unavailable,
			Doing: fmt.Sprintf("asking the API server for AzureKeyVaultSecret %q", name),
			Cause: cmp.Or(c.checkCA(), error(unknown)),
			Next:  "correct the ConfigMap kube-root-ca.crt of the namespace, which the pod knows the API server by"}
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &fault.Error{Kind: fault.Unavailable,
		Doing: fmt.Sprintf("asking the API server for AzureKeyVaultSecret %q", name), Cause: err,
		Next: "see whether a NetworkPolicy or a service mesh is in the way"}
}

// checkCA says which block of the API server's CA can't be read; nil if all can. The cluster writes the CA, which may
// be a bundle, and a block that is of no use to us must not stop a pod. So it is looked for only when the API server is
// not believed.
func (c *Client) checkCA() error {
	if _, err := certificate.Blocks(c.config.CA); err != nil {
		return fmt.Errorf("the CA of the API server: %w", err)
	}
	return nil
}

// refusal goes by the status alone; the text of the answer is not needed.
func (c *Client) refusal(name string, response *http.Response) error {
	switch response.StatusCode {
	case http.StatusNotFound:
		return &fault.Error{Kind: fault.NotFound, MayComeLater: true, Next: "create it, or correct the name",
			Doing: fmt.Sprintf("there is no AzureKeyVaultSecret %q in namespace %q", name, c.config.Namespace)}
	case http.StatusForbidden:
		return fault.New(fault.Denied,
			"the pod's ServiceAccount may not read AzureKeyVaultSecret %q of namespace %q; add it to the value "+
				"env_injector.rbacSubjects",
			name, c.config.Namespace)
	case http.StatusUnauthorized:
		return fault.New(fault.Unauthenticated, "the API server does not accept the pod's token; recreate the pod")
	}
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		seconds = 0
	}
	seconds = min(seconds, int(limits.RetryAfterTime/time.Second))
	return &fault.Error{Kind: fault.Unavailable, RetryAfter: time.Duration(seconds) * time.Second,
		Doing: fmt.Sprintf("asking the API server for AzureKeyVaultSecret %q: it answered %d", name,
			response.StatusCode)}
}
