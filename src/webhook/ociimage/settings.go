package ociimage

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Settings are the chart's settings for registries.
type Settings struct {
	Allow     []string            `json:"allow"`
	PlainHTTP []string            `json:"plainHTTP"`
	Mirrors   map[string][]string `json:"mirrors"`
	// Local are IP addresses and networks that are allowed although they are blocked by default.
	Local []string `json:"local"`
	// ClusterNetworks are the networks of pods and Services. They are blocked unless Local allows them.
	ClusterNetworks []string `json:"clusterNetworks"`
	// TagMaxAge is a Go duration, which Set parses to TagAge.
	TagMaxAge string        `json:"tagMaxAge"`
	TagAge    time.Duration `json:"-"`

	localPrefixes, clusterPrefixes []netip.Prefix
}

// Set parses JSON, the value of a flag.
func (r *Settings) Set(text string) error {
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return errors.New("it is not a JSON object of allow, plainHTTP, mirrors, local, clusterNetworks and tagMaxAge")
	}
	var err error
	if r.TagAge, err = time.ParseDuration(r.TagMaxAge); r.TagMaxAge != "" && err != nil {
		return errors.New("tagMaxAge is not a duration; write for example 5m")
	}
	var local, cluster error
	r.localPrefixes, local = parsePrefixes("local", r.Local)
	r.clusterPrefixes, cluster = parsePrefixes("clusterNetworks", r.ClusterNetworks)
	return errors.Join(CheckHostPatterns(r.Allow), CheckHostPatterns(r.PlainHTTP), local, cluster)
}

// Registries returns the rules for registries.
func (r Settings) Registries() Registries {
	return Registries{Allowed: r.Allow, PlainHTTP: r.PlainHTTP, Mirrors: r.Mirrors}
}

// TransportConfig returns the configuration of the connections to registries. Those to addresses of this process and to
// addresses that isForbidden reports are denied.
func (r Settings) TransportConfig(roots *x509.CertPool, isForbidden func(netip.AddrPort) bool) TransportConfig {
	return TransportConfig{Roots: roots, IsForbidden: isForbidden, AllowedNetworks: r.localPrefixes,
		ClusterNetworks: append(ownAddresses(), r.clusterPrefixes...), PlainHTTP: r.PlainHTTP}
}

// parsePrefixes parses IP addresses and networks of a field.
func parsePrefixes(field string, texts []string) (all []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if address, single := netip.ParseAddr(text); single == nil {
			network, err = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not an IP address or network; write for example 10.1.2.3 or 10.1.0.0/16",
				field, text)
		}
		all = append(all, network.Masked())
	}
	return all, nil
}

// ownAddresses are the IP addresses of the env-injector's pod. A registry can't have them.
func ownAddresses() (all []netip.Prefix) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, address := range addresses {
		if network, err := netip.ParsePrefix(address.String()); err == nil {
			own := network.Addr().Unmap()
			all = append(all, netip.PrefixFrom(own, own.BitLen()))
		}
	}
	return all
}
