package azure

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// classify gives an error of the SDK its kind: by status and code, never by text.
func (v *Vaults) classify(err error, ref keyvault.Ref) error {
	e := &fault.Error{Doing: "reading " + ref.String()}
	var classified *fault.Error
	var response *azcore.ResponseError
	switch {
	case errors.As(err, &classified): // the credential's
		e.Kind, e.RetryAfter, e.Cause = classified.Kind, classified.RetryAfter, classified
	case errors.As(err, &response):
		byStatus(e, response, ref.Kind)
	default:
		e.Kind = fault.Unavailable
		e.Next, e.Cause = network(err, ref.Vault+"."+v.config.Cloud.VaultSuffix)
	}
	return e
}

func byStatus(e *fault.Error, response *azcore.ResponseError, kind keyvault.Kind) {
	status := response.StatusCode
	code, principal := details(response)
	say := func(text string) { e.Cause = errors.New(text + " (" + strconv.Itoa(status) + " " + code + ")") }
	switch {
	case status == http.StatusUnauthorized:
		e.Kind, e.Next = fault.Unauthenticated, "check that identity and vault are of the same tenant and cloud"
		say("the vault does not accept the identity's token")
	case code == "SecretDisabled":
		e.Kind, e.Next = fault.Disabled, "enable this version in the vault, or set a version that is enabled"
		say("it is disabled")
	case code == "ForbiddenByFirewall":
		e.Kind, e.Next = fault.Denied, "let the cluster's outbound address or subnet through the vault's firewall, or use a private endpoint"
		say("the vault's firewall refuses this address")
	case status == http.StatusForbidden:
		e.Kind, e.Next = fault.Denied, fmt.Sprintf("grant the role %q on the vault (or an access policy with %s) to %s", role(kind), permission(kind), principal)
		say("access is denied")
	case status == http.StatusNotFound:
		e.Kind, e.Next = fault.NotFound, "check name and version; a deleted object may have to be recovered"
		say("the vault has no such object")
	case status == http.StatusTooManyRequests:
		e.Kind, e.RetryAfter = fault.Throttled, RetryAfter(response.RawResponse)
		say("too many requests")
	case status == http.StatusBadRequest && code == "BadParameter":
		e.Kind, e.Next = fault.Invalid, "check name and version of the object"
		say("the vault does not understand the request")
	case status == http.StatusBadRequest: // a proxy's, most likely: what is written may work, and is not looked at again if it is called invalid
		e.Kind, e.Next = fault.Unavailable, "check name and version of the object, and proxies in between"
		say("the request is not understood")
	default:
		e.Kind = fault.Unavailable
		say("the vault is not well")
	}
}

// permission is what an access policy has to have.
func permission(kind keyvault.Kind) string {
	if listed := kind.Listed(); listed != "" {
		return "get and list on " + string(listed) + "s"
	}
	return "get on " + string(kind) + "s"
}

// role is the smallest built-in role of Azure that may read the kind.
func role(kind keyvault.Kind) string {
	switch kind {
	case keyvault.KindCertificate, keyvault.KindCertificateList:
		return "Key Vault Certificate User"
	case keyvault.KindKey, keyvault.KindKeyList:
		return "Key Vault Crypto User"
	default:
		return "Key Vault Secrets User"
	}
}

var callerID = regexp.MustCompile(`oid=([0-9a-fA-F-]{36})`)

// details finds the innermost code of an error answer, and whom the vault took the caller for.
func details(response *azcore.ResponseError) (code, principal string) {
	code, principal = response.ErrorCode, "the identity that this installation uses"
	if response.RawResponse == nil || response.RawResponse.Body == nil {
		return code, principal
	}
	content, err := io.ReadAll(io.LimitReader(response.RawResponse.Body, 64<<10))
	if err != nil {
		return code, principal
	}
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Inner   struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	if json.Unmarshal(content, &body) != nil {
		return code, principal
	}
	if body.Error.Inner.Code != "" {
		code = body.Error.Inner.Code
	}
	if found := callerID.FindStringSubmatch(body.Error.Message); found != nil {
		principal = "the principal with object id " + found[1]
	}
	return code, principal
}

// RetryAfter is how long an answer asks to wait, in both forms of the header; zero if it does not say.
func RetryAfter(r *http.Response) time.Duration {
	if r == nil {
		return 0
	}
	header := r.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(header); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	at, err := http.ParseTime(header)
	date, dateErr := http.ParseTime(r.Header.Get("Date"))
	if err != nil || dateErr != nil {
		return 0
	}
	return max(at.Sub(date), 0)
}

// network says what kind of trouble the connection had, without addresses and ports, which differ each time.
func network(err error, host string) (next string, cause error) {
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var transport *url.Error
	switch {
	case errors.As(err, &dns):
		return "check the vault's name, and the DNS zone if it has a private endpoint", errors.New("the name " + host + " does not resolve")
	case errors.As(err, &authority):
		return "if a proxy inspects TLS, add its CA to the chart's value global.extraCACertificates", errors.New("the certificate of " + host + " is signed by an unknown authority")
	case errors.As(err, &name):
		return "check the DNS entry of the vault and proxies in between", errors.New("the certificate is not for " + host)
	case errors.Is(err, context.DeadlineExceeded):
		return "check network policies, proxies and the route to the vault", errors.New(host + " did not answer in time")
	case errors.Is(err, context.Canceled):
		return "", errors.New("the request was given up")
	case errors.As(err, &transport), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "check network policies, proxies and the vault's firewall", errors.New("the connection to " + host + " failed")
	}
	return nonsense()
}

// nonsense is about an answer that came, and that the SDK can't read; what it says of it may quote the answer.
func nonsense() (next string, cause error) {
	return "check what answers at the vault's address: a proxy or a wrong DNS entry", errors.New("the vault's answer makes no sense")
}
