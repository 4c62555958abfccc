package injector

import (
	"os"
	"time"
)

const (
	// replicaKnown is how long a replica of the auth service is asked again: about as long as it remembers, and shorter
	// than it takes until another pod has its address.
	replicaKnown = 15 * time.Second
	// replicaBytes is longer than any address.
	replicaBytes = 128
)

// writeReplica notes which replica of the auth service has checked the pod's references. Nothing depends on it.
func writeReplica(file, replica string) {
	if replica == "" || os.WriteFile(file, []byte(replica), 0o600) != nil {
		return
	}
	_ = os.Chmod(file, 0o644) // the containers may run as any user; not subject to the umask
}

// readReplica is what was noted a moment ago, or nothing.
func readReplica(file string, now time.Time) string {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > replicaBytes ||
		now.Sub(info.ModTime()).Abs() > replicaKnown {
		return ""
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(content)
}
