package ociimage

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Registries are the rules for registries.
type Registries struct {
	// Allowed are patterns of allowed registry hosts (with the port, if it is not 443), with * for any part of a name.
	// An empty list allows all.
	Allowed []string
	// PlainHTTP are patterns of hosts without TLS.
	PlainHTTP []string
	// Mirrors are the hosts, with or without a path, that are tried first, by the host of the registry they mirror.
	Mirrors map[string][]string
}

// parseAllowedImage parses the name of an image, and returns fault.Denied if its registry is not allowed.
func (r Registries) parseAllowedImage(image string) (name.Reference, error) {
	if len(image) > limits.ImageNameBytes {
		return nil, fault.New(fault.Invalid, "the image name %q… is longer than %s", image[:100],
			limits.Bytes(limits.ImageNameBytes))
	}
	reference, err := r.parseImageName(image)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%q is not a valid image name", image)
	}
	if registry := reference.Context().RegistryStr(); len(r.Allowed) > 0 && !matchesAnyPattern(r.Allowed, registry) {
		return nil, fault.New(fault.Denied,
			"reading the command of image %q: the registry %s is not allowed by the value "+
				"env_injector.registries.allow", image,
			registry)
	}
	return reference, nil
}

// parseImageName parses a name. Only hosts in PlainHTTP are called without TLS.
func (r Registries) parseImageName(image string) (name.Reference, error) {
	reference, err := name.ParseReference(image)
	if err == nil && matchesAnyPattern(r.PlainHTTP, reference.Context().RegistryStr()) {
		return name.ParseReference(image, name.Insecure)
	}
	return reference, err
}

// mirrorsOf returns the names of an image at the mirrors of its registry.
func (r Registries) mirrorsOf(reference name.Reference) []name.Reference {
	registry := reference.Context().RegistryStr()
	hosts := r.Mirrors[registry]
	if registry == name.DefaultRegistry {
		hosts = append(hosts, r.Mirrors["docker.io"]...)
	}
	var all []name.Reference
	for _, host := range hosts {
		separator := ":"
		if _, pinned := reference.(name.Digest); pinned {
			separator = "@"
		}
		if at, err := r.parseImageName(host + "/" + reference.Context().RepositoryStr() + separator +
			reference.Identifier()); err == nil {
			all = append(all, at)
		}
	}
	return all
}

// RegistryOf returns the registry host of an image in lower case; empty if the name is not valid.
func RegistryOf(image string) string {
	if len(image) > limits.ImageNameBytes {
		return ""
	}
	reference, err := name.ParseReference(image)
	if err != nil {
		return ""
	}
	return strings.ToLower(reference.Context().RegistryStr())
}

// matchesAnyPattern reports whether a host matches one of the patterns, in which * matches any part of a name.
func matchesAnyPattern(patterns []string, host string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(host))
		return err == nil && ok
	})
}

// CheckHostPatterns returns an error that names the first invalid pattern.
func CheckHostPatterns(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, "x"); err != nil {
			return fmt.Errorf("%q is not a valid host pattern; use * for any part of a name", pattern)
		}
	}
	return nil
}
