package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Config configures a Client. Fields are required unless their comment says that they are optional.
type Config struct {
	// CA is the root certificates of the broker, in PEM.
	CA string
	// Broker is the broker's DNS name and port, as host:port. Its certificate must be valid for that host.
	Broker string
	// ServiceAddress is the IP address and port of the same Service, as host:port. It is dialed before Broker, because
	// a pod in the host's network often cannot resolve the DNS name. Optional.
	ServiceAddress string
	// ReplicaAddress is the IP address and port of the replica that checked the references, as host:port. It is dialed
	// first. Optional.
	ReplicaAddress string
	// ReadToken returns the pod's token. It is called for each request, because the kubelet renews the token.
	ReadToken func() (string, error)
	// RequestTimeout is the timeout of one request. Optional. The default is longer than the timeout of the broker.
	RequestTimeout time.Duration
}

// Client sends requests to the broker.
type Client struct {
	config     Config
	tlsConfig  *tls.Config
	httpClient *http.Client
}

const (
	// dialTimeout is short, so that a Service without endpoints fails fast. A retry is cheap.
	dialTimeout = 3 * time.Second
	// replicaTimeout is shorter, because the client falls back to the Service.
	replicaTimeout = 500 * time.Millisecond
	// handshakeTimeout limits a server that accepts connections but does not answer.
	handshakeTimeout = 5 * time.Second
)

// New checks the configuration and returns a Client. Invalid configuration is fault.Invalid.
func New(c Config) (*Client, error) {
	pool := x509.NewCertPool()
	// The env-injector encoded this PEM itself, so AppendCertsFromPEM cannot skip a damaged block of a user.
	if !pool.AppendCertsFromPEM([]byte(c.CA)) {
		return nil, fault.New(fault.Invalid,
			"%s holds no certificate; recreate the pod so that the env-injector sets it", wire.EnvCA)
	}
	host, _, err := net.SplitHostPort(c.Broker)
	if err != nil || c.ReadToken == nil {
		return nil, fault.New(fault.Invalid, "%s is not host:port; recreate the pod so that the env-injector sets it",
			wire.EnvBroker)
	}
	client := &Client{config: c, tlsConfig: &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS13}}
	client.httpClient = &http.Client{
		Timeout: cmp.Or(c.RequestTimeout, limits.AuthServiceTime),
		// No proxy: the broker is in the cluster, so the program's own proxy variables do not apply. Redirects are not
		// followed, because they would carry the token to another server.
		Transport: &http.Transport{DialTLSContext: client.dialBroker,
			MaxResponseHeaderBytes: limits.AuthServiceHeaderBytes},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client, nil
}

