package credential

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// classifyingCredential replaces the errors of a credential by classified errors with a stable text. The SDK's errors
// contain ids and times that differ each time.
type classifyingCredential struct {
	azcore.TokenCredential
	description string
	// tenantID is the tenant id of the application; empty for a managed identity.
	tenantID string
	// requestSlot admits one request at a time. The next caller finds the token in the SDK's cache, so many reads at
	// startup cause one request.
	requestSlot chan struct{}
	// transport is the transport of the credential.
	transport *recordingTransport
	// messageFacts are values for the placeholders in diagnosis messages.
	messageFacts diagnosis.Facts
	// precedingError returns the error of a step before the request to Entra ID, if any; nil for most credentials.
	precedingError func() error
}

func newClassifyingCredential(credential azcore.TokenCredential, heard *recordingTransport,
	who string) *classifyingCredential {
	return &classifyingCredential{TokenCredential: credential, transport: heard, description: who,
		requestSlot:  make(chan struct{}, 1),
		messageFacts: diagnosis.Facts{}}
}

// tenantIDPattern matches a tenant id as vaults name it. Users can also configure a domain name.
var tenantIDPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
})

// withEarlierDeadline returns a context that ends before the caller's deadline, because the SDK discards errors
// returned after it.
func withEarlierDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Second, time.Until(deadline)/4)))
}

// GetToken implements azcore.TokenCredential.
func (c *classifyingCredential) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken,
	error) {
	ctx, cancel := withEarlierDeadline(ctx)
	defer cancel()
	if c.tenantID != "" {
		if tenantIDPattern().MatchString(c.tenantID) && options.TenantID != "" &&
			!strings.EqualFold(c.tenantID, options.TenantID) {
			return azcore.AccessToken{}, nonRetriableError{&fault.Error{Kind: fault.Unauthenticated,
				Operation: "getting a token for " + c.description,
				Cause:     errors.New("the vault belongs to tenant " + options.TenantID),
				Next:      "correct the tenant id, or use an application of that tenant"}}
		}
		options.TenantID = "" // the SDK would reject it for a tenant given as a domain name
	}
	select {
	case c.requestSlot <- struct{}{}:
		defer func() { <-c.requestSlot }()
	case <-ctx.Done():
		return azcore.AccessToken{}, nonRetriableError{c.classifyError(ctx.Err())}
	}
	c.transport.clearReply()
	token, err := c.TokenCredential.GetToken(ctx, options)
	if err == nil {
		return token, nil
	}
	if c.precedingError != nil {
		if own := c.precedingError(); own != nil {
			return token, nonRetriableError{own}
		}
	}
	return token, nonRetriableError{c.classifyError(err)}
}

// nonRetriableError marks an error for azcore as not retriable, because the credential has already retried.
type nonRetriableError struct{ error }

// NonRetriable implements the marker interface of azcore.
func (nonRetriableError) NonRetriable() {}

// Unwrap returns the classified error.
func (f nonRetriableError) Unwrap() error { return f.error }

func (c *classifyingCredential) classifyError(err error) error {
	e := c.explainError(err)
	e.Operation = "getting a token for " + c.description
	return e
}

// metadataHost is the address of the instance metadata service.
const metadataHost = "169.254.169.254"

// explainError builds the error from the last recorded reply.
func (c *classifyingCredential) explainError(err error) *fault.Error {
	facts := maps.Clone(c.messageFacts)
	facts["limit"], facts["zone"] = limits.Bytes(limits.SignInAnswerBytes), "privatelink.vaultcore.azure.net"
	last := c.transport.latestReply()
	if last == nil { // canceled before the first request
		facts["host"] = "Azure"
		return diagnosis.ExplainNoAnswer(err, diagnosis.DNSResult{}, facts)
	}
	facts["host"], facts["via"] = last.host, last.via
	if last.err != nil {
		return diagnosis.ExplainNoAnswer(last.err, dnsFailureOf(last.err), facts)
	}
	source, code := diagnosis.Entra, last.errorCode
	if last.host == metadataHost {
		source, code = diagnosis.Metadata, ""
	}
	switch {
	case source == diagnosis.Metadata && last.multipleIdentities:
		code = diagnosis.ManyIdentities
	case source == diagnosis.Metadata && !last.isServiceReply && !isConclusiveStatus(last.status):
		code = diagnosis.NotJSON
	case source == diagnosis.Entra && !last.isServiceReply:
		source, code = diagnosis.Intermediary, ""
	}
	e := diagnosis.Explain(source, last.status, code, facts)
	if e.Kind == fault.Throttled {
		e.RetryAfter = last.retryAfter
	}
	return e
}

// isConclusiveStatus reports whether a status of the metadata service is conclusive without a JSON body.
// aad-pod-identity, and nodes during an update, respond without JSON.
func isConclusiveStatus(status int) bool {
	return status == http.StatusNotFound || status == http.StatusGone || status == http.StatusTooManyRequests ||
		status >= http.StatusInternalServerError
}
