package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault/gateway"
	"github.com/akv2k8s/akv2k8s/src/trust"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// registries is the value of the flag -registries.
type registries struct {
	Allow     []string            `json:"allow"`
	PlainHTTP []string            `json:"plainHTTP"`
	Mirrors   map[string][]string `json:"mirrors"`
	// Local are IP addresses and networks that are allowed although they are blocked by default.
	Local []string `json:"local"`
	// ClusterNetworks are the networks of pods and Services. They are blocked unless Local allows them.
	ClusterNetworks []string `json:"clusterNetworks"`
	// TagMaxAge is a Go duration.
	TagMaxAge string `json:"tagMaxAge"`

	tagAge         time.Duration
	local, cluster []netip.Prefix
}

// Set parses the flag.
func (r *registries) Set(text string) error {
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return errors.New("it is not a JSON object of allow, plainHTTP, mirrors, local, clusterNetworks and tagMaxAge")
	}
	var err error
	if r.tagAge, err = time.ParseDuration(r.TagMaxAge); r.TagMaxAge != "" && err != nil {
		return errors.New("tagMaxAge is not a duration; write for example 5m")
	}
	var local, cluster error
	r.local, local = networks("local", r.Local)
	r.cluster, cluster = networks("clusterNetworks", r.ClusterNetworks)
	return errors.Join(ociimage.CheckPatterns(r.Allow), ociimage.CheckPatterns(r.PlainHTTP), local, cluster)
}

// networks parses IP addresses and networks of a field.
func networks(field string, texts []string) (all []netip.Prefix, err error) {
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

// images creates the reader of images, for containers without a command.
func (s settings) images(extraCAs []byte, vault *gateway.Gateway,
	api *apiServer) (*ociimage.Images, error) {
	roots, err := trust.Pool(extraCAs)
	if err != nil {
		return nil, err
	}
	transport := ociimage.NewTransport(ociimage.TransportConfig{Roots: roots, Refused: api.is,
		Allowed: s.registries.local,
		Cluster: append(ownAddresses(), s.registries.cluster...), PlainHTTP: s.registries.PlainHTTP})
	azure := ociimage.NewAzure(ociimage.Azure{Credential: vault.Credential, Suffix: vault.Cloud.RegistrySuffix,
		Transport: transport, Clock: time.Now})
	return ociimage.New(ociimage.Config{Transport: transport, Azure: azure, TagAge: s.registries.tagAge,
		Timeout: s.imageTimeout, Clock: time.Now,
		Log: api.log, Registries: ociimage.Registries{Allow: s.registries.Allow, PlainHTTP: s.registries.PlainHTTP,
			Mirrors: s.registries.Mirrors}})
}
