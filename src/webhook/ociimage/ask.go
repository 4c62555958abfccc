package ociimage

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

// maxPlatforms bounds how many images of an index are compared.
const maxPlatforms = 16

// ask reads the image's configuration with the first credentials that the registry takes.
func (i *Images) ask(ctx context.Context, q Question, at name.Reference) (digest string, command Command, err error) {
	var first error
	for _, candidate := range i.candidates(ctx, q, at) {
		digest, command, err = i.read(ctx, q, at, candidate)
		if err == nil {
			return digest, command, nil
		}
		if first == nil {
			first = err
		}
		if kind := fault.KindOf(err); kind != fault.Denied && kind != fault.NotFound {
			break // no other credentials would help
		}
	}
	return "", Command{}, first
}

func (i *Images) read(ctx context.Context, q Question, at name.Reference, with credentials) (string, Command, error) {
	auth, err := with.authenticator(ctx)
	if err != nil {
		return "", Command{}, &fault.Error{Kind: fault.KindOf(err), Doing: "looking into image " + at.String() + " with " + with.whose, Cause: err}
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(i.Transport), remote.WithAuth(auth), remote.WithRetryBackoff(once()),
		remote.WithUserAgent("akv2k8s")}
	descriptor, err := remote.Get(at, options...)
	if err != nil {
		return "", Command{}, i.explain(err, at, with)
	}
	command, err := commandOf(descriptor, q)
	if err != nil {
		return "", Command{}, i.explain(err, at, with)
	}
	return descriptor.Digest.String(), command, nil
}

// once tries a second time at most; whoever created the pod waits.
func once() remote.Backoff { return remote.Backoff{Duration: 200e6, Factor: 1, Steps: 2} }

// commandOf reads the configuration of an image, or of those images of an index that fit the platform.
func commandOf(descriptor *remote.Descriptor, q Question) (Command, error) {
	if !descriptor.MediaType.IsIndex() {
		image, err := descriptor.Image()
		if err != nil {
			return Command{}, err
		}
		return configured(image)
	}
	index, err := descriptor.ImageIndex()
	if err != nil {
		return Command{}, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return Command{}, err
	}
	fitting := fits(manifest, q)
	if len(fitting) == 0 {
		return Command{}, fault.New(fault.NotFound, "the image is not made for the pod's platform (%s/%s); correct the nodeSelector or the image", q.OS, q.Architecture)
	}
	var command Command
	for n, one := range fitting {
		image, err := index.Image(one.Digest)
		if err != nil {
			return Command{}, err
		}
		next, err := configured(image)
		if err != nil {
			return Command{}, err
		}
		if n > 0 && !next.equal(command) {
			return Command{}, fault.New(fault.Invalid, "the image runs different commands, or refers to Key Vault differently, on different platforms; say by the nodeSelector kubernetes.io/arch which the pod runs on")
		}
		command = next
	}
	return command, nil
}

// fits are the index's images for the platform. Attestations, which are listed beside the images, have none.
func fits(manifest *v1.IndexManifest, q Question) []v1.Descriptor {
	var fitting []v1.Descriptor
	for _, one := range manifest.Manifests {
		if !one.MediaType.IsImage() || one.Platform == nil || one.Platform.OS != q.OS || (q.Architecture != "" && one.Platform.Architecture != q.Architecture) {
			continue
		}
		if fitting = append(fitting, one); len(fitting) == maxPlatforms {
			break
		}
	}
	return fitting
}

func configured(image v1.Image) (Command, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return Command{}, err
	}
	command := Command{Entrypoint: config.Config.Entrypoint, Cmd: config.Config.Cmd}
	for _, entry := range config.Config.Env {
		if name, value, _ := strings.Cut(entry, "="); envref.Meant(value) {
			if command.References == nil {
				command.References = map[string]string{}
			}
			command.References[name] = value
		}
	}
	return command, nil
}

// code is what a registry calls an error; anything else that stands there is not passed on.
var code = regexp.MustCompile(`^[A-Z_]{1,40}$`)

// explain classifies by status and code. The text of an answer is never passed on: it may be what an internal service says to us alone.
func (i *Images) explain(err error, at name.Reference, with credentials) error {
	e := &fault.Error{Kind: fault.Unavailable, Doing: "looking into image " + at.String()}
	registry := at.Context().RegistryStr()
	var classified *fault.Error
	var answer *transport.Error
	switch {
	case errors.As(err, &classified):
		e.Kind, e.Cause = classified.Kind, classified
	case errors.As(err, &answer):
		e.Kind = kindOf(answer.StatusCode)
		text := fmt.Sprintf("the registry %s answered %d", registry, answer.StatusCode)
		if len(answer.Errors) > 0 && code.MatchString(string(answer.Errors[0].Code)) {
			text += " " + string(answer.Errors[0].Code)
		}
		e.Cause = errors.New(text + " to " + with.whose)
	default:
		e.Cause = errors.New("the registry " + registry + " " + network(err))
	}
	return e
}

func kindOf(status int) fault.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.Denied
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusTooManyRequests:
		return fault.Throttled
	}
	return fault.Unavailable
}

// network says what kind of trouble the connection had.
func network(err error) string {
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &dns):
		return "does not resolve"
	case errors.As(err, &authority):
		return "has a certificate of an unknown authority; add it to global.extraCACertificates"
	case errors.As(err, &host):
		return "has a certificate for another name"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "has no TLS; if that is meant, add it to the value env_injector.registries.plainHTTP"
	case errors.Is(err, context.DeadlineExceeded):
		return "did not answer in time"
	}
	return "could not be read"
}
