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
	fetcher *Fetcher
	url     string
	kind    keyvault.Kind
}

// fetchFunc reads one object of an endpoint. Its errors are those of the SDK, or classified errors without content of
// the object.
type fetchFunc func(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error)

// cachedClient is the SDK client of one endpoint.
type cachedClient struct {
	fetch fetchFunc
	// hasVersions reports whether an object of the name has versions.
	hasVersions func(ctx context.Context, name string) (bool, error)
	// getDeleted returns no error if an object of the name was deleted and can be recovered.
	getDeleted func(ctx context.Context, name string) error
	// firstCallDone is closed when the first call has ended. Other calls wait for it, because the SDK learns the
	// required token from a 401, and concurrent first calls would all receive one.
	firstCallDone chan struct{}

	endpoint endpoint
	// activeCalls is the number of in-flight calls; hasAnswered reports that the vault ever responded.
	activeCalls int
	hasAnswered bool
	lruElement  *list.Element
}

// ClientCache caches the SDK clients of all identities, because the first request of each client receives a 401. Users
// can name vaults that do not exist, so a client without any response is not kept. At most limits.VaultClients are
// kept. It is safe for concurrent use.
type ClientCache struct {
	mu         sync.Mutex
	byEndpoint map[endpoint]*cachedClient
	// lru lists the clients, most recently used first.
	lru list.List
}

// NewClientCache returns an empty cache for the users of one transport.
func NewClientCache() *ClientCache { return &ClientCache{byEndpoint: map[endpoint]*cachedClient{}} }

// acquireClient returns the client of an endpoint; first reports that the caller is its first user. The caller returns
// it with releaseClient.
func (c *ClientCache) acquireClient(at endpoint, open func(endpoint) (*cachedClient, error)) (found *cachedClient,
	first bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.byEndpoint[at]
	if !ok {
		if found, err = open(at); err != nil {
			return nil, false, err
		}
		c.evictIdleClients()
		found.endpoint, found.firstCallDone, found.lruElement = at, make(chan struct{}), c.lru.PushFront(found)
		c.byEndpoint[at] = found
	}
	found.activeCalls++
	c.lru.MoveToFront(found.lruElement)
	return found, !ok, nil
}

// evictIdleClients makes room for one client; clients in use stay. The caller holds mu.
func (c *ClientCache) evictIdleClients() {
	for e := c.lru.Back(); e != nil && len(c.byEndpoint) >= limits.VaultClients; {
		old := e.Value.(*cachedClient)
		e = e.Prev()
		if old.activeCalls == 0 {
			c.removeClient(old)
		}
	}
}

// removeClient removes a client; the caller holds mu.
func (c *ClientCache) removeClient(old *cachedClient) {
	c.lru.Remove(old.lruElement)
	delete(c.byEndpoint, old.endpoint)
}

// releaseClient returns a client; answered reports whether the vault responded.
func (c *ClientCache) releaseClient(used *cachedClient, answered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	used.activeCalls--
	used.hasAnswered = used.hasAnswered || answered
	if used.activeCalls == 0 && !used.hasAnswered && c.byEndpoint[used.endpoint] == used {
		c.removeClient(used)
	}
}

// hasVaultAnswered reports whether a vault ever responded to the reader with that identity.
func (c *ClientCache) hasVaultAnswered(reader *Fetcher, vault string) bool {
	url, err := reader.config.Cloud.VaultURL(vault)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range keyvault.ItemKinds() {
		if known, ok := c.byEndpoint[endpoint{reader, url, kind}]; ok && known.hasAnswered {
			return true
		}
	}
	return false
}

// Len returns the number of cached clients.
func (c *ClientCache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byEndpoint)
}
