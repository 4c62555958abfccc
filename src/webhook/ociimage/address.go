package ociimage

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// errForbiddenAddress rejects a connection to an address that no registry has.
var errForbiddenAddress = errors.New("the address belongs to this machine, a metadata service, the API server or the " +
	"cluster, and a registry must not have it")

// forbiddenNetworks returns the networks in which no registry is: loopback and link-local addresses, metadata services,
// private IPv6 addresses, and IPv6 forms that embed an IPv4 address. Private IPv4 networks are allowed, because private
// registries and private endpoints have such addresses.
func forbiddenNetworks() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128", // this machine
		// link-local, with the metadata services of AWS, Azure, Google and OpenStack; site-local
		"169.254.0.0/16", "fe80::/10", "fec0::/10",
		"100.100.100.200/32",                     // metadata service of Alibaba Cloud
		"192.0.0.0/24",                           // protocol assignments, with the metadata service of Oracle Cloud
		"168.63.129.16/32",                       // WireServer, by which an Azure host serves its virtual machines
		"224.0.0.0/4", "240.0.0.0/4", "ff00::/8", // multicast, reserved
		"fc00::/7",                 // private IPv6: pods, Services and metadata services, such as fd00:ec2::254
		"::/96", "::ffff:0:0:0/96", // IPv4-compatible, IPv4-translated
		"2002::/16", "2001::/32", // 6to4, Teredo
		"64:ff9b:1::/48", // NAT64 of a local network
	} {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// nat64Prefix returns the IPv6 prefix that embeds an IPv4 address. checkAddress checks the embedded address.
func nat64Prefix() netip.Prefix { return netip.MustParsePrefix("64:ff9b::/96") }

// isMetadataName reports whether a host name is that of a metadata service. The name matters behind a proxy that
// resolves names itself.
func isMetadataName(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return slices.Contains([]string{"metadata", "metadata.google.internal", "metadata.goog", "instance-data",
		"instance-data.ec2.internal"}, host)
}

// checkAddress returns errForbiddenAddress for an address that a registry must not have.
func (c TransportConfig) checkAddress(at netip.AddrPort) error {
	to := at.Addr().WithZone("").Unmap()
	if nat64Prefix().Contains(to) {
		bytes := to.As16()
		to = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	contains := func(network netip.Prefix) bool { return network.Contains(to) }
	if slices.ContainsFunc(c.AllowedNetworks, func(network netip.Prefix) bool {
		return network.IsSingleIP() &&
			contains(network)
	}) {
		return nil
	}
	if c.IsForbidden != nil && c.IsForbidden(netip.AddrPortFrom(to, at.Port())) {
		return errForbiddenAddress
	}
	if slices.ContainsFunc(c.AllowedNetworks, contains) {
		return nil
	}
	if slices.ContainsFunc(forbiddenNetworks(), contains) || slices.ContainsFunc(c.ClusterNetworks, contains) {
		return errForbiddenAddress
	}
	return nil
}
