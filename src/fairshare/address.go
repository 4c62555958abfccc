package fairshare

import (
	"net/netip"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Address is the key of a client, whose address and port are given. A node, or even a pod, has all addresses of an IPv6
// network, so these are one key.
func Address(remote string) string {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "unknown"
	}
	address := from.Addr().Unmap().WithZone("")
	if network, err := address.Prefix(limits.AddressPrefixBits); err == nil && address.Is6() {
		address = network.Addr()
	}
	return address.String()
}
