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
	Last(ref keyvault.Ref, age time.Duration) (keyvault.Object, bool)
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
	Rules rule.Rules
	// Identities define the identity that each namespace reads vaults with.
	Identities rule.Identities
	// The maximum age of a value that a pod gets, normally and while the vault is unavailable.
	MaxAge, StaleAge time.Duration
	// Key and value of the label that enables injection in a namespace.
	Label, LabelValue string
	// Decoding decodes values and shares its workers fairly among namespaces. Optional.
	Decoding *decodepool.Pool
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
	shares   shares
	absences *absences
	journal  *journal
	reports  *reports
}

// New checks the configuration and returns a Broker.
func New(c Config) (*Broker, error) {
	if c.Live == nil || c.Cached == nil || c.Reviewer == nil || c.Vault == nil || c.Metrics == nil || c.Label == "" {
		return nil, errors.New("broker.New: Config lacks Live, Cached, Reviewer, Vault, Metrics or the namespace label")
	}
	if c.MaxAge < 0 || c.StaleAge < c.MaxAge {
		return nil, errors.New("broker.New: cache.maxAge must be between 0 and 1h")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	b := &Broker{Config: c, shares: newShares(c.Clock), absences: newAbsences(c.Clock), reports: newReports(c.Clock)}
	b.journal = newJournal(c.Log, c.Clock)
	return b, nil
}

// checkAgeFactor multiplies MaxAge for requests that only check references. The containers request their values soon
// after the check and get values of at most MaxAge, so another read of the vault for the check would add nothing.
const checkAgeFactor = 3

// Patience is the timeout of one request. The injector retries requests that time out.
const Patience = limits.AuthRequestTime

// TooMuch rejects a request because its client address exceeds a limit, and makes the injector retry later. Package
// gate writes the rate-limited log lines for it.
func (b *Broker) TooMuch(w http.ResponseWriter, r *http.Request) {
	c := b.newCall(w, r)
	b.Metrics.failed.WithLabelValues(fault.Throttled.Reason()).Inc()
	c.writeRefusal(tooMany("too many requests from this pod's address"))
}

// ServeHTTP reads a wire.ResolveRequest and writes a wire.ResolveResponse or a wire.ErrorResponse.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != wire.ResolvePath || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), Patience)
	defer cancel()
	b.Metrics.requests.Inc()
	nameReplica(w, r)
	c := b.newCall(w, r)
	defer c.release()
	if err := c.answer(ctx); err != nil {
		c.refuse(err)
	}
}

// call is one request of a pod. It releases the slots and the memory that it holds after the response is written.
type call struct {
	*Broker
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	// address is the client's address, which is also the key of its rate limits.
	address string
	who     caller
	held    []func()
	// unrecorded are the variables that are allowed although admission did not record their references.
	unrecorded []string
}

func (b *Broker) newCall(w http.ResponseWriter, r *http.Request) *call {
	return &call{Broker: b, w: w, r: r, control: http.NewResponseController(w),
		address: fairshare.Address(r.RemoteAddr)}
}

// release releases all slots and memory that the request holds.
func (c *call) release() {
	for _, giveBack := range c.held {
		giveBack()
	}
	c.held = nil
}

// answer identifies the pod, reads and authorizes its references, and writes their values. The pod is identified first,
// so that nothing but the headers is read from unauthenticated clients and from namespaces without the label.
func (c *call) answer(ctx context.Context) error {
	pod, err := c.identify(ctx)
	if err != nil {
		return err
	}
	allowed := referencesOf(pod)
	if err := c.holdRequest(allowed.bytes); err != nil {
		return err
	}
	request, err := c.readRequest(allowed.variables)
	if err != nil {
		return err
	}
	if err := c.authorise(allowed, request.References); err != nil {
		return err
	}
	if err := c.takePlace(); err != nil {
		return err
	}
	from := &source{Broker: c.Broker, namespace: c.who.Namespace, maxAge: c.MaxAge}
	if request.Check {
		from.maxAge = checkAgeFactor * c.MaxAge
	}
	resolve := resolver.Resolver{Source: from, Keep: c.holdAnswer}
	if request.Check {
		if err := resolve.Check(ctx, request.References); err != nil {
			return err
		}
		c.writeJSON(http.StatusOK, wire.ResolveResponse{})
		c.recordAnswer(len(request.References), from)
		return nil
	}
	values, err := resolve.Resolve(ctx, request.References)
	if err != nil {
		return err
	}
	c.reportStale(from)
	c.writeValues(values)
	c.recordAnswer(len(values), from)
	return nil
}
