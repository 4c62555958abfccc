package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/counters"
	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// Vault reads an object. The answer is not older than maxAge. Errors are classified by package fault; their text holds
// no value and is the same each time for the same cause.
type Vault interface {
	Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error)
}

// Hasher makes the keyed hash of an output's data that the status shows.
type Hasher interface {
	// Hash of the data that an owner has in an output. Equal data of two owners have different hashes.
	Hash(ctx context.Context, owner types.UID, data map[string]keyvault.Value) (string, error)
	// Missing says why hashes are not to be shown, and what to do; empty if they are.
	Missing() string
}

// Restarter restarts the workloads that a change is for, each once, also if it is called again.
type Restarter interface {
	Restart(ctx context.Context, c rollout.Change) (rollout.Report, error)
}

// Config is what a Controller works with; every field is required but Restarts.
type Config struct {
	// Client reads AzureKeyVaultSecrets and the metadata of outputs from a cache with the index store.OwnerIndex, and
	// writes.
	Client client.Client
	// Live reads outputs with their data from the API server; the cache holds none.
	Live client.Reader
	// Vault is the one way to the vault.
	Vault Vault
	// Events records what users see in kubectl describe.
	Events events.EventRecorder
	// Hasher fills status.secretHash.
	Hasher Hasher
	// Metrics counts syncs.
	Metrics *counters.Counters
	// Interval between two looks at a vault object that did not fail, at least a second.
	Interval time.Duration
	// Rules say which namespace may read which vault.
	Rules rule.Rules
	// Identities say as whom a namespace reads; a ServiceAccount that is named but not allowed is ignored, and that is
	// told.
	Identities rule.Identities
	// ExpiryWarning is how long before an object expires its resource says so.
	ExpiryWarning time.Duration
	// FetchTimeout bounds one read of the vault.
	FetchTimeout time.Duration
	// Restarts restarts workloads; nil if the installation does not.
	Restarts Restarter
	// RestartWindow is how long further changes are waited for before workloads are restarted.
	RestartWindow time.Duration
	// Decoding is where outputs are decoded, namespaces in turn; nil decodes at once.
	Decoding *decodepool.Pool
	// Installation is NAMESPACE/NAME of this installation, which the status of each resource shows; empty shows none.
	Installation string
	// Clock tells the time.
	Clock func() time.Time
}

// Controller reconciles AzureKeyVaultSecrets.
type Controller struct {
	Config
	memory memory
	store  *store.Store
	// news bounds the events about syncs that went well. When thousands are synced at once, their events would cost the
	// API server a third of its time, and ten a second still a tenth; status says the same.
	news *rate.Limiter
	// failures bounds the events about syncs that failed.
	failures *rate.Limiter
	// writers are who writes at this moment; nil means that nobody is counted.
	writers chan struct{}
	// wake puts a resource into the queue; nil while there is none.
	wake func(ctrl.Request)
}

// waiting is how many resources wait for a vault for each that writes, so that one vault that does not answer does not
// keep all others back.
const waiting = 4

// turn waits until it is one's turn to write; what it gives ends the turn.
func (c *Controller) turn() func() {
	if c.writers == nil {
		return func() {}
	}
	c.writers <- struct{}{}
	return func() { <-c.writers }
}

// New checks the configuration.
func New(c Config) (*Controller, error) {
	switch {
	case c.Client == nil, c.Live == nil, c.Vault == nil, c.Events == nil, c.Hasher == nil, c.Metrics == nil,
		c.Clock == nil:
		return nil, errors.New("creating the controller: a part of its configuration is missing")
	case c.Interval < time.Second:
		return nil, fmt.Errorf("creating the controller: the refresh interval %s is below 1s; raise "+
			"azureKeyVaultResyncPeriod", c.Interval)
	case c.FetchTimeout <= 0:
		return nil, errors.New("creating the controller: the fetch timeout must be positive")
	}
	return &Controller{Config: c, store: &store.Store{Client: c.Client, Live: c.Live},
		news:     rate.NewLimiter(limits.SuccessEventRate, limits.SuccessEvents),
		failures: rate.NewLimiter(limits.FailureEventRate, limits.FailureEvents)}, nil
}

