package ociimage

import (
	"context"
	"crypto/sha256"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/authn/kubernetes"
	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// credentials are one way to authenticate at a registry.
type credentials struct {
	// description credentials they are, for messages.
	description string
	// authenticator returns the credentials, after a token exchange if they need one.
	authenticator func(ctx context.Context) (authn.Authenticator, error)
}

// credentialCandidates returns the credentials to try at a registry, in this order: the pod's pull secrets, the
// identity of the env-injector for an Azure container registry, and anonymous.
func (i *Images) credentialCandidates(q Query, at name.Reference) []credentials {
	var all []credentials
	ready := func(whose string, auth authn.Authenticator) {
		all = append(all, credentials{whose, func(context.Context) (authn.Authenticator, error) { return auth, nil }})
	}
	for _, secret := range q.PullSecrets {
		if auth, ok := secret.credentialsFor(at); ok && len(all) < limits.ImageCredentials {
			ready("the pull secret "+secret.name, auth)
		}
	}
	registry := at.Context().RegistryStr()
	if i.Azure != nil && i.Azure.HasRegistry(registry) {
		all = append(all, credentials{"the identity of the env-injector",
			func(ctx context.Context) (authn.Authenticator, error) {
				token, err := i.Azure.RefreshToken(ctx, registry)
				if err != nil {
					return nil, err
				}
				// The documentation of Azure container registries prescribes this user name for tokens.
				return authn.FromConfig(authn.AuthConfig{Username: "00000000-0000-0000-0000-000000000000",
					IdentityToken: token}), nil
			}})
	}
	ready("anonymous", authn.Anonymous)
	return all
}

// PullSecret holds the registry credentials of a Secret, parsed once for all images of a pod.
type PullSecret struct {
	name     string
	hash     [sha256.Size]byte
	keychain authn.Keychain
}

// ParsePullSecret parses the credentials of a Secret. A malformed or too large Secret has none, as in the kubelet.
func ParsePullSecret(ctx context.Context, secret corev1.Secret) PullSecret {
	read := PullSecret{name: secret.Name}
	content := secret.Data[corev1.DockerConfigJsonKey]
	if secret.Type == corev1.SecretTypeDockercfg {
		content = secret.Data[corev1.DockerConfigKey]
	}
	if len(content) > limits.ImagePullSecretBytes || !isWithinJSONLimits(content) {
		return read
	}
	read.hash = sha256.Sum256(content)
	if keychain, err := kubernetes.NewFromPullSecrets(ctx, []corev1.Secret{secret}); err == nil {
		read.keychain = keychain
	}
	return read
}

// credentialsFor returns the credentials of the pull secret for the repository of the reference.
func (s PullSecret) credentialsFor(at name.Reference) (authn.Authenticator, bool) {
	if s.keychain == nil {
		return nil, false
	}
	for _, target := range repositoryNames(at) {
		if auth, err := s.keychain.Resolve(target); err == nil && auth != authn.Anonymous {
			return auth, true
		}
	}
	return nil, false
}

// repositoryName is one name of a repository, as pull secrets write it.
type repositoryName struct{ registry, repository string }

// String implements authn.Resource.
func (t repositoryName) String() string { return t.registry + "/" + t.repository }

// RegistryStr implements authn.Resource.
func (t repositoryName) RegistryStr() string { return t.registry }

// repositoryNames returns the names of a repository. Docker Hub has several host names.
func repositoryNames(at name.Reference) []authn.Resource {
	if registry := at.Context().RegistryStr(); registry != name.DefaultRegistry {
		return []authn.Resource{repositoryName{registry, at.Context().RepositoryStr()}}
	}
	var all []authn.Resource
	for _, registry := range []string{name.DefaultRegistry, "docker.io", "registry-1.docker.io"} {
		all = append(all, repositoryName{registry, at.Context().RepositoryStr()})
	}
	return all
}
