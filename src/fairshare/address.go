package fairshare

import (
	"net/netip"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// AddressKey returns the key of a client from its address and port. All addresses of an IPv6 network are one key,
// because a node, or even a pod, has all of them. An address that cannot be parsed has the key "unknown".
func AddressKey(remote string) string {
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
