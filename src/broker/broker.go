package broker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
	"github.com/akv2k8s/akv2k8s/src/resolver"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Vault reads objects. Read's answer is not older than maxAge; Last is the last good answer, if one is known that is not older than
// age. Errors are classified by package fault, and their text holds no value.
type Vault interface {
	Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error)
	Last(ref keyvault.Ref, age time.Duration) (keyvault.Object, bool)
}

// Config is what a Broker works with; every field but Cached and Events is required.
type Config struct {
	// Live reads pods and namespaces from the API server: authorisation is never older than the request.
	Live client.Reader
	// Cached reads AzureKeyVaultSecrets; what it does not have is looked for in Live.
	Cached client.Reader
	// Reviewer makes TokenReviews.
	Reviewer client.Writer
	// Vault is the one way to the vault.
	Vault Vault
	// Rules say which namespace may read which vault.
	Rules rule.Rules
	// Identities say as whom a namespace reads.
	Identities rule.Identities
	// MaxAge is how old a value may be that a pod gets; StaleAge the same while the vault can't be asked.
	MaxAge, StaleAge time.Duration
	// Label and LabelValue mark the namespaces whose pods are injected.
	Label, LabelValue string
	// Decoding is where values are decoded, namespaces in turn; nil decodes at once.
	Decoding *decodepool.Pool
	// Events tells pods that they got a value from memory; may be nil.
	Events  events.EventRecorder
	Metrics *Metrics
	Log     logr.Logger
}

// Broker answers pods. It is an http.Handler.
type Broker struct {
	Config
	limits limits
}

// New checks the configuration.
func New(c Config) (*Broker, error) {
	if c.Live == nil || c.Cached == nil || c.Reviewer == nil || c.Vault == nil || c.Metrics == nil || c.Label == "" {
		return nil, errors.New("creating the broker: a part of its configuration is missing")
	}
	if c.MaxAge < 0 || c.StaleAge < c.MaxAge {
		return nil, errors.New("creating the broker: cache.maxAge must be 0 or more, and not longer than an hour")
	}
	return &Broker{Config: c}, nil
}

// Patience bounds the work for one request; the injector asks again.
const Patience = 25 * time.Second

// TooMuch tells the injector to ask again later, because of its address.
func (b *Broker) TooMuch(w http.ResponseWriter, _ *http.Request) {
	b.refuse(w, caller{}, tooMany("this pod's address asks too much"))
}

// ServeHTTP answers a wire.ResolveRequest with a wire.ResolveResponse, or with a wire.ErrorResponse.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != wire.ResolvePath || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), Patience)
	defer cancel()
	b.Metrics.requests.Inc()
	nameReplica(w, r)
	who, values, err := b.answer(ctx, w, r)
	if err != nil {
		b.refuse(w, who, err)
		return
	}
	b.Log.V(4).Info("answered", "namespace", who.Namespace, "pod", who.Pod, "values", len(values))
	reply(w, http.StatusOK, wire.ResolveResponse{Values: values})
}

// answer tells the story: who asks, what for, may he, what is it.
func (b *Broker) answer(ctx context.Context, w http.ResponseWriter, r *http.Request) (caller, map[string][]byte, error) {
	leave, err := b.limits.enter()
	if err != nil {
		return caller{}, nil, err
	}
	defer leave()
	who, err := b.authenticate(ctx, r)
	if err != nil {
		return who, nil, err
	}
	leaveAs, err := b.limits.enterAs(who)
	if err != nil {
		return who, nil, err
	}
	defer leaveAs()
	request, err := read(w, r)
	if err != nil {
		return who, nil, err
	}
	if err := b.authorise(ctx, who, request.References); err != nil {
		return who, nil, err
	}
	from := &source{Broker: b, namespace: who.Namespace}
	if request.Check {
		return who, nil, resolver.Check(ctx, from, request.References)
	}
	values, err := resolver.Resolve(ctx, from, request.References)
	if err == nil {
		b.tellStale(who, from)
	}
	return who, values, err
}

// read decodes the request. Errors don't quote it.
func read(w http.ResponseWriter, r *http.Request) (wire.ResolveRequest, error) {
	var request wire.ResolveRequest
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxRequestBytes))
	if err != nil {
		return request, fault.New(fault.Invalid, "the request is longer than %d bytes or was cut off", wire.MaxRequestBytes)
	}
	if json.Unmarshal(body, &request) != nil || len(request.References) == 0 {
		return request, fault.New(fault.Invalid, "the request names no references")
	}
	return request, nil
}

func (b *Broker) refuse(w http.ResponseWriter, who caller, err error) {
	kind := fault.KindOf(err)
	b.Metrics.failed.WithLabelValues(kind.Reason()).Inc()
	message := err.Error()
	if kind == fault.Bug {
		message = "the auth service failed; see the log of the env-injector"
	}
	b.Log.Info("refused", "namespace", who.Namespace, "pod", who.Pod, "reason", kind.Reason(), "error", err.Error())
	after := (fault.RetryAfter(err) + time.Second - 1) / time.Second
	reply(w, status(kind), wire.ErrorResponse{Kind: string(kind), Message: message, RetryAfterSeconds: int(after), MayComeLater: fault.MayComeLater(err)})
}

// status is for whoever looks at the traffic; the injector goes by the kind.
func status(kind fault.Kind) int {
	codes := map[fault.Kind]int{
		fault.Invalid: http.StatusBadRequest, fault.Malformed: http.StatusUnprocessableEntity, fault.NotFound: http.StatusNotFound,
		fault.Disabled: http.StatusConflict, fault.Unauthenticated: http.StatusUnauthorized, fault.Denied: http.StatusForbidden,
		fault.Throttled: http.StatusTooManyRequests, fault.Unavailable: http.StatusServiceUnavailable,
	}
	if code, ok := codes[kind]; ok {
		return code
	}
	return http.StatusInternalServerError
}

func reply(w http.ResponseWriter, code int, body any) {
	content, err := json.Marshal(body)
	if err != nil {
		code, content = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(content)
}

// bearer is the token of the request, empty if there is none that could be one.
func bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || len(token) > maxTokenBytes || strings.Count(token, ".") != 2 {
		return ""
	}
	return token
}
