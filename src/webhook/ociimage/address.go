package ociimage

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// errAddress says that an address may not be connected to.
var errAddress = errors.New("the address is one that no registry may have: of this machine, of a metadata service, " +
	"of the API server, or of the cluster")

// refusedNetworks are addresses that no registry has: of machines themselves, of metadata services, and IPv6 forms that
// hide an IPv4 address. Private IPv4 networks are not among them, because private registries and private endpoints have
// such addresses.
func refusedNetworks() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128", // this machine
		// link: the metadata services of AWS, Azure, Google and OpenStack, and site
		"169.254.0.0/16", "fe80::/10", "fec0::/10",
		"100.100.100.200/32", // the metadata service of Alibaba
		"192.0.0.0/24",       // protocol assignments: the metadata service of Oracle
		"168.63.129.16/32",   // where Azure's hosts answer their guests
		"224.0.0.0/4", "240.0.0.0/4", "ff00::/8",
		"fc00::/7",                 // private IPv6: pods, Services, and metadata services (fd00:ec2::254 and others)
		"::/96", "::ffff:0:0:0/96", // IPv4-compatible, IPv4-translated
		"2002::/16", "2001::/32", // 6to4, Teredo
		"64:ff9b:1::/48", // NAT64 of a local network
	} {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// nat64 is the prefix under which IPv6 networks have IPv4's addresses; what stands behind it decides.
func nat64() netip.Prefix { return netip.MustParsePrefix("64:ff9b::/96") }

// isMetadataName says whether a host is a metadata service by its name, which matters behind a proxy that resolves
// names.
func isMetadataName(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return slices.Contains([]string{"metadata", "metadata.google.internal", "metadata.goog", "instance-data",
		"instance-data.ec2.internal"}, host)
}

// checkAddress refuses addresses that no registry may have.
func (c TransportConfig) checkAddress(at netip.AddrPort) error {
	to := at.Addr().WithZone("").Unmap()
	if nat64().Contains(to) {
		bytes := to.As16()
		to = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	contains := func(network netip.Prefix) bool { return network.Contains(to) }
	if slices.ContainsFunc(c.Allowed, func(network netip.Prefix) bool {
		return network.IsSingleIP() &&
			contains(network)
	}) {
		return nil
	}
	if c.Refused != nil && c.Refused(netip.AddrPortFrom(to, at.Port())) {
		return errAddress
	}
	if slices.ContainsFunc(c.Allowed, contains) {
		return nil
	}
	if slices.ContainsFunc(refusedNetworks(), contains) || slices.ContainsFunc(c.Cluster, contains) {
		return errAddress
	}
	return nil
}
