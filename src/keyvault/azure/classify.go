package azure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// classifyError returns the classified form of an SDK error, by status and error code, never by text. last is the last
// response; nil if there was none.
func (v *Fetcher) classifyError(ctx context.Context, err error, ref keyvault.Ref, last *http.Response) error {
	facts := v.messageFacts(ref)
	var classified *fault.Error
	var response *azcore.ResponseError
	var e *fault.Error
	switch {
	case errors.As(err, &classified): // an error of the credential
		e = &fault.Error{Kind: classified.Kind, RetryAfter: classified.RetryAfter, Cause: classified}
	case errors.As(err, &response) && response.RawResponse != nil:
		e = v.explainResponse(response.RawResponse, response.ErrorCode, facts)
	case diagnosis.IsConnectionError(err) || last == nil:
		e = v.explainNoResponse(ctx, err, ref, facts)
	default:
		e = v.explainUnreadableBody(last, facts)
	}
	e.Operation = "reading " + ref.String()
	return e
}

// messageFacts returns the values for the placeholders in diagnosis messages.
func (v *Fetcher) messageFacts(ref keyvault.Ref) diagnosis.Facts {
	suffix := v.config.Cloud.VaultSuffix
	return diagnosis.Facts{"host": strings.ToLower(ref.Vault) + "." + suffix,
		"zone": "privatelink.vaultcore." + strings.TrimPrefix(suffix, "vault."),
		"kind": string(ref.Kind), "role": ref.Kind.RequiredRole(), "permission": requiredPermission(ref.Kind),
		"principal": "the identity of this installation",
		"limit":     limits.Bytes(limits.VaultAnswerBytes)}
}

// explainResponse explains an error response.
func (v *Fetcher) explainResponse(response *http.Response, code string, facts diagnosis.Facts) *fault.Error {
	status := response.StatusCode
	said, ok := parseVaultError(response)
	if !ok {
		return v.explainIntermediary(response, facts)
	}
	if said.code != "" {
		code = said.code
	}
	if said.callerObjectID != "" {
		facts["principal"] = "the principal with object id " + said.callerObjectID
		facts["objectID"] = said.callerObjectID
	}
	if said.callerAddress != "" {
		facts["address"] = said.callerAddress
	}
	if status == http.StatusUnauthorized && said.tokenErrorCode != "" {
		code = said.tokenErrorCode
	}
	e := diagnosis.Explain(diagnosis.Vault, status, code, facts)
	if status == http.StatusTooManyRequests {
		e.RetryAfter = RetryAfter(response)
	}
	if e.Kind == fault.Unauthenticated || e.Kind == fault.Denied && strings.Contains(e.Next, "grant") {
		e.Next += v.config.CredentialHint
	}
	return e
}

// explainIntermediary explains a response that does not come from the vault, but from a proxy or firewall.
func (v *Fetcher) explainIntermediary(response *http.Response, facts diagnosis.Facts) *fault.Error {
	facts["via"] = diagnosis.ViaProxy(v.proxyHost(response.Request))
	e := diagnosis.Explain(diagnosis.Intermediary, response.StatusCode, "", facts)
	if e.Kind == fault.Throttled {
		e.RetryAfter = RetryAfter(response)
	}
	return e
}

// explainUnreadableBody explains a success response that the SDK can't decode. The SDK's error is not used, because it
// can quote the response.
func (v *Fetcher) explainUnreadableBody(response *http.Response, facts diagnosis.Facts) *fault.Error {
	content, err := readBody(response)
	if err != nil || !bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")) {
		return v.explainIntermediary(response, facts)
	}
	return diagnosis.Explain(diagnosis.Vault, http.StatusOK, "", facts)
}