// Reconcile brings one resource's output in sync, or finds that it is.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	resource, err := c.resource(ctx, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	if resource == nil {
		c.memory.forget(req.NamespacedName)
		return ctrl.Result{}, c.store.Release(ctx, req.NamespacedName)
	}
	c.restart(ctx, resource)
	if wait, err := c.idle(ctx, resource); err != nil {
		return ctrl.Result{}, err
	} else if wait > 0 {
		return later(wait), nil
	}
	c.memory.beginSync(req.NamespacedName)
	outcome := c.sync(ctx, resource)
	if wait, quiet := c.putOff(resource, outcome); quiet {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if err := c.reportInTurn(ctx, resource, outcome); err != nil {
		return ctrl.Result{}, err
	}
	return c.plan(ctx, resource, outcome)
}

func (c *Controller) reportInTurn(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, o outcome) error {
	defer c.turn()()
	return c.report(ctx, resource, o)
}

// outcome is what a sync came to: an error, or what is now in the outputs. Some outputs may be written although another
// failed.
type outcome struct {
	err    error
	recipe recipe.Recipe
	// contents are what the vault answered; none if it was not asked.
	contents []decode.Content
	outputs  []store.Made
}

func (c *Controller) sync(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret) (o outcome) {
	if o.recipe, o.err = resolve(resource); o.err != nil {
		return o
	}
	c.restore(ctx, resource, o.recipe)
	if o.err = c.Rules.Check(resource.Namespace, o.recipe.Vault); o.err != nil {
		return o
	}
	if o.outputs, o.err = c.recall(ctx, resource, o.recipe); o.err != nil {
		return o
	}
	if o.outputs == nil {
		ctx := keyvault.For(ctx, c.purpose(resource, o.recipe))
		if o.recipe, o.err = c.find(ctx, resource.Namespace, o.recipe); o.err != nil {
			return o
		}
		if o.contents, o.err = c.fetch(ctx, resource.Namespace, o.recipe); o.err != nil {
			return o
		}
		if o.outputs, o.err = c.desired(ctx, resource, o.recipe, c.decoded(ctx, resource.Namespace, o)); o.err != nil {
			return o
		}
	}
	defer c.turn()()
	for i := range o.outputs {
		if c.stands(ctx, resource, &o.outputs[i]) {
			continue
		}
		// One output's trouble does not keep the other back.
		o.err = fault.Both(o.err, c.store.Write(ctx, resource, &o.outputs[i]))
	}
	if o.err == nil {
		o.err = c.store.Prune(ctx, resource, o.outputs)
	}
	return o
}

// kind of the outcome's error, empty for a success.
func (o outcome) kind() fault.Kind { return fault.KindOf(o.err) }

// changed says whether the data of any output were changed.
func (o outcome) changed() bool {
	return slices.ContainsFunc(o.outputs, func(m store.Made) bool { return m.Written && m.Changed })
}

// summary says in words what the outputs hold.
func (o outcome) summary() string {
	var names []string
	for _, m := range o.outputs {
		names = append(names, fmt.Sprintf("%s %q", m.Desired.Kind, m.Desired.Name))
	}
	what, verb := fmt.Sprintf("%d objects of vault %q", len(o.contents), o.recipe.Vault), " holds "
	if len(o.contents) == 1 {
		what = fmt.Sprintf("version %s of %s", o.contents[0].Object.Version, o.contents[0].Object.Ref)
	}
	if other := decode.Fallback(o.contents); other != "" {
		what += fmt.Sprintf("; as that vault is not available, its fallback %q was read", other)
	}
	for _, m := range o.outputs {
		if m.Shared {
			what += fmt.Sprintf("; %s %q also holds data of others, so it stays when this resource is deleted, "+
				"without the keys of this resource",
				m.Desired.Kind, m.Desired.Name)
		}
	}
	if len(names) > 1 {
		verb = " hold "
	}
	return strings.Join(names, " and ") + verb + what
}
