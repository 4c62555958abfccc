package delivery

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/version"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// ServerVersion caches the version of the API server. It is safe for concurrent use.
type ServerVersion struct {
	// Read reads the version from the API server.
	Read  func() (*version.Info, error)
	Clock func() time.Time

	mu      sync.Mutex
	version string
	readAt  time.Time
}

// isAtLeast reports whether the API server has at least a version (MAJOR.MINOR), and returns its version. That is empty
// if it could not be read.
func (s *ServerVersion) isAtLeast(first string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.Clock(); s.readAt.IsZero() || now.Sub(s.readAt) >= limits.ServerVersionAge {
		s.readAt = now
		if info, err := s.Read(); err == nil {
			s.version = info.GitVersion
		} else if s.version == "" {
			s.readAt = time.Time{} // the next pod reads it again
		}
	}
	return s.version, isAtLeast(s.version, first)
}
