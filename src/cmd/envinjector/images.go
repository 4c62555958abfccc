package main

import (
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault/gateway"
	"github.com/akv2k8s/akv2k8s/src/trust"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// registries is the flag of that name.
type registries struct {
	Allow     []string            `json:"allow"`
	PlainHTTP []string            `json:"plainHTTP"`
	Mirrors   map[string][]string `json:"mirrors"`
	// Local are addresses that may be asked although registries usually don't have them.
	Local []netip.Addr `json:"local"`
	// TagMaxAge is a Go duration.
	TagMaxAge string `json:"tagMaxAge"`

	tagAge time.Duration
}

// Set reads the flag.
func (r *registries) Set(text string) error {
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return errors.New("it is no JSON object of allow, plainHTTP, mirrors, local and tagMaxAge")
	}
	var err error
	if r.tagAge, err = time.ParseDuration(r.TagMaxAge); r.TagMaxAge != "" && err != nil {
		return errors.New("tagMaxAge is no duration; write for example 5m")
	}
	return errors.Join(ociimage.CheckPatterns(r.Allow), ociimage.CheckPatterns(r.PlainHTTP))
}

// images looks into images for pods without a command.
func (s settings) images(extraCAs []byte, vault *gateway.Gateway, api *apiServer) (*ociimage.Images, error) {
	roots, err := trust.Pool(extraCAs)
	if err != nil {
		return nil, err
	}
	transport := ociimage.NewTransport(ociimage.TransportConfig{Roots: roots, Refused: api.is, Allowed: s.registries.Local, PlainHTTP: s.registries.PlainHTTP})
	azure := ociimage.NewAzure(ociimage.Azure{Credential: vault.Credential, Suffix: vault.Cloud.RegistrySuffix, Transport: transport, Clock: time.Now})
	return ociimage.New(ociimage.Config{Transport: transport, Azure: azure, TagAge: s.registries.tagAge, Timeout: s.imageTimeout, Clock: time.Now,
		Registries: ociimage.Registries{Allow: s.registries.Allow, PlainHTTP: s.registries.PlainHTTP, Mirrors: s.registries.Mirrors}})
}
