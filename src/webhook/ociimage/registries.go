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

// Registries says which registries may be asked, and how.
type Registries struct {
	// Allow are hosts of registries (with port, if it is not 443) that may be asked, with * for a part of a name; none
	// means all.
	Allow []string
	// PlainHTTP are hosts that have no TLS.
	PlainHTTP []string
	// Mirrors are hosts, with or without a path, that are asked first, by the host whose images they have.
	Mirrors map[string][]string
}

func (r Registries) parse(image string) (name.Reference, error) {
	if len(image) > limits.ImageNameBytes {
		return nil, fault.New(fault.Invalid, "the image name %q… is longer than %s", image[:100],
			limits.Bytes(limits.ImageNameBytes))
	}
	reference, err := r.reference(image)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%q is not a valid image name", image)
	}
	if registry := reference.Context().RegistryStr(); len(r.Allow) > 0 && !matches(r.Allow, registry) {
		return nil, fault.New(fault.Denied,
			"looking into image %q: the registry %s is not allowed by the value env_injector.registries.allow", image,
			registry)
	}
	return reference, nil
}

// reference reads a name; a registry without TLS has to be known as such.
func (r Registries) reference(image string) (name.Reference, error) {
	reference, err := name.ParseReference(image)
	if err == nil && matches(r.PlainHTTP, reference.Context().RegistryStr()) {
		return name.ParseReference(image, name.Insecure)
	}
	return reference, err
}

// mirrors are the names of an image at its registry's mirrors.
func (r Registries) mirrors(reference name.Reference) []name.Reference {
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
		if at, err := r.reference(host + "/" + reference.Context().RepositoryStr() + separator +
			reference.Identifier()); err == nil {
			all = append(all, at)
		}
	}
	return all
}

// RegistryOf is the registry that an image comes from; empty if its name is not valid.
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

// matches says whether a host is one of the patterns, in which * stands for any part of a name.
func matches(patterns []string, host string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(host))
		return err == nil && ok
	})
}

// CheckPatterns says which pattern is none.
func CheckPatterns(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, "x"); err != nil {
			return fmt.Errorf("%q is no pattern of a host; use * for any part of a name", pattern)
		}
	}
	return nil
}
