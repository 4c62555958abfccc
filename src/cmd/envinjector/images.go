package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault/vaultclient"
	"github.com/akv2k8s/akv2k8s/src/trust"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// registrySettings is the value of the flag -registries.
type registrySettings struct {
	Allow     []string            `json:"allow"`
	PlainHTTP []string            `json:"plainHTTP"`
	Mirrors   map[string][]string `json:"mirrors"`
	// Local are IP addresses and networks that are allowed although they are blocked by default.
	Local []string `json:"local"`
	// ClusterNetworks are the networks of pods and Services. They are blocked unless Local allows them.
	ClusterNetworks []string `json:"clusterNetworks"`
	// TagMaxAge is a Go duration.
	TagMaxAge string `json:"tagMaxAge"`

	tagAge                         time.Duration
	localPrefixes, clusterPrefixes []netip.Prefix
}

// Set parses the flag.
func (r *registrySettings) Set(text string) error {
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return errors.New("it is not a JSON object of allow, plainHTTP, mirrors, local, clusterNetworks and tagMaxAge")
	}
	var err error
	if r.tagAge, err = time.ParseDuration(r.TagMaxAge); r.TagMaxAge != "" && err != nil {
		return errors.New("tagMaxAge is not a duration; write for example 5m")
	}
	var local, cluster error
	r.localPrefixes, local = parsePrefixes("local", r.Local)
	r.clusterPrefixes, cluster = parsePrefixes("clusterNetworks", r.ClusterNetworks)
	return errors.Join(ociimage.CheckHostPatterns(r.Allow), ociimage.CheckHostPatterns(r.PlainHTTP), local, cluster)
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

// newImageInspector creates the reader of images, for containers without a command.
func (s settings) newImageInspector(extraCAs []byte, vault *vaultclient.Client,
	api *apiServerAddresses) (*ociimage.Images, error) {
	roots, err := trust.NewPool(extraCAs)
	if err != nil {
		return nil, err
	}
	transport := ociimage.NewTransport(ociimage.TransportConfig{Roots: roots, IsForbidden: api.isAPIServer,
		AllowedNetworks: s.registries.localPrefixes,
		ClusterNetworks: append(ownAddresses(), s.registries.clusterPrefixes...), PlainHTTP: s.registries.PlainHTTP})
	azure := ociimage.NewAzureRegistries(ociimage.AzureRegistries{Credential: vault.Credential,
		Suffix:    vault.Cloud.RegistrySuffix,
		Transport: transport, Clock: time.Now})
	return ociimage.New(ociimage.Config{Transport: transport, Azure: azure, TagAge: s.registries.tagAge,
		Timeout: s.imageTimeout, Clock: time.Now,
		Log: api.log, Registries: ociimage.Registries{Allowed: s.registries.Allow, PlainHTTP: s.registries.PlainHTTP,
			Mirrors: s.registries.Mirrors}})
}
