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

// Vault reads vault objects. The answer is not older than maxAge. Errors are classified by package fault; their text
// contains no value and is the same each time for the same cause.
type Vault interface {
	Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error)
}

// Hasher computes the keyed hashes of output data in statuses.
type Hasher interface {
	// Hash returns the hash of the data that an owner has in an output. Equal data of two owners has different hashes.
	Hash(ctx context.Context, owner types.UID, data map[string]keyvault.Value) (string, error)
	// Missing returns why hashes must not be shown, and the next step; empty if hashes can be shown.
	Missing() string
}

// Restarter restarts the workloads that a change affects. A repeated call does not restart a workload twice.
type Restarter interface {
	Restart(ctx context.Context, c rollout.Change) (rollout.Report, error)
}

// Config is the configuration of a Controller. Every field is required unless its comment says otherwise.
type Config struct {
	// Client reads AzureKeyVaultSecrets and the metadata of outputs from a cache with the index store.OwnerIndex, and
	// writes objects.
	Client client.Client
	// Live reads outputs with their data from the API server; the cache holds no data.
	Live client.Reader
	// Vault reads vault objects.
	Vault Vault
	// Events records the events that kubectl describe shows.
	Events events.EventRecorder
	// Hasher computes status.secretHash and status.configMapHash.
	Hasher Hasher
	// Metrics counts syncs and vault reads.
	Metrics *counters.Counters
	// Interval is the time between two refreshes of a resource without errors, at least one second.
	Interval time.Duration
	// Rules determine which namespaces can read which vaults; zero allows all.
	Rules rule.Rules
	// Identities determine the identity with which a namespace reads. A resource can name a ServiceAccount; if it is
	// not allowed, it is ignored with a warning.
	Identities rule.Identities
	// ExpiryWarning is the time before the expiry of a vault object at which its resource reports it; zero is allowed.
	ExpiryWarning time.Duration
	// FetchTimeout is the timeout for reading the vault objects of a resource; it must be positive.
	FetchTimeout time.Duration
	// Restarts restarts workloads; nil if the installation does not restart workloads.
	Restarts Restarter
	// RestartWindow is the delay between a change and the restart of workloads, in which further changes are collected.
	RestartWindow time.Duration
	// Decoding decodes outputs with a limit that namespaces share fairly; nil decodes without a limit.
	Decoding *decodepool.Pool
	// Installation is NAMESPACE/NAME of this installation, for the status of each resource; if empty, it is not
	// reported.
	Installation string
	// Clock returns the current time.
	Clock func() time.Time
}

// Controller reconciles AzureKeyVaultSecrets.
type Controller struct {
	Config
	memory memory
	store  *store.Store
	// news limits the events about successful syncs. When thousands of resources are synced at once, unlimited events
	// would cost the API server a third of its time, and ten a second still a tenth. The status holds the same
	// information.
	news *rate.Limiter
	// failures limits the events about failed syncs.
	failures *rate.Limiter
	// writers holds an entry for each write in progress; nil means no limit.
	writers chan struct{}
	// wake adds a resource to the queue; nil until the controller starts.
	wake func(ctrl.Request)
}

// waiting is the number of concurrent reconciles for each write slot. Resources whose vault does not answer then don't
// block the others.
const waiting = 4

// turn waits for a write slot and returns the function that releases it.
func (c *Controller) turn() func() {
	if c.writers == nil {
		return func() {}
	}
	c.writers <- struct{}{}
	return func() { <-c.writers }
}

// New returns a Controller, or an error if the configuration is incomplete or invalid.
func New(c Config) (*Controller, error) {
	switch {
	case c.Client == nil, c.Live == nil, c.Vault == nil, c.Events == nil, c.Hasher == nil, c.Metrics == nil,
		c.Clock == nil:
		return nil, errors.New("creating the controller: a required field of its configuration is nil")
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

// Reconcile synchronizes the outputs of one resource, or determines that they are in sync.
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

// outcome is the result of a sync: an error, or the outputs. Some outputs can be written even if another one failed.
type outcome struct {
	err    error
	recipe recipe.Recipe
	// contents holds the objects that the vault returned; empty if the vault was not read.
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
		// An error with one output does not prevent the other from being written.
		o.err = fault.Both(o.err, c.store.Write(ctx, resource, &o.outputs[i]))
	}
	if o.err == nil {
		o.err = c.store.Prune(ctx, resource, o.outputs)
	}
	return o
}

// kind returns the kind of the outcome's error; empty for a success.
func (o outcome) kind() fault.Kind { return fault.KindOf(o.err) }

// changed reports whether the data of any output was changed.
func (o outcome) changed() bool {
	return slices.ContainsFunc(o.outputs, func(m store.Made) bool { return m.Written && m.Changed })
}

// summary describes what the outputs hold, for events and conditions.
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
		what += fmt.Sprintf("; the vault is unavailable, so its fallback %q was read", other)
	}
	for _, m := range o.outputs {
		if m.Shared {
			what += fmt.Sprintf("; %s %q also holds data of others, so deleting this resource removes its keys "+
				"but keeps the %[1]s",
				m.Desired.Kind, m.Desired.Name)
		}
	}
	if len(names) > 1 {
		verb = " hold "
	}
	return strings.Join(names, " and ") + verb + what
}
