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

// classified gives the errors of a credential a kind and a text of our own: the SDK's holds ids and times that differ
// each time.
type classified struct {
	azcore.TokenCredential
	who string
	// tenant is the application's, empty for a managed identity.
	tenant string
	// turn is held by the one who asks Azure. Whoever waits for it finds the token in the SDK's cache: many vaults at a
	// start cost one request.
	turn chan struct{}
	// heard is the transport of the credential.
	heard *heard
	// facts are words for the rows of the table of errors.
	facts diagnosis.Facts
	// before gives the error, if any, of what comes before Azure is asked; nil for most credentials.
	before func() error
}

func newClassified(credential azcore.TokenCredential, heard *heard, who string) *classified {
	return &classified{TokenCredential: credential, heard: heard, who: who, turn: make(chan struct{}, 1),
		facts: diagnosis.Facts{}}
}

// tenantID is how a vault names its tenant; users may also write a domain.
var tenantID = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
})

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
		if tenantID().MatchString(c.tenant) && options.TenantID != "" &&
			!strings.EqualFold(c.tenant, options.TenantID) {
			return azcore.AccessToken{}, final{&fault.Error{Kind: fault.Unauthenticated,
				Doing: "getting a token for " + c.who,
				Cause: errors.New("the vault is of tenant " + options.TenantID),
				Next:  "correct the tenant id, or use an application of that tenant"}}
		}
		options.TenantID = "" // the SDK would not ask for it under a domain's name, which means the same
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

// final tells azcore not to try again: the credential did that already.
type final struct{ error }

// NonRetriable is the marker that azcore looks for.
func (final) NonRetriable() {}

// Unwrap gives the classified error.
func (f final) Unwrap() error { return f.error }

func (c *classified) classify(err error) error {
	e := c.explain(err)
	e.Doing = "getting a token for " + c.who
	return e
}

// metadataHost is where a node's metadata service is.
const metadataHost = "169.254.169.254"

// explain finds the row of what was answered last.
func (c *classified) explain(err error) *fault.Error {
	facts := maps.Clone(c.facts)
	facts["limit"], facts["zone"] = limits.Bytes(limits.SignInAnswerBytes), "privatelink.vaultcore.azure.net"
	last := c.heard.latest()
	if last == nil { // it was given up before anybody was asked
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

// isTrouble says whether a status alone tells what is wrong at the metadata service. aad-pod-identity and nodes that
// are updated answer without JSON.
func isTrouble(status int) bool {
	return status == http.StatusNotFound || status == http.StatusGone || status == http.StatusTooManyRequests ||
		status >= http.StatusInternalServerError
}
