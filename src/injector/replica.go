package injector

import (
	"os"
	"time"
)

const (
	// replicaMaxAge is how long the injector prefers the replica of the auth service that checked its references: about
	// as long as that replica caches them, and shorter than the time until another pod can get its address.
	replicaMaxAge = 15 * time.Second
	// maxReplicaBytes is more than the length of any address.
	maxReplicaBytes = 128
)

// writeReplica stores the host:port of the auth-service replica that checked the pod's references. Errors are ignored:
// without the file, the injector asks any replica.
func writeReplica(file, replica string) {
	if replica == "" || os.WriteFile(file, []byte(replica), 0o600) != nil {
		return
	}
	_ = os.Chmod(file, 0o644) // the containers may run as any user; not subject to the umask
}

// readReplica returns the stored replica, or an empty text if the file is missing, too old, or not one of ours.
func readReplica(file string, now time.Time) string {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxReplicaBytes ||
		now.Sub(info.ModTime()).Abs() > replicaMaxAge {
		return ""
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(content)
}
