package diagnosis_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func TestEveryRowHasCauseAndNextStepApart(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range diagnosis.Answers() {
		key := strings.Join([]string{string(a.Source), a.Status, a.Code}, " ")
		assert.False(t, seen[key], "%s has two rows", key)
		seen[key] = true
		assert.NotEmpty(t, a.Cause, key)
		assert.NotEmpty(t, a.Next, key)
		assert.Contains(t, fault.Kinds(), a.Kind, key)
		assert.NotEqual(t, fault.Bug, a.Kind, key)
		assert.NotContains(t, a.Cause, ";", "%s: a cause holds no advice", key)
		assert.NotContains(t, a.Cause+a.Next, "|", "%s would break the table", key)
		assert.Regexp(t, `^([1-5]xx|\d{3})?$`, a.Status, key)
	}
}

func TestEverySourceExplainsEveryStatus(t *testing.T) {
	for _, source := range []diagnosis.Source{diagnosis.Vault, diagnosis.Entra, diagnosis.Metadata, diagnosis.Intermediary, diagnosis.Registry} {
		for _, status := range []int{200, 302, 400, 401, 403, 404, 407, 408, 410, 418, 429, 470, 500, 502, 503, 504, 599} {
			e := diagnosis.Explain(source, status, "SomethingNew", diagnosis.Facts{"host": "kv.vault.azure.net", "via": ""})
			assert.NotEmpty(t, e.Kind, "%s %d", source, status)
			assert.NotEmpty(t, e.Next, "%s %d", source, status)
			switch {
			case status == 429:
				assert.Equal(t, fault.Throttled, e.Kind, "%s", source)
			case status >= 500:
				assert.Equal(t, fault.Unavailable, e.Kind, "%s", source)
			}
			if source == diagnosis.Intermediary {
				assert.NotContains(t, e.Error(), "role", "what stands in between says nothing of rights")
			}
		}
	}
}

func TestTheMostExactRowIsTaken(t *testing.T) {
	facts := diagnosis.Facts{"host": "kv.vault.azure.net", "role": "R", "permission": "get", "principal": "P", "kind": "secret", "other": "key",
		"zone": "privatelink.vaultcore.azure.net"}
	for name, c := range map[string]struct {
		source      diagnosis.Source
		status      int
		code        string
		kind        fault.Kind
		cause, next string
	}{
		"a code before the status":        {diagnosis.Vault, 403, "ForbiddenByConnection", fault.Denied, "private endpoint alone", "privatelink.vaultcore.azure.net"},
		"the status of a code not known":  {diagnosis.Vault, 403, "New", fault.Denied, "access is denied (403 New)", `grant the role "R"`},
		"a class of statuses":             {diagnosis.Vault, 503, "", fault.Unavailable, "server error (503)", "retries the read"},
		"anything else":                   {diagnosis.Vault, 418, "", fault.Unavailable, "unexpected status (418)", "kv.vault.azure.net"},
		"a code of Entra ID":              {diagnosis.Entra, 400, "AADSTS700211", fault.Unauthenticated, "has the issuer of the pod's token (AADSTS700211)", "OIDC issuer URL"},
		"a code of Entra ID not known":    {diagnosis.Entra, 400, "AADSTS1", fault.Unauthenticated, "Entra ID rejected the sign-in (AADSTS1)", "look up the code"},
		"a code of Entra ID, unavailable": {diagnosis.Entra, 503, "AADSTS90033", fault.Unavailable, "(AADSTS90033)", "retries"},
		"no answer":                       {diagnosis.Network, 0, diagnosis.Timeout, fault.Unavailable, "kv.vault.azure.net did not answer in time", "network policies"},
		"another type":                    {diagnosis.Vault, 404, diagnosis.OtherType, fault.NotFound, "no secret of this name, but a key", "type to key"},
	} {
		t.Run(name, func(t *testing.T) {
			e := diagnosis.Explain(c.source, c.status, c.code, facts)
			assert.Equal(t, c.kind, e.Kind)
			assert.ErrorContains(t, e.Cause, c.cause)
			assert.Contains(t, e.Next, c.next)
			assert.NotContains(t, e.Cause.Error(), c.next)
		})
	}
}

