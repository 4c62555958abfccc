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

// classified replaces the errors of a credential by classified errors with a stable text. The SDK's errors contain ids
// and times that differ each time.
type classified struct {
	azcore.TokenCredential
	who string
	// tenant is the tenant id of the application; empty for a managed identity.
	tenant string
	// turn admits one request at a time. The next caller finds the token in the SDK's cache, so many reads at startup
	// cause one request.
	turn chan struct{}
	// heard is the transport of the credential.
	heard *heard
	// facts are values for the placeholders in diagnosis messages.
	facts diagnosis.Facts
	// before returns the error of a step before the request to Entra ID, if any; nil for most credentials.
	before func() error
}

func newClassified(credential azcore.TokenCredential, heard *heard, who string) *classified {
	return &classified{TokenCredential: credential, heard: heard, who: who, turn: make(chan struct{}, 1),
		facts: diagnosis.Facts{}}
}

// tenantID matches a tenant id as vaults name it. Users can also configure a domain name.
var tenantID = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
})

// early returns a context that ends before the caller's deadline, because the SDK discards errors returned after it.
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
		if tenantID().MatchString(c.tenant) && options.TenantID != "" &&
			!strings.EqualFold(c.tenant, options.TenantID) {
			return azcore.AccessToken{}, final{&fault.Error{Kind: fault.Unauthenticated,
				Doing: "getting a token for " + c.who,
				Cause: errors.New("the vault belongs to tenant " + options.TenantID),
				Next:  "correct the tenant id, or use an application of that tenant"}}
		}
		options.TenantID = "" // the SDK would reject it for a tenant given as a domain name
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return azcore.AccessToken{}, final{c.classify(ctx.Err())}
	}
	c.heard.forget()
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

// final marks an error for azcore as not retriable, because the credential has already retried.
type final struct{ error }

// NonRetriable implements the marker interface of azcore.
func (final) NonRetriable() {}

// Unwrap returns the classified error.
func (f final) Unwrap() error { return f.error }

func (c *classified) classify(err error) error {
	e := c.explain(err)
	e.Doing = "getting a token for " + c.who
	return e
}

// metadataHost is the address of the instance metadata service.
const metadataHost = "169.254.169.254"

// explain builds the error from the last recorded reply.
func (c *classified) explain(err error) *fault.Error {
	facts := maps.Clone(c.facts)
	facts["limit"], facts["zone"] = limits.Bytes(limits.SignInAnswerBytes), "privatelink.vaultcore.azure.net"
	last := c.heard.latest()
	if last == nil { // canceled before the first request
		facts["host"] = "Azure"
		return diagnosis.Unanswered(err, diagnosis.Name{}, facts)
	}
	facts["host"], facts["via"] = last.host, last.via
	if last.err != nil {
		return diagnosis.Unanswered(last.err, nameIn(last.err), facts)
	}
	source, code := diagnosis.Entra, last.code
	if last.host == metadataHost {
		source, code = diagnosis.Metadata, ""
	}
	switch {
	case source == diagnosis.Metadata && last.many:
		code = diagnosis.ManyIdentities
	case source == diagnosis.Metadata && !last.own && !isTrouble(last.status):
		code = diagnosis.NotJSON
	case source == diagnosis.Entra && !last.own:
		source, code = diagnosis.Between, ""
	}
	e := diagnosis.Explain(source, last.status, code, facts)
	if e.Kind == fault.Throttled {
		e.RetryAfter = last.wait
	}
	return e
}

// isTrouble reports whether a status of the metadata service is conclusive without a JSON body. aad-pod-identity, and
// nodes during an update, respond without JSON.
func isTrouble(status int) bool {
	return status == http.StatusNotFound || status == http.StatusGone || status == http.StatusTooManyRequests ||
		status >= http.StatusInternalServerError
}
