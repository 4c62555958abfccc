// Package state holds all that the controller remembers of a resource between two reconciles: one type, Resource, and
// one lock, that of the Store. It can be lost: without it, each resource is refreshed once more.
//
// Floor 3. The times of refreshes and retries are computed in controller/schedule. State that is not about one resource
// is elsewhere: rate limits of events in controller, the key of status hashes in controller/statushash, decoded values
// in decodepool.
package state