// dialBroker tries the addresses in order. If a TLS handshake fails at the Service, it does not try the next address.
// If it fails at the replica, it does, because another pod can have the replica's address by now.
func (c *Client) dialBroker(ctx context.Context, network, _ string) (net.Conn, error) {
	if c.config.ReplicaAddress != "" {
		ctx, cancel := context.WithTimeout(ctx, replicaTimeout)
		defer cancel()
		if conn, err := (&tls.Dialer{Config: c.tlsConfig}).DialContext(ctx, network,
			c.config.ReplicaAddress); err == nil {
			return conn, nil
		}
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	var errs error
	for _, address := range slices.Compact([]string{c.config.ServiceAddress, c.config.Broker}) {
		if address == "" {
			continue
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			return c.startTLS(ctx, conn)
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

// startTLS performs the TLS handshake with the auth service.
func (c *Client) startTLS(ctx context.Context, conn net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	secured := tls.Client(conn, c.tlsConfig)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// Resolve returns the values of all references, by variable. references maps variables to references. Errors are of
// package fault.
func (c *Client) Resolve(ctx context.Context, references map[string]string) (map[string][]byte, error) {
	request, err := c.newResolveRequest(ctx, wire.ResolveRequest{References: references})
	if err != nil {
		return nil, err
	}
	var values map[string][]byte
	err = c.sendRequest(request, func(answer *http.Response) error {
		content, err := readAtMost(answer.Body, limits.AuthAnswerBytes)
		if err != nil {
			return err
		}
		values, err = parseValues(references, content)
		return err
	})
	return values, err
}

// Check returns an error of package fault if a reference cannot be resolved. It transfers no values. It returns the
// host:port of the replica that has the values in its cache now, or "".
func (c *Client) Check(ctx context.Context, references map[string]string) (replica string, err error) {
	request, err := c.newResolveRequest(ctx, wire.ResolveRequest{References: references, CheckOnly: true})
	if err != nil {
		return "", err
	}
	err = c.sendRequest(request, func(answer *http.Response) error {
		if _, _, err := net.SplitHostPort(answer.Header.Get(wire.HeaderReplica)); err == nil {
			replica = answer.Header.Get(wire.HeaderReplica)
		}
		return nil
	})
	return replica, err
}

// sendRequest sends one request and passes a successful response to read. 304 is successful if the request has a
// condition.
func (c *Client) sendRequest(request *http.Request, read func(*http.Response) error) error {
	response, err := c.httpClient.Do(request)
	if err != nil {
		return connectionError(err)
	}
	defer func() { _ = response.Body.Close() }()
	isUnchanged := response.StatusCode == http.StatusNotModified && request.Header.Get(headerIfNoneMatch) != ""
	if response.StatusCode == http.StatusOK || isUnchanged {
		return read(response)
	}
	content, err := readAtMost(response.Body, limits.AuthServiceErrorBytes)
	if err != nil {
		return err
	}
	return responseError(response.StatusCode, content)
}

// newResolveRequest creates the request for values.
func (c *Client) newResolveRequest(ctx context.Context, question wire.ResolveRequest) (*http.Request, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, fault.Wrap(fault.Bug, err, "encoding the request")
	}
	if len(body) > limits.AuthRequestBytes {
		return nil, fault.New(fault.Invalid,
			"the container's references have %d bytes, and the auth service accepts at most %d; use fewer references "+
				"or shorter names",
			len(body), limits.AuthRequestBytes)
	}
	request, err := c.newRequest(ctx, http.MethodPost, wire.ResolvePath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	return request, nil
}

// newRequest creates a request with the pod's token.
func (c *Client) newRequest(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	token, err := c.config.ReadToken()
	if err != nil {
		return nil, fault.Wrap(fault.Unauthenticated, err, "reading the pod's token")
	}
	request, err := http.NewRequestWithContext(ctx, method, "https://"+c.config.Broker+path, body)
	if err != nil {
		return nil, fault.Wrap(fault.Bug, err, "creating the request")
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return request, nil
}

// readAtMost reads a body of at most most bytes. A longer one is fault.Unavailable.
func readAtMost(answer io.Reader, most int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(answer, most+1))
	if err != nil || int64(len(content)) > most {
		return nil, fault.New(fault.Unavailable, "the response of the auth service was cut off or is too long")
	}
	return content, nil
}

// parseValues decodes the values. The response must have a value for each requested variable; others are ignored.
func parseValues(references map[string]string, content []byte) (map[string][]byte, error) {
	var answer wire.ResolveResponse
	if json.Unmarshal(content, &answer) != nil {
		return nil, fault.New(fault.Bug, "the response of the auth service is not JSON with values")
	}
	values := make(map[string][]byte, len(references))
	for name := range references {
		value, ok := answer.Values[name]
		if !ok {
			return nil, fault.New(fault.Bug, "the response of the auth service has no value for variable %s", name)
		}
		values[name] = value
	}
	return values, nil
}

// connectionError classifies and explains an error of the connection.
func connectionError(err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fault.New(fault.Unauthenticated,
			"the certificate of the auth service is not signed by the CA that this pod was created with; "+
				"recreate the pod")
	}
	var name x509.HostnameError
	if errors.As(err, &name) {
		return fault.New(fault.Unauthenticated,
			"the server at the auth service's address has the certificate of another service; recreate the pod")
	}
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return &fault.Error{Kind: fault.Unavailable, Operation: "calling the auth service", Cause: invalid,
			Next: "correct the clock of this node or of the node where the env-injector runs"}
	}
	return &fault.Error{Kind: fault.Unavailable, Operation: "calling the auth service", Cause: err,
		Next: "check that the pods of the env-injector are running and that no NetworkPolicy or service mesh blocks " +
			"the connection; if the auth service was disabled, recreate the pod"}
}

// responseError decodes the error in a response. A response without a known kind, for example from a proxy, is
// fault.Unavailable.
func responseError(status int, content []byte) error {
	var reason wire.ErrorResponse
	if json.Unmarshal(content, &reason) != nil || !slices.Contains(fault.Kinds(), fault.Kind(reason.Kind)) {
		return fault.New(fault.Unavailable, "the auth service returned status %d without a reason", status)
	}
	asked := min(max(reason.RetryAfterSeconds, 0), int(limits.InjectorRetryAfter/time.Second))
	return &fault.Error{Kind: fault.Kind(reason.Kind), Operation: reason.Message,
		RetryAfter:     time.Duration(asked) * time.Second,
		CanAppearLater: reason.CanAppearLater}
}
