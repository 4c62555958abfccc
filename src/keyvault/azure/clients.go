package azure

import (
	"container/list"
	"context"
	"sync"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// endpoint is what the SDK has a client for: a vault and a kind of object, and the identity that reads it.
type endpoint struct {
	reader *Vaults
	url    string
	kind   keyvault.Kind
}

// fetch reads one object of an endpoint; errors are the SDK's own, or classified without a word of what was read.
type fetch func(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error)

// client is of one endpoint.
type client struct {
	fetch fetch
	// exists says whether there is an object of that name, by the list of its versions.
	exists func(ctx context.Context, name string) (bool, error)
	// opened is closed when the first call has ended. Until then others wait: each would be answered 401 as well, since
	// the SDK learns only from an answer which token the vault wants.
	opened chan struct{}

	at endpoint
	// users are the calls on their way, and answered says whether there ever was an answer.
	users    int
	answered bool
	place    *list.Element
}

// Clients keeps clients of vaults for all identities together, because each new one starts with a request that is
// answered 401. Users name vaults, also ones that do not exist: a client that never had an answer is not kept, and of
// the others no more than limits.VaultClients. It is safe for concurrent use.
type Clients struct {
	mu    sync.Mutex
	known map[endpoint]*client
	// order has what was used last in front.
	order list.List
}

// NewClients makes an empty collection, for all who read with one transport.
func NewClients() *Clients { return &Clients{known: map[endpoint]*client{}} }

// acquire gives the client of an endpoint, and says whether the caller is the first to use it. The caller gives it back
// with release.
func (c *Clients) acquire(at endpoint, open func(endpoint) (*client, error)) (found *client, first bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.known[at]
	if !ok {
		if found, err = open(at); err != nil {
			return nil, false, err
		}
		c.evict()
		found.at, found.opened, found.place = at, make(chan struct{}), c.order.PushFront(found)
		c.known[at] = found
	}
	found.users++
	c.order.MoveToFront(found.place)
	return found, !ok, nil
}

// evict makes room for one more; clients in use stay. The caller holds mu.
func (c *Clients) evict() {
	for e := c.order.Back(); e != nil && len(c.known) >= limits.VaultClients; {
		old := e.Value.(*client)
		e = e.Prev()
		if old.users == 0 {
			c.forget(old)
		}
	}
}

// forget drops a client; the caller holds mu.
func (c *Clients) forget(old *client) {
	c.order.Remove(old.place)
	delete(c.known, old.at)
}

// release gives a client back; answered says whether the vault answered.
func (c *Clients) release(used *client, answered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	used.users--
	used.answered = used.answered || answered
	if used.users == 0 && !used.answered && c.known[used.at] == used {
		c.forget(used)
	}
}

// answered says whether a vault ever answered this reader.
func (c *Clients) answered(reader *Vaults, vault string) bool {
	url, err := reader.config.Cloud.VaultURL(vault)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range kinds() {
		if known, ok := c.known[endpoint{reader, url, kind}]; ok && known.answered {
			return true
		}
	}
	return false
}

// Len is the number of clients that are kept.
func (c *Clients) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.known)
}

func kinds() []keyvault.Kind {
	return []keyvault.Kind{keyvault.KindSecret, keyvault.KindCertificate, keyvault.KindKey}
}
