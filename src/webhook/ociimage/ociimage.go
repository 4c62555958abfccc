package ociimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/time/rate"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Query identifies an image and the pod that runs it.
type Query struct {
	// Namespace of the pod. Each namespace has its share of the look-up slots.
	Namespace string
	// Untrusted is true if it is not known that the API server sent the review. Anyone can name any namespace in such a
	// review, so these look-ups have a share of their own.
	Untrusted bool
	// Image as written in the pod.
	Image string
	// OS and Architecture of the pod's node, for example linux and arm64. An empty architecture means any.
	OS, Architecture string
	// PullSecrets of the pod, in the order in which they are tried.
	PullSecrets []PullSecret
}

// slotOwner is the key of the share of the look-up slots that a query uses.
func (q Query) slotOwner() string {
	if q.Untrusted {
		return "untrusted/" + q.Namespace // no name of a namespace has a slash
	}
	return q.Namespace
}

// Command is the command of an image. Entrypoint and Cmd can be empty.
type Command struct {
	Entrypoint, Cmd []string
	// References are the variables of the image's environment whose values are meant as references, by name.
	References map[string]string
}

// equal reports whether two images have the same command and references.
func (c Command) equal(other Command) bool {
	return slices.Equal(c.Entrypoint, other.Entrypoint) && slices.Equal(c.Cmd, other.Cmd) &&
		maps.Equal(c.References, other.References)
}

// size is the memory of the command in bytes, with the string headers of Go.
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

// TokenExchange returns refresh tokens of Azure container registries for the identity of the installation.
type TokenExchange interface {
	// HasRegistry reports whether the host name is that of an Azure container registry.
	HasRegistry(registry string) bool
	// RefreshToken returns a refresh token for the registry.
	RefreshToken(ctx context.Context, registry string) (string, error)
}

// Config configures Images.
type Config struct {
	// Transport makes the calls; see NewTransport.
	Transport http.RoundTripper
	// Azure authenticates at Azure container registries; nil disables it.
	Azure TokenExchange
	// Registries are the rules for registries.
	Registries Registries
	// TagAge is how long the digest of a tag stays in the cache.
	TagAge time.Duration
	// Timeout of one look-up.
	Timeout time.Duration
	Clock   func() time.Time
	// Log receives the causes that the authors of pods must not see.
	Log logr.Logger
}

// Images reads and caches the commands of images. It is safe for concurrent use.
type Images struct {
	Config
	// digestsByTag are digests by image and credentials. The credentials are in the key, so that a pod without access
	// to an image learns nothing from the look-ups of others.
	digestsByTag *cache[resolvedTag]
	// commandsByDigest are commands by repository, digest and platform. A caller needs the digest from tags to read
	// them.
	commandsByDigest *cache[Command]
	// recentErrors are recent errors of registries by namespace, image and credentials.
	recentErrors *cache[recentError]
	inFlight     inFlightCalls
	slots        lookupSlots
	// answerBytes are the bytes of answers that look-ups hold, shared by namespace.
	answerBytes     *fairshare.Pool
	causeLogLimiter *rate.Limiter
}

// resolvedTag is the digest of a tag at the time of its look-up.
type resolvedTag struct {
	digest     string
	resolvedAt time.Time
}

// recentError is an error of a registry and its time.
type recentError struct {
	err      error
	failedAt time.Time
}

// New returns Images without cached commands, or an error if a required field of the configuration is missing.
func New(c Config) (*Images, error) {
	if err := fault.RequireFields("ociimage.New", map[string]bool{
		"Transport": c.Transport != nil, "Clock": c.Clock != nil, "Timeout": c.Timeout > 0, "TagAge": c.TagAge >= 0,
	}); err != nil {
		return nil, err
	}
	return &Images{Config: c,
		digestsByTag:     newCache(limits.ImageTagCacheBytes, func(s resolvedTag) int { return len(s.digest) }),
		commandsByDigest: newCache(limits.ImageCacheBytes, Command.size),
		recentErrors:     newCache(limits.ImageErrorCacheBytes, func(r recentError) int { return len(r.err.Error()) }),
		answerBytes:      fairshare.NewPool(limits.ImageAnswersBytes),
		causeLogLimiter:  rate.NewLimiter(limits.ImageFailureLogRate, 10*limits.ImageFailureLogRate),
	}, nil
}

