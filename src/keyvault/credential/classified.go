package credential

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// classified gives the errors of a credential a kind and a text of our own: the SDK's holds ids and times that differ each time.
type classified struct {
	azcore.TokenCredential
	who string
	// tenant is the application's, empty for a managed identity.
	tenant string
	// turn is held by the one who asks Azure. Whoever waits for it finds the token in the SDK's cache: many vaults at a start cost one request.
	turn chan struct{}
	// answers are those of the metadata service; nil for other credentials.
	answers *answers
	// before gives the error, if any, of what comes before Azure is asked; nil for most credentials.
	before func() error
}

func newClassified(credential azcore.TokenCredential, who string) *classified {
	return &classified{TokenCredential: credential, who: who, turn: make(chan struct{}, 1)}
}

// answers remembers the last answer of a server that the SDK keeps asking until the deadline, when its error says nothing of it any more.
type answers struct {
	next policy.Transporter
	last atomic.Int64
}

// Do implements policy.Transporter.
func (a *answers) Do(request *http.Request) (*http.Response, error) {
	response, err := a.next.Do(request)
	if err == nil {
		a.last.Store(int64(response.StatusCode))
	}
	return response, err
}

// tenantID is how a vault names its tenant; users may also write a domain.
var tenantID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// early ends a bit before the caller's deadline: what an error says after it, the SDK throws away.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Second, time.Until(deadline)/4)))
}

// GetToken implements azcore.TokenCredential.
func (c *classified) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	ctx, cancel := early(ctx)
	defer cancel()
	if c.tenant != "" {
		if tenantID.MatchString(c.tenant) && options.TenantID != "" && !strings.EqualFold(c.tenant, options.TenantID) {
			return azcore.AccessToken{}, final{&fault.Error{Kind: fault.Unauthenticated, Doing: "getting a token for " + c.who,
				Cause: errors.New("the vault is of tenant " + options.TenantID), Next: "correct the tenant id, or use an application of that tenant"}}
		}
		options.TenantID = "" // the SDK would not ask for it under a domain's name, which means the same
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return azcore.AccessToken{}, final{c.classify(ctx.Err())}
	}
	if c.answers != nil {
		c.answers.last.Store(0)
	}
	token, err := c.TokenCredential.GetToken(ctx, options)
	if err == nil {
		return token, nil
	}
	if c.before != nil {
		if own := c.before(); own != nil {
			return token, final{own}
		}
	}
	return token, final{c.classify(err)}
}

// final tells azcore not to try again: the credential did that already.
type final struct{ error }

// NonRetriable is the marker that azcore looks for.
func (final) NonRetriable() {}

// Unwrap gives the classified error.
func (f final) Unwrap() error { return f.error }

func (c *classified) classify(err error) error {
	e := &fault.Error{Kind: fault.Unavailable, Doing: "getting a token for " + c.who}
	var refused *azidentity.AuthenticationFailedError
	if !errors.As(err, &refused) || refused.RawResponse == nil {
		if c.answers != nil && c.answers.last.Load() != 0 {
			return c.unwilling(e, int(c.answers.last.Load()))
		}
		e.Cause = errors.New("no answer from Azure")
		e.Next = "check that login hosts and, for a managed identity, 169.254.169.254 can be reached from the pod"
		return e
	}
	status := refused.RawResponse.StatusCode
	switch {
	case status == http.StatusTooManyRequests:
		e.Kind, e.Cause, e.RetryAfter = fault.Throttled, errors.New("too many requests (429)"), retryAfter(refused.RawResponse)
	case status >= http.StatusInternalServerError:
		e.Cause = errors.New("Azure answers " + strconv.Itoa(status))
	default:
		e.Kind = fault.Unauthenticated
		e.Next, e.Cause = reason(err, status)
	}
	return e
}

// unwilling explains a metadata service that answered, but never with a token.
func (c *classified) unwilling(e *fault.Error, status int) error {
	e.Cause = errors.New("the metadata service answers " + strconv.Itoa(status))
	e.Next = "it is tried again; if it stays so, look at the node, and at what redirects 169.254.169.254: a proxy, or " +
		"aad-pod-identity, where the value addAzurePodIdentityException helps"
	if status == http.StatusTooManyRequests {
		e.Kind = fault.Throttled
	}
	return e
}

var entraCode = regexp.MustCompile(`AADSTS(\d+)`)

// reason translates the codes that users meet; the SDK's text holds the code and never the secret.
func reason(err error, status int) (next string, cause error) {
	code := ""
	if found := entraCode.FindStringSubmatch(err.Error()); found != nil {
		code = found[1]
	}
	if code == "" {
		return "assign it to the node's virtual machine scale set, or check its id", errors.New("the identity is not assigned to this node (" + strconv.Itoa(status) + ")")
	}
	for _, known := range refusals() {
		if known.code == code {
			return known.next, errors.New(known.what + " (AADSTS" + code + ")")
		}
	}
	return "look the code up at https://login.microsoftonline.com/error", errors.New("refused with AADSTS" + code)
}

// answer is an error of Entra ID that users meet, and what to do about it.
type answer struct{ code, what, next string }

func refusals() []answer {
	return []answer{
		{"7000215", "the client secret is wrong", "use the secret's value, not its id, of this very application"},
		{"7000222", "the client secret has expired", "make a new one and update the credential"},
		{"700016", "the application is not known in the tenant", "check client id and tenant id"},
		{"90002", "the tenant is not known", "check the tenant id and the cloud"},
		{"700027", "the certificate is not registered with the application, or has expired", "upload the certificate to the application, or renew it"},
		{"700024", "the assertion is not valid at this time", "check the clock of the node"},
		{"700023", "the assertion is for another audience", "check the tenant id, and that the token is for api://AzureADTokenExchange"},
		{"700213", "no federated credential of the application matches the pod's token", "check issuer, subject (system:serviceaccount:NAMESPACE:NAME) and audience of the federated credential"},
		{"70021", "no federated credential of the application matches the pod's token", "check issuer, subject (system:serviceaccount:NAMESPACE:NAME) and audience of the federated credential"},
		{"50126", "the username or the password is wrong", "correct " + envUsername + " and " + envPassword},
		{"50034", "the user is not known in the tenant", "correct " + envUsername + " and " + envTenant},
		{"50076", "the user has to sign in with a second factor, which a program can't", "use a client secret, a certificate or an identity instead"},
		{"50079", "the user has to sign in with a second factor, which a program can't", "use a client secret, a certificate or an identity instead"},
		{"65001", "nobody consented to the application", "let an administrator consent"},
	}
}

func retryAfter(r *http.Response) time.Duration {
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
