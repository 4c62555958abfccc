package host

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
)

// ID names everything that a cluster has on the machine. It is a hash of the work folder, so two clusters never share
// one.
type ID string

// IDOf is the id of the cluster in a work folder.
func IDOf(work string) ID {
	sum := sha256.Sum256([]byte(work))
	return ID(hex.EncodeToString(sum[:])[:8])
}

// Cgroup is the name of the cluster's cgroup in every hierarchy.
func (id ID) Cgroup() string { return "akv2k8s-" + string(id) }

// Link is the name of the host's end of the link to the cluster, at most 15 bytes.
func (id ID) Link() string { return "akv" + string(id) }

// Marker is the command line of the holder.
func (id ID) Marker() string { return "akv2k8s-" + string(id) + "-holder" }

// Subnet is the third byte of 172.30.x.0/24: by the id, or the next one that no interface of this machine has.
func (id ID) Subnet() (int, error) {
	first, err := hex.DecodeString(string(id)[:2])
	if err != nil {
		return 0, fmt.Errorf("the id %q is not hexadecimal: %w", id, err)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return 0, fmt.Errorf("listing the addresses of this machine: %w", err)
	}
	for i := range 256 {
		x := (int(first[0]) + i) % 256
		if free(x, addresses) {
			return x, nil
		}
	}
	return 0, fmt.Errorf("every network from 172.30.0.0/24 to 172.30.255.0/24 is in use on this machine")
}

func free(x int, addresses []net.Addr) bool {
	for _, address := range addresses {
		network, ok := address.(*net.IPNet)
		if ok && (network.Contains(net.IPv4(172, 30, byte(x), 1)) || network.Contains(net.IPv4(172, 30, byte(x), 2))) {
			return false
		}
	}
	return true
}