// ReadCommand returns the command of the image, from the cache or from its registry. Concurrent callers with the same
// question share one look-up, which is canceled when no caller waits for it. The error is a fault.Error.
func (i *Images) ReadCommand(ctx context.Context, q Query) (Command, error) {
	reference, err := i.Registries.parseAllowedImage(q.Image)
	if err != nil {
		return Command{}, err
	}
	key := q.cacheKey()
	if known, err, ok := i.cachedResult(reference, q, key); ok {
		return known, err
	}
	// A look-up takes a slot of one namespace, so namespaces do not share look-ups.
	command, err := i.inFlight.shareCall(ctx, q.Namespace+" "+key, func(ctx context.Context) (Command, error) {
		ctx, cancel := context.WithTimeout(ctx, i.Timeout)
		defer cancel()
		return i.lookUpImage(ctx, q, reference, key)
	})
	if err != nil && fault.KindOf(err) == fault.Bug { // the caller's context ended
		waited := failedAttempt{query: q, reference: reference, credentials: credentials{description: "not known yet"},
			lookupTrace: &lookupTrace{}}
		return Command{}, i.unreachableError(waited,
			"it did not answer within the time that the API server allows for the admission of the pod")
	}
	return command, err
}

// cacheKey is the cache key: everything that the answer depends on, credentials included.
func (q Query) cacheKey() string {
	hash := sha256.New()
	for _, text := range []string{q.Image, q.OS, q.Architecture} {
		fmt.Fprintf(hash, "%d:%s", len(text), text)
	}
	for _, secret := range q.PullSecrets {
		hash.Write(secret.hash[:])
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// lookUpImage reads the image from its mirrors and then from its registry, each with its own credentials.
func (i *Images) lookUpImage(ctx context.Context, q Query, reference name.Reference, key string) (Command, error) {
	ctx, release, err := i.slots.acquireSlot(ctx, q.slotOwner(), reference.Context().RegistryStr())
	if err != nil {
		return Command{}, &fault.Error{Kind: fault.Throttled,
			Operation: fmt.Sprintf("reading the command of image %q", q.Image),
			Cause:     fmt.Errorf("namespace %s has too many image look-ups", q.Namespace), Next: "try again"}
	}
	defer release()
	var last error
	for _, at := range append(i.Registries.mirrorsOf(reference), reference) {
		digest, command, err := i.readWithCandidates(ctx, q, at)
		if err == nil {
			i.digestsByTag.add(key, resolvedTag{digest, i.Clock()})
			i.commandsByDigest.add(imageKey(reference, digest, q), command)
			return command, nil
		}
		// The registry is the last of them, and its error is the one to report.
		last = err
	}
	if slices.Contains([]fault.Kind{fault.Denied, fault.NotFound, fault.Throttled}, fault.KindOf(last)) &&
		ctx.Err() == nil {
		i.recentErrors.add(q.Namespace+" "+key, recentError{last, i.Clock()})
	}
	return Command{}, last
}

// cachedResult returns the cached command or error. The command of a digest is valid forever, that of a tag for TagAge,
// and an error for limits.ImageRefusalAge.
func (i *Images) cachedResult(reference name.Reference, q Query, key string) (Command, error, bool) {
	if tag, ok := i.digestsByTag.get(key); ok {
		_, pinned := reference.(name.Digest)
		if command, ok := i.commandsByDigest.get(imageKey(reference, tag.digest, q)); ok &&
			(pinned || i.Clock().Sub(tag.resolvedAt) <= i.TagAge) {
			return command, nil, true
		}
	}
	if refused, ok := i.recentErrors.get(q.Namespace + " " + key); ok &&
		i.Clock().Sub(refused.failedAt) < limits.ImageErrorCacheAge {
		return Command{}, refused.err, true
	}
	return Command{}, nil, false
}

func imageKey(reference name.Reference, digest string, q Query) string {
	return strings.Join([]string{reference.Context().Name(), digest, q.OS, q.Architecture}, " ")
}
