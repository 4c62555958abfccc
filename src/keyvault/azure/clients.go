package azure

import (
	"container/list"
	"context"
	"sync"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// endpoint is the key of an SDK client: an identity, a vault and an object type.
type endpoint struct {
	reader *Vaults
	url    string
	kind   keyvault.Kind
}

// fetch reads one object of an endpoint. Its errors are those of the SDK, or classified errors without content of the
// object.
type fetch func(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error)

// client is the SDK client of one endpoint.
type client struct {
	fetch fetch
	// exists reports whether an object of the name has versions.
	exists func(ctx context.Context, name string) (bool, error)
	// opened is closed when the first call has ended. Other calls wait for it, because the SDK learns the required
	// token from a 401, and concurrent first calls would all receive one.
	opened chan struct{}

	at endpoint
	// users is the number of in-flight calls; hasAnswered reports that the vault ever responded.
	users    int
	answered bool
	place    *list.Element
}

// Clients caches the SDK clients of all identities, because the first request of each client receives a 401. Users can
// name vaults that do not exist, so a client without any response is not kept. At most limits.VaultClients are kept. It
// is safe for concurrent use.
type Clients struct {
	mu    sync.Mutex
	known map[endpoint]*client
	// order lists the clients, most recently used first.
	order list.List
}

// NewClients returns an empty cache for the users of one transport.
func NewClients() *Clients { return &Clients{known: map[endpoint]*client{}} }

// acquire returns the client of an endpoint; first reports that the caller is its first user. The caller returns it
// with releaseClient.
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

// evict makes room for one client; clients in use stay. The caller holds mu.
func (c *Clients) evict() {
	for e := c.order.Back(); e != nil && len(c.known) >= limits.VaultClients; {
		old := e.Value.(*client)
		e = e.Prev()
		if old.users == 0 {
			c.forget(old)
		}
	}
}

// forget removes a client; the caller holds mu.
func (c *Clients) forget(old *client) {
	c.order.Remove(old.place)
	delete(c.known, old.at)
}

// release returns a client; answered reports whether the vault responded.
func (c *Clients) release(used *client, answered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	used.users--
	used.answered = used.answered || answered
	if used.users == 0 && !used.answered && c.known[used.at] == used {
		c.forget(used)
	}
}

// answered reports whether a vault ever responded to the reader with that identity.
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

// Len returns the number of cached clients.
func (c *Clients) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.known)
}

func kinds() []keyvault.Kind {
	return []keyvault.Kind{keyvault.KindSecret, keyvault.KindCertificate, keyvault.KindKey}
}
