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

// Config is the configuration of a Client. Every field is required.
type Config struct {
	// Host and Port of the API server, from the variables that Kubernetes sets in every container.
	Host, Port string
	// CA is the root certificate of the API server, PEM.
	CA []byte
	// Namespace is the pod's namespace.
	Namespace string
	// Token returns the pod's token for the API server. It is called for each request, because the kubelet renews the
	// token.
	Token func() (string, error)
}

// Client reads AzureKeyVaultSecrets from the API server.
type Client struct {
	config     Config
	httpClient *http.Client
}

// adviceRecreatePod is the advice if something is missing that the webhook adds to the pod.
const adviceRecreatePod = "recreate the pod so that the env-injector adds it"

// New creates a Client. The error for an incomplete configuration is fault.Invalid.
func New(c Config) (*Client, error) {
	if c.Host == "" || c.Port == "" {
		return nil, fault.New(fault.Invalid,
			"KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is missing; don't remove them from the container's "+
				"environment")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.CA) {
		return nil, fault.New(fault.Invalid, "the CA of the API server is missing in the pod; %s", adviceRecreatePod)
	}
	if c.Namespace == "" || c.Token == nil {
		return nil, fault.New(fault.Invalid, "the namespace or the token is missing in the pod; %s", adviceRecreatePod)
	}
	return &Client{config: c, httpClient: &http.Client{
		Timeout: limits.APIServerTime,
		// No proxy: the proxy variables are those of the program, not for the API server. No redirects: they would
		// carry the token. With HTTP/2 one connection is enough; without the limit each of the first requests opens
		// its own.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: true, MaxConnsPerHost: 1,
			MaxResponseHeaderBytes: limits.APIServerHeaderBytes},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// FetchResource returns the JSON of the AzureKeyVaultSecret with that name. Errors are of package fault.
func (c *Client) FetchResource(ctx context.Context, name string) ([]byte, error) {
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
			"the address of the API server is invalid; don't change KUBERNETES_SERVICE_HOST and "+
				"KUBERNETES_SERVICE_PORT")
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	response, err := c.httpClient.Do(request)
	if err != nil {
		return nil, c.connectionError(name, err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, limits.ResourceBytes+1))
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, c.statusError(name, response)
	case err != nil || len(content) > limits.ResourceBytes:
		return nil, fault.New(fault.Unavailable,
			"reading AzureKeyVaultSecret %q: the response of the API server was cut off or is too long", name)
	}
	return content, nil
}

// connectionError explains why a request got no response, without the URL that net/http adds.
func (c *Client) connectionError(name string, err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return &fault.Error{Kind: fault.Unavailable,
			Operation: fmt.Sprintf("reading AzureKeyVaultSecret %q from the API server", name),
			Cause:     cmp.Or(c.checkCA(), error(unknown)),
			Next:      "correct the ConfigMap kube-root-ca.crt of the namespace, from which the pod has the CA"}
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &fault.Error{Kind: fault.Unavailable,
		Operation: fmt.Sprintf("reading AzureKeyVaultSecret %q from the API server", name), Cause: err,
		Next: "check whether a NetworkPolicy or a service mesh blocks the connection"}
}

// checkCA returns an error that names the first block of the API server's CA that can't be parsed; nil if all can. The
// CA can be a bundle with blocks that this client does not need. A damaged one must not stop a pod, so the check runs
// only if the API server's certificate is not trusted.
func (c *Client) checkCA() error {
	if _, err := certificate.DecodePEMBlocks(c.config.CA); err != nil {
		return fmt.Errorf("the CA of the API server: %w", err)
	}
	return nil
}

// statusError explains a response that is not 200. It uses the status and Retry-After, never the body.
func (c *Client) statusError(name string, response *http.Response) error {
	switch response.StatusCode {
	case http.StatusNotFound:
		return &fault.Error{Kind: fault.NotFound, CanAppearLater: true, Next: "create it, or correct the name",
			Operation: fmt.Sprintf("there is no AzureKeyVaultSecret %q in namespace %q", name, c.config.Namespace)}
	case http.StatusForbidden:
		return fault.New(fault.Denied,
			"the pod's ServiceAccount is not allowed to read AzureKeyVaultSecret %q in namespace %q; add the "+
				"ServiceAccount to the value env_injector.rbacSubjects",
			name, c.config.Namespace)
	case http.StatusUnauthorized:
		return fault.New(fault.Unauthenticated, "the API server does not accept the pod's token; recreate the pod")
	}
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		seconds = 0
	}
	seconds = min(seconds, int(limits.InjectorRetryAfter/time.Second))
	return &fault.Error{Kind: fault.Unavailable, RetryAfter: time.Duration(seconds) * time.Second,
		Operation: fmt.Sprintf("reading AzureKeyVaultSecret %q: the API server returned status %d", name,
			response.StatusCode)}
}
