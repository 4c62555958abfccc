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

// Config is what a Client works with.
type Config struct {
	// CA is the broker's root certificate, PEM.
	CA string
	// Broker is host:port by DNS name; the host is also the name that its certificate must have.
	Broker string
	// Address is host:port of the same by address, which is dialled first: a pod in the host's network often can't
	// resolve the name. May be empty.
	Address string
	// Replica is host:port of the replica that answered a moment ago, which is tried before that. May be empty.
	Replica string
	// Token gives the pod's token; the kubelet renews it, so it is asked for each time.
	Token func() (string, error)
	// Patience bounds one question; zero is a little longer than the broker takes at most.
	Patience time.Duration
}

// Client asks the broker.
type Client struct {
	config Config
	tls    *tls.Config
	http   *http.Client
}

const (
	// dialTimeout is short: a Service without endpoints should be found out fast, and a retry is cheap.
	dialTimeout = 3 * time.Second
	// replicaTimeout is shorter, since the Service comes next.
	replicaTimeout = 500 * time.Millisecond
	// handshakeTimeout is for a server that takes connections, and does nothing with them.
	handshakeTimeout = 5 * time.Second
)

// New checks the configuration. A CA that is none is fault.Invalid.
func New(c Config) (*Client, error) {
	pool := x509.NewCertPool()
	// Our own env-injector wrote the CA, as PEM that it encoded itself; nobody else's certificates are in it that could
	// be damaged.
	if !pool.AppendCertsFromPEM([]byte(c.CA)) {
		return nil, fault.New(fault.Invalid,
			"%s holds no certificate; recreate the pod, so that the env-injector writes it", wire.EnvCA)
	}
	host, _, err := net.SplitHostPort(c.Broker)
	if err != nil || c.Token == nil {
		return nil, fault.New(fault.Invalid, "%s is no host:port; recreate the pod, so that the env-injector writes it",
			wire.EnvBroker)
	}
	client := &Client{config: c, tls: &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS13}}
	client.http = &http.Client{
		Timeout: cmp.Or(c.Patience, limits.AuthServiceTime),
		// No proxy: the broker is in the cluster, whatever the program's own proxy variables say. A redirect would
		// carry the token.
		Transport: &http.Transport{DialTLSContext: client.dial,
			MaxResponseHeaderBytes: limits.AuthServiceHeaderBytes},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client, nil
}

