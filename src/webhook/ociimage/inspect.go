package ociimage

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// readWithCandidates reads the command of the image with the first credentials that the registry accepts.
func (i *Images) readWithCandidates(ctx context.Context, q Query, at name.Reference) (digest string, command Command,
	err error) {
	var first error
	for _, candidate := range i.credentialCandidates(q, at) {
		digest, command, err = i.readWithCredentials(ctx, q, at, candidate)
		if err == nil {
			return digest, command, nil
		}
		if first == nil {
			first = err
		}
		if kind := fault.KindOf(err); kind != fault.Denied && kind != fault.NotFound {
			break // other credentials would not help
		}
	}
	return "", Command{}, first
}

// readWithCredentials reads the command of the image with one set of credentials.
func (i *Images) readWithCredentials(ctx context.Context, q Query, at name.Reference, with credentials) (string,
	Command, error) {
	t := &lookupTrace{registry: at.Context().RegistryStr(), answerBytes: i.answerBytes, owner: q.slotOwner()}
	defer t.releaseAnswers()
	ctx = withTrace(ctx, t)
	failure := func(err error) error { return i.explainFailure(ctx, err, failedAttempt{q, at, with, t}) }
	auth, err := with.authenticator(ctx)
	if err != nil {
		return "", Command{}, failure(err)
	}
	descriptor, err := remote.Get(at, remote.WithContext(ctx), remote.WithTransport(i.Transport), remote.WithAuth(auth),
		remote.WithRetryBackoff(singleRetryBackoff()),
		remote.WithRetryPredicate(isBrokenConnection), remote.WithUserAgent("akv2k8s"))
	if err != nil {
		return "", Command{}, failure(err)
	}
	command, err := commandFromDescriptor(descriptor, q)
	if err != nil {
		return "", Command{}, failure(err)
	}
	return descriptor.Digest.String(), command, nil
}

// singleRetryBackoff is a backoff with one retry. More retries would delay the admission of the pod.
func singleRetryBackoff() remote.Backoff {
	return remote.Backoff{Duration: 200 * time.Millisecond, Factor: 1, Steps: 2}
}

// isBrokenConnection reports whether a call is worth a retry: after a broken connection, and not after a timeout.
func isBrokenConnection(err error) bool {
	for _, broken := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET, net.ErrClosed} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return false
}

// commandFromDescriptor reads the command of an image, or of the images in an index that match the pod's platform.
func commandFromDescriptor(descriptor *remote.Descriptor, q Query) (Command, error) {
	if !descriptor.MediaType.IsIndex() {
		image, err := descriptor.Image()
		if err != nil {
			return Command{}, err
		}
		read, err := readConfig(image)
		if err != nil {
			return Command{}, err
		}
		return commandFromConfig(read)
	}
	index, err := descriptor.ImageIndex()
	if err != nil {
		return Command{}, err
	}
	fitting := newPlatformSearch(q)
	if err := fitting.searchIndex(index, 1); err != nil {
		return Command{}, err
	}
	return fitting.commonCommand()
}

// commandFromConfig takes the command and the references out of a configuration. It returns fault.Invalid if they are
// larger than limits.ImageCommandBytes.
func commandFromConfig(read imageConfig) (Command, error) {
	command := Command{Entrypoint: read.Config.Entrypoint, Cmd: read.Config.Cmd}
	for _, entry := range read.Config.Env {
		if name, value, _ := strings.Cut(entry, "="); envref.IsIntendedReference(value) {
			if command.References == nil {
				command.References = map[string]string{}
			}
			command.References[name] = value
		}
	}
	if size := command.size(); size > limits.ImageCommandBytes {
		return Command{}, fault.New(fault.Invalid,
			"the image's entrypoint, command and references have %s; the limit is %s",
			limits.Bytes(int64(size)), limits.Bytes(limits.ImageCommandBytes))
	}
	return command, nil
}
