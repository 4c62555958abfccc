package ociimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/lru"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Question is about one image for one pod.
type Question struct {
	// Image as the pod has it.
	Image string
	// OS and Architecture are where the pod runs, for example linux and arm64. An empty architecture is any.
	OS, Architecture string
	// PullSecrets are the pod's, in the order in which they are tried.
	PullSecrets []corev1.Secret
}

// Command is what an image runs; each may be empty.
type Command struct {
	Entrypoint, Cmd []string
	// References are variables of the image's own environment whose values are meant as references. Others are not kept.
	References map[string]string
}

// equal says whether two images run the same.
func (c Command) equal(other Command) bool {
	return slices.Equal(c.Entrypoint, other.Entrypoint) && slices.Equal(c.Cmd, other.Cmd) && maps.Equal(c.References, other.References)
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
}

// entries bounds what is remembered, of tags and of images.
const entries = 2000

// Images looks into images, and remembers what it saw.
type Images struct {
	Config
	// tags are digests by image and credentials: who may not read an image learns nothing of what others saw.
	tags *lru.Cache
	// digests are commands by repository, digest and platform; only the way by tags leads here.
	digests *lru.Cache
	flights singleflight.Group
	// lookups are those under way.
	lookups chan struct{}
}

// atOnce bounds lookups that are under way; whoever can reach the webhook can ask for one.
const atOnce = 32

// seen is what a tag meant when it was looked at.
type seen struct {
	digest string
	at     time.Time
}

// New checks the configuration.
func New(c Config) (*Images, error) {
	if c.Transport == nil || c.Clock == nil || c.Timeout <= 0 || c.TagAge < 0 {
		return nil, errors.New("creating the image reader: a part of its configuration is missing")
	}
	return &Images{Config: c, tags: lru.New(entries), digests: lru.New(entries), lookups: make(chan struct{}, atOnce)}, nil
}

// Command is what the image runs. Who asks the same at the same time shares one lookup.
func (i *Images) Command(ctx context.Context, q Question) (Command, error) {
	reference, err := i.Registries.parse(q.Image)
	if err != nil {
		return Command{}, err
	}
	key := q.key()
	result := i.flights.DoChan(key, func() (any, error) {
		lookup, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.Timeout)
		defer cancel()
		return i.lookup(lookup, q, reference, key)
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return Command{}, r.Err
		}
		return r.Val.(Command), nil
	case <-ctx.Done():
		return Command{}, fault.New(fault.Unavailable, "looking into image %q: the registry %s did not answer in time", q.Image, reference.Context().RegistryStr())
	}
}

// key tells questions apart whose answers may differ, credentials included.
func (q Question) key() string {
	hash := sha256.New()
	part := func(content []byte) {
		hash.Write([]byte{byte(len(content)), byte(len(content) >> 8), byte(len(content) >> 16)})
		hash.Write(content)
	}
	for _, text := range []string{q.Image, q.OS, q.Architecture} {
		part([]byte(text))
	}
	for _, secret := range q.PullSecrets {
		part(secret.Data[corev1.DockerConfigJsonKey])
		part(secret.Data[corev1.DockerConfigKey])
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// lookup asks the image's mirrors and then its registry, each with the credentials that are for it.
func (i *Images) lookup(ctx context.Context, q Question, reference name.Reference, key string) (Command, error) {
	if known, ok := i.remembered(reference, q, key); ok {
		return known, nil
	}
	select {
	case i.lookups <- struct{}{}:
		defer func() { <-i.lookups }()
	case <-ctx.Done():
		return Command{}, fault.New(fault.Unavailable, "looking into image %q: too many images are looked into at once; try again", q.Image)
	}
	var first error
	for _, at := range append(i.Registries.mirrors(reference), reference) {
		digest, command, err := i.ask(ctx, q, at)
		if err == nil {
			i.tags.Add(key, seen{digest, i.Clock()})
			i.digests.Add(imageKey(reference, digest, q), command)
			return command, nil
		}
		// What the registry itself says comes last, and counts.
		first = err
	}
	return Command{}, first
}

// remembered is what was seen before: an image by digest is the same for ever, a tag only for a while.
func (i *Images) remembered(reference name.Reference, q Question, key string) (Command, bool) {
	value, ok := i.tags.Get(key)
	if !ok {
		return Command{}, false
	}
	tag := value.(seen)
	if _, pinned := reference.(name.Digest); !pinned && i.Clock().Sub(tag.at) > i.TagAge {
		return Command{}, false
	}
	command, ok := i.digests.Get(imageKey(reference, tag.digest, q))
	if !ok {
		return Command{}, false
	}
	return command.(Command), true
}

func imageKey(reference name.Reference, digest string, q Question) string {
	return strings.Join([]string{reference.Context().Name(), digest, q.OS, q.Architecture}, " ")
}
