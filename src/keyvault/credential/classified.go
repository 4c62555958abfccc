package credential

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
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
}

// GetToken implements azcore.TokenCredential.
func (c *classified) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := c.TokenCredential.GetToken(ctx, options)
	if err != nil {
		return token, final{c.classify(err)}
	}
	return token, nil
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

var entraCode = regexp.MustCompile(`AADSTS(\d+)`)

// reason translates the codes that users meet; the SDK's text holds the code and never the secret.
func reason(err error, status int) (next string, cause error) {
	code := ""
	if found := entraCode.FindStringSubmatch(err.Error()); found != nil {
		code = found[1]
	}
	switch code {
	case "7000215":
		return "use the secret's value, not its id, of this very application", errors.New("the client secret is wrong (AADSTS7000215)")
	case "7000222":
		return "make a new one and update the credential", errors.New("the client secret has expired (AADSTS7000222)")
	case "700016":
		return "check client id and tenant id", errors.New("the application is not known in the tenant (AADSTS700016)")
	case "90002":
		return "check the tenant id and the cloud", errors.New("the tenant is not known (AADSTS90002)")
	case "":
		return "assign it to the node's virtual machine scale set, or check its id", errors.New("the identity is not assigned to this node (" + strconv.Itoa(status) + ")")
	}
	return "look the code up at https://login.microsoftonline.com/error", errors.New("refused with AADSTS" + code)
}

func retryAfter(r *http.Response) time.Duration {
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