// dial tries one address after the other. One that takes connections has to prove who it is, and if it can't, no other
// is tried: only the replica may be another pod by now.
func (c *Client) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	if c.config.Replica != "" {
		ctx, cancel := context.WithTimeout(ctx, replicaTimeout)
		defer cancel()
		if conn, err := (&tls.Dialer{Config: c.tls}).DialContext(ctx, network, c.config.Replica); err == nil {
			return conn, nil
		}
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	var errs error
	for _, address := range slices.Compact([]string{c.config.Address, c.config.Broker}) {
		if address == "" {
			continue
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			return c.secure(ctx, conn)
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

// secure makes the connection one of TLS with the auth service.
func (c *Client) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	secured := tls.Client(conn, c.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// Resolve gives the values of all references, by variable, or an error of package fault.
func (c *Client) Resolve(ctx context.Context, references map[string]string) (map[string][]byte, error) {
	var values map[string][]byte
	err := c.ask(ctx, wire.ResolveRequest{References: references}, func(answer *http.Response) error {
		content, err := readAtMost(answer.Body, limits.AuthAnswerBytes)
		if err != nil {
			return err
		}
		values, err = complete(references, content)
		return err
	})
	return values, err
}

// Check says whether every reference can be resolved, or why not, by an error of package fault; no value is kept. It
// gives the replica that knows the values now, or nothing.
func (c *Client) Check(ctx context.Context, references map[string]string) (replica string, err error) {
	err = c.ask(ctx, wire.ResolveRequest{References: references, Check: true}, func(answer *http.Response) error {
		if _, _, err := net.SplitHostPort(answer.Header.Get(wire.HeaderReplica)); err == nil {
			replica = answer.Header.Get(wire.HeaderReplica)
		}
		return nil
	})
	return replica, err
}

// ask sends one request. What is answered with success is given to read.
func (c *Client) ask(ctx context.Context, question wire.ResolveRequest, read func(*http.Response) error) error {
	request, err := c.request(ctx, question)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return unreachable(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return read(response)
	}
	content, err := readAtMost(response.Body, limits.AuthServiceErrorBytes)
	if err != nil {
		return err
	}
	return refusal(response.StatusCode, content)
}

// request is the question as HTTP, with the pod's token.
func (c *Client) request(ctx context.Context, question wire.ResolveRequest) (*http.Request, error) {
	token, err := c.config.Token()
	if err != nil {
		return nil, fault.Wrap(fault.Unauthenticated, err, "reading the pod's token")
	}
	body, err := json.Marshal(question)
	if err != nil {
		return nil, fault.Wrap(fault.Bug, err, "writing the request")
	}
	if len(body) > limits.AuthRequestBytes {
		return nil, fault.New(fault.Invalid,
			"the container's references are %d bytes together, and the auth service takes at most %d; give it fewer, "+
				"or shorter names",
			len(body), limits.AuthRequestBytes)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+c.config.Broker+wire.ResolvePath,
		bytes.NewReader(body))
	if err != nil {
		return nil, fault.Wrap(fault.Bug, err, "making the request")
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	return request, nil
}

// readAtMost reads an answer that has a bound.
func readAtMost(answer io.Reader, most int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(answer, most+1))
	if err != nil || int64(len(content)) > most {
		return nil, fault.New(fault.Unavailable, "the answer of the auth service was cut off or is too long")
	}
	return content, nil
}

// complete reads the values; each variable that was asked for must be there, and no other is taken.
func complete(references map[string]string, content []byte) (map[string][]byte, error) {
	var answer wire.ResolveResponse
	if json.Unmarshal(content, &answer) != nil {
		return nil, fault.New(fault.Bug, "the auth service answered something else than values")
	}
	values := make(map[string][]byte, len(references))
	for name := range references {
		value, ok := answer.Values[name]
		if !ok {
			return nil, fault.New(fault.Bug, "the auth service did not answer variable %s", name)
		}
		values[name] = value
	}
	return values, nil
}

// unreachable explains an error of the connection.
func unreachable(err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fault.New(fault.Unauthenticated,
			"the auth service does not have the certificate that this pod was made with; recreate the pod")
	}
	var name x509.HostnameError
	if errors.As(err, &name) {
		return fault.New(fault.Unauthenticated,
			"what answers for the auth service has the certificate of another service; recreate the pod")
	}
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return &fault.Error{Kind: fault.Unavailable, Doing: "asking the auth service", Cause: invalid,
			Next: "correct the clock of this node, or of the one where the env-injector runs"}
	}
	return &fault.Error{Kind: fault.Unavailable, Doing: "asking the auth service", Cause: err,
		Next: "see whether the pods of the env-injector run, and whether a NetworkPolicy or a service mesh is in the " +
			"way; if the auth service was switched off, recreate the pod"}
}

// refusal reads the reason; an answer that is none of ours, say of a proxy, is an outage.
func refusal(status int, content []byte) error {
	var reason wire.ErrorResponse
	if json.Unmarshal(content, &reason) != nil || !slices.Contains(fault.Kinds(), fault.Kind(reason.Kind)) {
		return fault.New(fault.Unavailable, "the auth service answered %d without a reason", status)
	}
	asked := min(max(reason.RetryAfterSeconds, 0), int(limits.RetryAfterTime/time.Second))
	return &fault.Error{Kind: fault.Kind(reason.Kind), Doing: reason.Message,
		RetryAfter:   time.Duration(asked) * time.Second,
		MayComeLater: reason.MayComeLater}
}
