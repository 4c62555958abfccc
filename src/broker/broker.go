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

// Vault reads objects. Read's answer is not older than maxAge; Last is the last good answer, if one is known that is
// not older than age. Errors are classified by package fault, and their text holds no value.
type Vault interface {
	Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error)
	Last(ref keyvault.Ref, age time.Duration) (keyvault.Object, bool)
}

// Config is what a Broker works with; every field but Events and Clock is required.
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
	// Clock is time.Now if it is nil.
	Clock func() time.Time
}

// Broker answers pods. It is an http.Handler.
type Broker struct {
	Config
	shares   shares
	absences *absences
	journal  *journal
	reports  *reports
}

// New checks the configuration.
func New(c Config) (*Broker, error) {
	if c.Live == nil || c.Cached == nil || c.Reviewer == nil || c.Vault == nil || c.Metrics == nil || c.Label == "" {
		return nil, errors.New("creating the broker: a part of its configuration is missing")
	}
	if c.MaxAge < 0 || c.StaleAge < c.MaxAge {
		return nil, errors.New("creating the broker: cache.maxAge must be 0 or more, and not longer than an hour")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	b := &Broker{Config: c, shares: newShares(c.Clock), absences: newAbsences(c.Clock), reports: newReports(c.Clock)}
	b.journal = newJournal(c.Log, c.Clock)
	return b, nil
}

// checkAgeFactor is how much older than MaxAge an object may be that serves a check alone. The containers ask for their
// values soon after the check, and are given none older than MaxAge, so a second read of the vault for the check would
// tell nobody more.
const checkAgeFactor = 3

// Patience bounds the work for one request; the injector asks again.
const Patience = limits.AuthRequestTime

// TooMuch tells the injector to ask again later, because of its address. The gate logs it from time to time.
func (b *Broker) TooMuch(w http.ResponseWriter, r *http.Request) {
	c := b.newCall(w, r)
	b.Metrics.failed.WithLabelValues(fault.Throttled.Reason()).Inc()
	c.writeRefusal(tooMany("this pod's address sends too many requests"))
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
	c := b.newCall(w, r)
	defer c.release()
	if err := c.answer(ctx); err != nil {
		c.refuse(err)
	}
}

// call is one request. What it holds is given back after its answer is written.
type call struct {
	*Broker
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	// address is the client's, and key of its shares.
	address string
	who     caller
	held    []func()
	// unrecorded are variables that were allowed although admission did not see them.
	unrecorded []string
}

func (b *Broker) newCall(w http.ResponseWriter, r *http.Request) *call {
	return &call{Broker: b, w: w, r: r, control: http.NewResponseController(w),
		address: fairshare.Address(r.RemoteAddr)}
}

// release gives everything back.
func (c *call) release() {
	for _, giveBack := range c.held {
		giveBack()
	}
	c.held = nil
}

// answer tells the story: who asks, what for, may he, what is it. The API server is asked first, so that of strangers,
// and of namespaces without the label, nothing is read but the headers.
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
