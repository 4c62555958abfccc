package ociimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/time/rate"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Question is about one image for one pod.
type Question struct {
	// Namespace of the pod. Look-ups are shared out by it.
	Namespace string
	// Image as the pod has it.
	Image string
	// OS and Architecture are where the pod runs, for example linux and arm64. An empty architecture is any.
	OS, Architecture string
	// PullSecrets are the pod's, in the order in which they are tried.
	PullSecrets []PullSecret
}

// Command is what an image runs; each may be empty.
type Command struct {
	Entrypoint, Cmd []string
	// References are variables of the image's own environment whose values are meant as references. Others are not
	// kept.
	References map[string]string
}

// equal says whether two images run the same.
func (c Command) equal(other Command) bool {
	return slices.Equal(c.Entrypoint, other.Entrypoint) && slices.Equal(c.Cmd, other.Cmd) &&
		maps.Equal(c.References, other.References)
}

// size is the number of bytes that the command takes, with what Go adds to each string.
func (c Command) size() int {
	const header = 16
	size := 0
	for _, text := range append(slices.Clone(c.Entrypoint), c.Cmd...) {
		size += len(text) + header
	}
	for name, value := range c.References {
		size += len(name) + len(value) + 4*header
	}
	return size
}

// Exchange gives a refresh token for a registry of Azure, by the identity of the installation.
type Exchange interface {
	// Hosts says whether the registry is one of Azure's, by its whole name.
	Hosts(registry string) bool
	Token(ctx context.Context, registry string) (string, error)
}

// Config is what Images works with.
type Config struct {
	// Transport makes the calls; see NewTransport.
	Transport http.RoundTripper
	// Azure is the way into registries of Azure; may be nil.
	Azure Exchange
	// Registries says which may be asked, and how.
	Registries Registries
	// TagAge is how long a tag is believed to mean the same image.
	TagAge time.Duration
	// Timeout bounds one lookup.
	Timeout time.Duration
	Clock   func() time.Time
	// Log gets the causes that pods' authors are not shown.
	Log logr.Logger
}

// Images looks into images, and remembers what it saw.
type Images struct {
	Config
	// tags are digests by image and credentials: who may not read an image learns nothing of what others saw.
	tags *cache[seen]
	// digests are commands by repository, digest and platform; only the way by tags leads here.
	digests *cache[Command]
	// refusals are what registries answered to a namespace, image and credentials a moment ago.
	refusals *cache[refusal]
	flights  flights
	places   places
	lines    *rate.Limiter
}

// seen is what a tag meant when it was looked at.
type seen struct {
	digest string
	at     time.Time
}

// refusal is an error that a registry gave.
type refusal struct {
	err error
	at  time.Time
}

// New checks the configuration.
func New(c Config) (*Images, error) {
	if c.Transport == nil || c.Clock == nil || c.Timeout <= 0 || c.TagAge < 0 {
		return nil, errors.New("creating the image reader: a part of its configuration is missing")
	}
	return &Images{Config: c,
		tags:     newCache(limits.ImageTagCacheBytes, func(s seen) int { return len(s.digest) }),
		digests:  newCache(limits.ImageCacheBytes, Command.size),
		refusals: newCache(limits.ImageRefusalCacheBytes, func(r refusal) int { return len(r.err.Error()) }),
		lines:    rate.NewLimiter(limits.ImageFailureLines, 10*limits.ImageFailureLines),
	}, nil
}

// Command is what the image runs. Callers who ask the same at the same time share one look-up, which ends when nobody
// waits for it.
func (i *Images) Command(ctx context.Context, q Question) (Command, error) {
	reference, err := i.Registries.parse(q.Image)
	if err != nil {
		return Command{}, err
	}
	key := q.key()
	if known, err, ok := i.remembered(reference, q, key); ok {
		return known, err
	}
	// A look-up is in the places of the namespace that asked first, so namespaces do not share them.
	command, err := i.flights.do(ctx, q.Namespace+" "+key, func(ctx context.Context) (Command, error) {
		ctx, cancel := context.WithTimeout(ctx, i.Timeout)
		defer cancel()
		return i.lookup(ctx, q, reference, key)
	})
	if err != nil && fault.KindOf(err) == fault.Bug { // the caller's own context ended
		waited := failed{q: q, at: reference, with: credentials{whose: "not known yet"}, trace: &trace{}}
		return Command{}, i.unreachable(waited,
			"it did not answer in the time that the API server waits for the admission of the pod")
	}
	return command, err
}

// key tells questions apart whose answers may differ, credentials included.
func (q Question) key() string {
	hash := sha256.New()
	for _, text := range []string{q.Image, q.OS, q.Architecture} {
		fmt.Fprintf(hash, "%d:%s", len(text), text)
	}
	for _, secret := range q.PullSecrets {
		hash.Write(secret.hash[:])
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// lookup asks the image's mirrors and then its registry, each with the credentials that are for it.
func (i *Images) lookup(ctx context.Context, q Question, reference name.Reference, key string) (Command, error) {
	ctx, release, err := i.places.acquire(ctx, q.Namespace, reference.Context().RegistryStr())
	if err != nil {
		return Command{}, &fault.Error{Kind: fault.Throttled, Doing: fmt.Sprintf("looking into image %q", q.Image),
			Cause: fmt.Errorf("too many images of namespace %s are being looked into", q.Namespace), Next: "try again"}
	}
	defer release()
	var last error
	for _, at := range append(i.Registries.mirrors(reference), reference) {
		digest, command, err := i.ask(ctx, q, at)
		if err == nil {
			i.tags.add(key, seen{digest, i.Clock()})
			i.digests.add(imageKey(reference, digest, q), command)
			return command, nil
		}
		// What the registry itself says comes last, and counts.
		last = err
	}
	if slices.Contains([]fault.Kind{fault.Denied, fault.NotFound, fault.Throttled}, fault.KindOf(last)) &&
		ctx.Err() == nil {
		i.refusals.add(q.Namespace+" "+key, refusal{last, i.Clock()})
	}
	return Command{}, last
}

// remembered is what was seen before: an image by digest is the same for ever, a tag only for a while, and a refusal
// for a moment.
func (i *Images) remembered(reference name.Reference, q Question, key string) (Command, error, bool) {
	if tag, ok := i.tags.get(key); ok {
		_, pinned := reference.(name.Digest)
		if command, ok := i.digests.get(imageKey(reference, tag.digest, q)); ok &&
			(pinned || i.Clock().Sub(tag.at) <= i.TagAge) {
			return command, nil, true
		}
	}
	if refused, ok := i.refusals.get(q.Namespace + " " + key); ok &&
		i.Clock().Sub(refused.at) < limits.ImageRefusalAge {
		return Command{}, refused.err, true
	}
	return Command{}, nil, false
}

func imageKey(reference name.Reference, digest string, q Question) string {
	return strings.Join([]string{reference.Context().Name(), digest, q.OS, q.Architecture}, " ")
}