func TestEveryCodeThatUsersMeetHasItsRow(t *testing.T) {
	for _, code := range []int{700211, 700212, 7002138, 7000112, 7000218, 7000229, 50020, 50053, 50055, 50057, 53003, 500011, 700030, 700016, 7000215, 7000222,
		90002, 70021, 700213, 700024, 700027, 50034, 50126, 50076, 50079, 65001, 53000, 130507} {
		assert.True(t, diagnosis.HasCode(diagnosis.Entra, "AADSTS"+strconv.Itoa(code)), "%d", code)
	}
	assert.False(t, diagnosis.HasCode(diagnosis.Entra, ""))
	assert.False(t, diagnosis.HasCode(diagnosis.Vault, "AADSTS90002"))
}

func TestThePageHasEveryRowAndNoOpenBraces(t *testing.T) {
	page := diagnosis.Page()
	rows := regexp.MustCompile(`(?m)^\| [^-S]`).FindAllString(page, -1)
	assert.Len(t, rows, len(diagnosis.Answers()))
	assert.NotRegexp(t, `[{}]`, page)
	assert.Contains(t, page, "| 403 | `ForbiddenByConnection` | `AccessDenied` |")
	assert.Contains(t, page, "*HOST*")
}

// timeout is a timeout of the network.
type timeout struct{ error }

func (timeout) Timeout() bool { return true }

func TestWhyThereIsNoAnswerIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		name diagnosis.DNSResult
		says string
		next string
	}{
		"a proxy refused":        {&url.Error{Err: &diagnosis.ProxyRefusal{Status: 407, Proxy: "proxy:3128"}}, diagnosis.DNSResult{}, "requires a sign-in (through the proxy proxy:3128) (407)", "HTTPS_PROXY"},
		"a proxy blocked":        {&diagnosis.ProxyRefusal{Status: 470, Proxy: "proxy:3128"}, diagnosis.DNSResult{}, "answered in its place", "HTTPS_PROXY"},
		"no such name":           {errors.New("x"), diagnosis.DNSResult{Name: "kv.vault.azure.net.", NotFound: true}, "does not resolve", "private DNS zone privatelink.vaultcore.azure.net"},
		"DNS out of order":       {errors.New("x"), diagnosis.DNSResult{Name: "kv.vault.azure.net"}, "the DNS did not answer", "network policies"},
		"the proxy has no name":  {errors.New("x"), diagnosis.DNSResult{Name: "proxy", NotFound: true}, "the name of the proxy, proxy,", "HTTPS_PROXY"},
		"an unknown authority":   {x509.UnknownAuthorityError{}, diagnosis.DNSResult{}, "unknown authority", "extraCACertificates"},
		"another certificate":    {x509.HostnameError{}, diagnosis.DNSResult{}, "not for kv.vault.azure.net", "DNS entry"},
		"an expired certificate": {x509.CertificateInvalidError{}, diagnosis.DNSResult{}, "not for kv.vault.azure.net", "DNS entry"},
		"the deadline":           {context.DeadlineExceeded, diagnosis.DNSResult{}, "in time", "route"},
		"a timeout":              {timeout{errors.New("x")}, diagnosis.DNSResult{}, "in time", "route"},
		"given up":               {context.Canceled, diagnosis.DNSResult{}, "was canceled", "again"},
		"too large":              {diagnosis.ErrTooLarge, diagnosis.DNSResult{}, "exceeds 1 MiB", "HTTPS_PROXY"},
		"a broken connection":    {io.ErrUnexpectedEOF, diagnosis.DNSResult{}, "the connection to kv.vault.azure.net failed", "network policies"},
	} {
		t.Run(name, func(t *testing.T) {
			e := diagnosis.ExplainNoAnswer(c.err, c.name, diagnosis.Facts{"host": "kv.vault.azure.net", "zone": "privatelink.vaultcore.azure.net", "limit": "1 MiB"})
			assert.Equal(t, fault.Unavailable, e.Kind)
			assert.ErrorContains(t, e.Cause, c.says)
			assert.Contains(t, e.Next, c.next)
			assert.NotRegexp(t, "[{}]", e.Error())
		})
	}
	assert.True(t, diagnosis.IsConnectionError(&url.Error{Err: errors.New("x")}))
	assert.False(t, diagnosis.IsConnectionError(errors.New("no JSON")))
	assert.Contains(t, (&diagnosis.ProxyRefusal{Status: 403, Proxy: "p"}).Error(), "403")
	assert.Empty(t, diagnosis.ViaProxy(""))
}

