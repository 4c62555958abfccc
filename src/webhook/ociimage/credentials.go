package ociimage

import (
	"context"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/authn/kubernetes"
	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// credentials are one way to ask.
type credentials struct {
	// whose they are, for messages.
	whose string
	// authenticator makes them ready.
	authenticator func(ctx context.Context) (authn.Authenticator, error)
}

// candidates are the ways to ask a registry, in their order: the pod's pull secrets, the installation's identity, and nobody's.
func (i *Images) candidates(ctx context.Context, q Question, at name.Reference) []credentials {
	var all []credentials
	ready := func(whose string, auth authn.Authenticator) {
		all = append(all, credentials{whose, func(context.Context) (authn.Authenticator, error) { return auth, nil }})
	}
	for _, secret := range q.PullSecrets {
		if auth, ok := ofSecret(ctx, secret, at); ok {
			ready("the pull secret "+secret.Name, auth)
		}
	}
	registry := at.Context().RegistryStr()
	if i.Azure != nil && i.Azure.Hosts(registry) {
		all = append(all, credentials{"the identity of the env-injector", func(ctx context.Context) (authn.Authenticator, error) {
			token, err := i.Azure.Token(ctx, registry)
			if err != nil {
				return nil, err
			}
			// The registry's tokens are for this user, by its documentation.
			return authn.FromConfig(authn.AuthConfig{Username: "00000000-0000-0000-0000-000000000000", IdentityToken: token}), nil
		}})
	}
	ready("anonymous", authn.Anonymous)
	return all
}

// ofSecret are the credentials that a pull secret has for the very repository. A secret that can't be read has none, as for the kubelet.
func ofSecret(ctx context.Context, secret corev1.Secret, at name.Reference) (authn.Authenticator, bool) {
	keychain, err := kubernetes.NewFromPullSecrets(ctx, []corev1.Secret{secret})
	if err != nil {
		return nil, false
	}
	for _, target := range targets(at) {
		if auth, err := keychain.Resolve(target); err == nil && auth != authn.Anonymous {
			return auth, true
		}
	}
	return nil, false
}

// target is a repository by a name that pull secrets use.
type target struct{ registry, repository string }

// String implements authn.Resource.
func (t target) String() string { return t.registry + "/" + t.repository }

// RegistryStr implements authn.Resource.
func (t target) RegistryStr() string { return t.registry }

// targets are the names of a repository; Docker Hub has several.
func targets(at name.Reference) []authn.Resource {
	if registry := at.Context().RegistryStr(); registry != name.DefaultRegistry {
		return []authn.Resource{target{registry, at.Context().RepositoryStr()}}
	}
	var all []authn.Resource
	for _, registry := range []string{name.DefaultRegistry, "docker.io", "registry-1.docker.io"} {
		all = append(all, target{registry, at.Context().RepositoryStr()})
	}
	return all
}

// Registries says which registries may be asked, and how.
type Registries struct {
	// Allow are hosts of registries (with port, if it is not 443) that may be asked, with * for a part of a name; none means all.
	Allow []string
	// PlainHTTP are hosts that have no TLS.
	PlainHTTP []string
	// Mirrors are hosts, with or without a path, that are asked first, by the host whose images they have.
	Mirrors map[string][]string
}

func (r Registries) parse(image string) (name.Reference, error) {
	reference, err := r.reference(image)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the image %q is no valid name", image)
	}
	if registry := reference.Context().RegistryStr(); len(r.Allow) > 0 && !matches(r.Allow, registry) {
		return nil, fault.New(fault.Denied, "looking into image %q: the registry %s is not allowed by the value env_injector.registries.allow", image, registry)
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
		if at, err := r.reference(host + "/" + reference.Context().RepositoryStr() + separator + reference.Identifier()); err == nil {
			all = append(all, at)
		}
	}
	return all
}