// explainNoResponse explains a request without a response. A name that does not resolve is reported as a missing vault
// only if the DNS resolves other names and no vault of this name ever responded. Otherwise a DNS failure would look as
// if vaults were deleted.
func (v *Fetcher) explainNoResponse(ctx context.Context, err error, ref keyvault.Ref,
	facts diagnosis.Facts) *fault.Error {
	name := dnsFailureOf(err)
	if name.NotFound && strings.EqualFold(strings.TrimSuffix(name.Name, "."), facts["host"]) &&
		v.config.CanResolve != nil &&
		!v.config.ClientCache.hasVaultAnswered(v, ref.Vault) &&
		v.config.CanResolve(ctx, hostOf(v.config.Cloud.Authority)) {
		return diagnosis.Explain(diagnosis.Vault, 0, diagnosis.NoSuchVault, facts)
	}
	return diagnosis.ExplainNoAnswer(err, name, facts)
}

// dnsFailureOf returns the DNS failure in err; zero if there is none.
func dnsFailureOf(err error) diagnosis.DNSResult {
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return diagnosis.DNSResult{}
	}
	return diagnosis.DNSResult{Name: dns.Name, NotFound: dns.IsNotFound}
}

func hostOf(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return parsed.Hostname()
}

// proxyHost returns the host of the proxy that a request uses; empty if there is none.
func (v *Fetcher) proxyHost(request *http.Request) string {
	if v.config.Proxy == nil || request == nil {
		return ""
	}
	address, err := v.config.Proxy(request)
	if err != nil || address == nil {
		return ""
	}
	return address.Host
}

// requiredPermission returns the permission that an access policy needs for the kind.
func requiredPermission(kind keyvault.Kind) string {
	if listed := kind.ItemKind(); listed != "" {
		return "get and list on " + string(listed) + "s"
	}
	return "get on " + string(kind) + "s"
}

// vaultError is the content of a vault's error response.
type vaultError struct {
	// code is the innermost error code, tokenErrorCode the code of a 401 about the token, and callerObjectID the Entra
	// ID object id of the caller.
	code, tokenErrorCode, callerObjectID string
	// callerAddress is the address that a firewall denied.
	callerAddress string
}

var (
	callerObjectIDPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`oid=([0-9a-fA-F-]{36})`) })
	// callerAddressPattern matches the address in the message of a vault's firewall.
	callerAddressPattern = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)client address: ([0-9a-f.:]{3,45})`)
	})
	tokenErrorCodePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\bAKV1\d{4}\b`) })
	// errorCodePattern matches valid error codes. Other text is not used in messages.
	errorCodePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_.]{1,64}$`) })
)

// parseVaultError reads an error response; ok reports whether it has the format of a vault.
func parseVaultError(response *http.Response) (found vaultError, ok bool) {
	content, err := readBody(response)
	if err != nil {
		return found, false
	}
	var body struct {
		Error *struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Inner   struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	if json.Unmarshal(content, &body) != nil || body.Error == nil {
		return found, false
	}
	for _, code := range []string{body.Error.Code, body.Error.Inner.Code} {
		if errorCodePattern().MatchString(code) {
			found.code = code
		}
	}
	if principal := callerObjectIDPattern().FindStringSubmatch(body.Error.Message); principal != nil {
		found.callerObjectID = principal[1]
	}
	if address := callerAddressPattern().FindStringSubmatch(body.Error.Message); address != nil {
		found.callerAddress = strings.TrimRight(address[1], ".:")
	}
	found.tokenErrorCode = tokenErrorCodePattern().FindString(body.Error.Message)
	return found, true
}

// readBody returns the body of a response. The SDK buffers the body, so it can be read more than once.
func readBody(response *http.Response) ([]byte, error) {
	if response == nil || response.Body == nil {
		return nil, io.EOF
	}
	content, err := runtime.Payload(response)
	if len(content) > limits.VaultErrorBytes {
		content = content[:limits.VaultErrorBytes]
	}
	return content, err
}

// RetryAfter returns the delay of the Retry-After header, in seconds or as a date, up to limits.RetryAfter; zero if the
// header is missing.
func RetryAfter(r *http.Response) time.Duration {
	if r == nil {
		return 0
	}
	return diagnosis.ParseRetryAfter(r.Header.Get("Retry-After"), r.Header.Get("Date"))
}