func TestABodyIsNoLongerThanItsBound(t *testing.T) {
	for length, fits := range map[int]bool{0: true, 99: true, 100: true, 101: false, 100_000: false} {
		content, err := io.ReadAll(diagnosis.LimitBody(io.NopCloser(strings.NewReader(strings.Repeat("x", length))), 100))
		assert.Len(t, content, min(length, 100))
		assert.Equal(t, fits, err == nil, "%d: %v", length, err)
		assert.Equal(t, !fits, errors.Is(err, diagnosis.ErrTooLarge))
	}
	body := diagnosis.LimitBody(io.NopCloser(strings.NewReader(strings.Repeat("x", 200))), 100)
	_, _ = io.ReadAll(body)
	n, err := body.Read(make([]byte, 10))
	assert.Zero(t, n)
	assert.ErrorIs(t, err, diagnosis.ErrTooLarge, "also when it is read on")
}

func TestRetryAfterIsBounded(t *testing.T) {
	const now = "Sat, 28 Nov 2026 12:00:00 GMT"
	for header, want := range map[string]time.Duration{
		"17": 17 * time.Second, " 17 ": 17 * time.Second, "1.5": 1500 * time.Millisecond, "0": 0, "-5": 0, "": 0, "soon": 0, "NaN": 0, "-Inf": 0,
		"86400": limits.VaultRetryAfter, "31536000": limits.VaultRetryAfter, "9223372036854775807": limits.VaultRetryAfter, "99999999999999999999999": limits.VaultRetryAfter,
		"1e400": 0, "Inf": limits.VaultRetryAfter, "301": limits.VaultRetryAfter, "300": limits.VaultRetryAfter,
		"Sat, 28 Nov 2026 12:00:09 GMT": 9 * time.Second, "Saturday, 28-Nov-26 12:00:09 GMT": 9 * time.Second, "Sat Nov 28 12:00:09 2026": 9 * time.Second,
		"Sun, 28 Nov 2027 12:00:00 GMT": limits.VaultRetryAfter, "Sat, 28 Nov 2020 12:00:00 GMT": 0, "Fri, 31 Dec 9999 23:59:59 GMT": limits.VaultRetryAfter,
	} {
		assert.Equal(t, want, diagnosis.ParseRetryAfter(header, now), "%q", header)
	}
	assert.Zero(t, diagnosis.ParseRetryAfter("Sat, 28 Nov 2026 12:00:09 GMT", ""), "without the answer's own date nothing is known")
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("17", "Sat, 28 Nov 2026 12:00:00 GMT")
	f.Add("Sat, 28 Nov 2026 12:00:09 GMT", "Sat, 28 Nov 2026 12:00:00 GMT")
	f.Fuzz(func(t *testing.T, header, date string) {
		if len(header)+len(date) > limits.ResponseHeaderBytes {
			return // longer than what is read, or not an answer of HTTP
		}
		var wait time.Duration
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 100}, len(header)+len(date), func() { wait = diagnosis.ParseRetryAfter(header, date) })
		if wait < 0 || wait > limits.VaultRetryAfter {
			t.Errorf("%s for %q", wait, header)
		}
	})
}
