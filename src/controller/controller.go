package controller

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/controller/state"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/controller/syncmetrics"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Vault reads vault objects. The answer is not older than maxAnswerAge. Errors are classified by package fault; their
// text contains no value and is the same each time for the same cause.
type Vault interface {
	Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error)
}

// Hasher computes the keyed hashes of output data in statuses.
type Hasher interface {
	// Hash returns the hash of the data that an owner has in an output. Equal data of two owners has different hashes.
	Hash(ctx context.Context, owner types.UID, data map[string]keyvault.Value) (string, error)
	// UnavailableReason returns why hashes must not be shown, and the next step; empty if hashes can be shown.
	UnavailableReason() string
}

// Restarter restarts the workloads that a change affects. A repeated call does not restart a workload twice.
type Restarter interface {
	Restart(ctx context.Context, c rollout.Change) (rollout.Report, error)
	// HasFreeSlot reports whether a workload of the namespace could be restarted now, without any request.
	HasFreeSlot(namespace string) bool
}

// Config is the configuration of a Controller. Every field is required unless its comment says otherwise.
type Config struct {
	// Client reads AzureKeyVaultSecrets and the metadata of outputs from a cache with the index store.OwnerIndex, and
	// writes objects.
	Client client.Client
	// APIReader reads outputs with their data from the API server; the cache holds no data.
	APIReader client.Reader
	// Vault reads vault objects.
	Vault Vault
	// Events records the events that kubectl describe shows.
	Events events.EventRecorder
	// Hasher computes status.secretHash and status.configMapHash.
	Hasher Hasher
	// Metrics counts syncs and vault reads.
	Metrics *syncmetrics.Counters
	// RefreshInterval is the time between two refreshes of a resource without errors, at least one second.
	RefreshInterval time.Duration
	// VaultRules determine which namespaces can read which vaults; zero allows all.
	VaultRules rule.AccessRules
	// Identities determine the identity with which a namespace reads. A resource can name a ServiceAccount; if it is
	// not allowed, it is ignored with a warning.
	Identities rule.IdentityPolicy
	// ExpiryWarning is the time before the expiry of a vault object at which its resource reports it; zero is allowed.
	ExpiryWarning time.Duration
	// FetchTimeout is the timeout for reading the vault objects of a resource; it must be positive.
	FetchTimeout time.Duration
	// Restarter restarts workloads; nil if the installation does not restart workloads.
	Restarter Restarter
	// RestartDelay is the delay between a change and the restart of workloads, in which further changes are collected.
	RestartDelay time.Duration
	// DecodePool decodes outputs with a limit that namespaces share fairly; nil decodes without a limit.
	DecodePool *decodepool.Pool
	// WatchInjected refreshes resources without outputs too, which only pods use, and reports their state.
	WatchInjected bool
	// Installation is NAMESPACE/NAME of this installation, for the status of each resource; if empty, it is not
	// reported.
	Installation string
	// Clock returns the current time.
	Clock func() time.Time
}

// Controller reconciles AzureKeyVaultSecrets.
type Controller struct {
	Config
	state state.Store
	store *store.Store
	// eventLimiter limits the events about successful syncs. When thousands of resources are synced at once, unlimited
	// events would cost the API server a third of its time, and ten a second still a tenth. The status holds the same
	// information.
	eventLimiter *rate.Limiter
	// failureEventLimiter limits the events about failed syncs.
	failureEventLimiter *rate.Limiter
	// writeSlots holds an entry for each write in progress; nil means no limit.
	writeSlots chan struct{}
	// watchSlots are shared by the namespaces of resources that only pods use, for reads in progress; nil means no
	// limit.
	watchSlots *fairshare.Pool
	// requests limits the refreshes that annotations request.
	requests *fairshare.RateLimiter
	// enqueue adds a resource to the queue; nil until the controller starts.
	enqueue func(ctrl.Request)
}

// New returns a Controller, or an error if the configuration is incomplete or invalid.
func New(c Config) (*Controller, error) {
	if err := fault.RequireFields("controller.New", map[string]bool{
		"Client": c.Client != nil, "APIReader": c.APIReader != nil, "Vault": c.Vault != nil,
		"Events": c.Events != nil, "Hasher": c.Hasher != nil, "Metrics": c.Metrics != nil, "Clock": c.Clock != nil,
		"FetchTimeout": c.FetchTimeout > 0,
	}); err != nil {
		return nil, err
	}
	if c.RefreshInterval < time.Second {
		return nil, fmt.Errorf("controller.New: the refresh interval %s is below 1s; raise azureKeyVaultResyncPeriod",
			c.RefreshInterval)
	}
	return &Controller{Config: c, store: &store.Store{Client: c.Client, APIReader: c.APIReader},
		eventLimiter:        rate.NewLimiter(limits.SuccessEventRate, limits.SuccessEventBurst),
		failureEventLimiter: rate.NewLimiter(limits.FailureEventRate, limits.FailureEventBurst),
		requests:            fairshare.NewRateLimiter(limits.RefreshRequests, time.Second, c.Clock)}, nil
}
