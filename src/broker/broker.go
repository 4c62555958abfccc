package broker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/resolver"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Vault reads vault objects. Read returns an object that is at most maxAge old. Last returns the last successfully read
// object if it is at most age old. Errors are classified by package fault, and their texts hold no values.
type Vault interface {
	Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error)
	LastGood(ref keyvault.Ref, age time.Duration) (keyvault.Object, bool)
}

// Config configures a Broker. Fields are required unless their comment says that they are optional.
type Config struct {
	// Live reads pods and namespaces directly from the API server, so authorization always uses their current state.
	Live client.Reader
	// Cached reads AzureKeyVaultSecrets from the watch cache. The broker reads those that the cache lacks with Live.
	Cached client.Reader
	// Reviewer creates TokenReviews.
	Reviewer client.Writer
	// Vault reads the vault objects.
	Vault Vault
	// Rules define which namespaces may read which vaults.
	Rules rule.AccessRules
	// Identities define the identity that each namespace reads vaults with.
	Identities rule.IdentityPolicy
	// The maximum age of a value that a pod gets, normally and while the vault is unavailable.
	MaxAge, MaxStaleAge time.Duration
	// Key and value of the label that enables injection in a namespace.
	NamespaceLabel, NamespaceLabelValue string
	// DecodePool decodes values and shares its workers fairly among namespaces. Optional.
	DecodePool *decodepool.Pool
	// Events records an event on a pod that got a stale value. Optional.
	Events  events.EventRecorder
	Metrics *Metrics
	Log     logr.Logger
	// Clock is optional and defaults to time.Now.
	Clock func() time.Time
}

// Broker serves the values of references to pods. It is an http.Handler.
type Broker struct {
	Config
	limiters         requestLimiters
	missingResources *missingResourceCache
	requestLog       *requestLog
	podEvents        *podEventLimiter
}

// New checks the configuration and returns a Broker.
func New(c Config) (*Broker, error) {
	if err := fault.RequireFields("broker.New", map[string]bool{
		"Live": c.Live != nil, "Cached": c.Cached != nil, "Reviewer": c.Reviewer != nil, "Vault": c.Vault != nil,
		"Metrics": c.Metrics != nil, "NamespaceLabel": c.NamespaceLabel != "",
	}); err != nil {
		return nil, err
	}
	if c.MaxAge < 0 || c.MaxStaleAge < c.MaxAge {
		return nil, errors.New("broker.New: cache.maxAge must be between 0 and 1h")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	b := &Broker{Config: c, limiters: newRequestLimiters(c.Clock), missingResources: newMissingResourceCache(c.Clock),
		podEvents: newPodEventLimiter(c.Clock)}
	b.requestLog = newRequestLog(c.Log, c.Clock)
	return b, nil
}

// checkAgeFactor multiplies MaxAge for requests that only check references. The containers request their values soon
// after the check and get values of at most MaxAge, so another read of the vault for the check would add nothing.
const checkAgeFactor = 3

// RequestTimeout is the timeout of one request. The injector retries requests that time out.
const RequestTimeout = limits.AuthRequestTime

// RejectRequest rejects a request because its client address exceeds a limit, and makes the injector retry later.
// Package iplimit writes the rate-limited log lines for it.
func (b *Broker) RejectRequest(w http.ResponseWriter, r *http.Request) {
	c := b.newPodRequest(w, r)
	b.Metrics.failedRequests.WithLabelValues(fault.Throttled.Reason()).Inc()
	c.writeError(throttledError("too many requests from this pod's address"))
}

// ServeHTTP reads a wire.ResolveRequest, or a request for files, and writes its response or a wire.ErrorResponse.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	isFiles := r.URL.Path == wire.FilesPath && r.Method == http.MethodGet
	if !isFiles && (r.URL.Path != wire.ResolvePath || r.Method != http.MethodPost) {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), RequestTimeout)
	defer cancel()
	b.Metrics.requests.Inc()
	setReplicaHeader(w, r)
	c := b.newPodRequest(w, r)
	defer c.releaseAll()
	handle := c.handleRequest
	if isFiles {
		handle = c.handleFilesRequest
	}
	if err := handle(ctx); err != nil {
		c.handleError(err)
	}
}

// podRequest is one request of a pod. It releases the slots and the memory that it holds after the response is written.
type podRequest struct {
	*Broker
	w               http.ResponseWriter
	r               *http.Request
	responseControl *http.ResponseController
	// clientAddress is the client's address, which is also the key of its rate limits.
	clientAddress string
	caller        caller
	releaseFuncs  []func()
	// unrecordedVariables are the variables that are allowed although admission did not record their references.
	unrecordedVariables []string
}

func (b *Broker) newPodRequest(w http.ResponseWriter, r *http.Request) *podRequest {
	return &podRequest{Broker: b, w: w, r: r, responseControl: http.NewResponseController(w),
		clientAddress: fairshare.AddressKey(r.RemoteAddr)}
}

// releaseAll releases all slots and memory that the request holds.
func (c *podRequest) releaseAll() {
	for _, giveBack := range c.releaseFuncs {
		giveBack()
	}
	c.releaseFuncs = nil
}

// handleRequest identifies the pod, reads and authorizes its references, and writes their values. The pod is identified
// first, so that only the headers are read from unauthenticated clients and from namespaces without the label.
func (c *podRequest) handleRequest(ctx context.Context) error {
	pod, err := c.identifyPod(ctx)
	if err != nil {
		return err
	}
	allowed := allowedReferencesOf(pod)
	if err := c.reserveRequestMemory(allowed.byteSize); err != nil {
		return err
	}
	body, err := c.readBody()
	if err != nil {
		return err
	}
	request, err := parseRequest(body, allowed.variableCount)
	if err != nil {
		return err
	}
	if err := c.authorizeReferences(allowed, request.References); err != nil {
		return err
	}
	if err := c.acquireNamespaceSlot(); err != nil {
		return err
	}
	from := &resourceSource{Broker: c.Broker, namespace: c.caller.Namespace, maxAge: c.MaxAge}
	if request.CheckOnly {
		from.maxAge = checkAgeFactor * c.MaxAge
	}
	resolve := resolver.Resolver{Source: from, ReserveBytes: c.reserveResponseMemory}
	if request.CheckOnly {
		if err := resolve.Check(ctx, request.References); err != nil {
			return err
		}
		c.writeJSON(http.StatusOK, wire.ResolveResponse{})
		c.logResponse(len(request.References), from)
		return nil
	}
	values, err := resolve.Resolve(ctx, request.References)
	if err != nil {
		return err
	}
	c.emitStaleValueEvent(from)
	c.writeValues(values)
	c.logResponse(len(values), from)
	return nil
}
