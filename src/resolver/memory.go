package resolver

import (
	"fmt"
	"sync"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// objectMemory counts the bytes of the vault objects that one request holds. It is safe for concurrent use.
type objectMemory struct {
	mu      sync.Mutex
	bytes   int
	reserve func(bytes int) error // can be nil
}

// addObject counts an object. It returns an error if the request holds too much with it.
func (m *objectMemory) addObject(bytes int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes+bytes > limits.ObjectBytesPerRequest {
		return &fault.Error{Kind: fault.Invalid,
			Operation: fmt.Sprintf("the references of the request name vault objects of more than %s together, "+
				"which is the limit", limits.Bytes(limits.ObjectBytesPerRequest)),
			Next: "spread the references over several pods"}
	}
	if m.reserve != nil {
		if err := m.reserve(bytes); err != nil {
			return err
		}
	}
	m.bytes += bytes
	return nil
}
