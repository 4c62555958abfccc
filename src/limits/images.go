package limits

import "time"

// Limits of the images of one pod.
const (
	ImageNameBytes        = 1 << 10
	ImageRegistriesPerPod = 8
	ImagePullSecrets      = 32
	ImagePullSecretBytes  = 256 << 10
	ImageCredentials      = 8
)

// Limits of look-ups in flight.
const (
	ImageLookups             = 64
	ImageLookupsPerNamespace = 16
	ImageLookupsPerRegistry  = 8
	ImageLookupsWaiting      = 128
	ImageLookupGrace         = 2 * time.Second
	ImageErrorCacheAge       = 5 * time.Second
)

// Limits of one call of a registry and its answer.
const (
	ImageDialTime       = 5 * time.Second
	ImageAnswerTime     = 10 * time.Second
	ImageRedirects      = 3
	ImageHeaderBytes    = 32 << 10
	ImageChallengeBytes = 4 << 10
	ImageManifestBytes  = 1 << 20
	ImageConfigBytes    = 2 << 20
	ImageAnswersBytes   = 24 << 20
	ImageTokenBytes     = 64 << 10
	ImageErrorBytes     = 16 << 10
	ImageAnswerElements = 10_000
	ImageAnswerDepth    = 32
)

// Limits of the content of an image.
const (
	ImageManifests    = 24
	ImageIndexDepth   = 3
	ImageCommandBytes = 128 << 10
)

// Limits of caches, circuit breakers and log lines.
const (
	ImageCacheBytes         = 16 << 20
	ImageTagCacheBytes      = 1 << 20
	ImageErrorCacheBytes    = 1 << 20
	ImageRegistryTokens     = 100
	ImageRegistryTokenBytes = 16 << 10
	ImageBreakerHosts       = 2_000
	ImageBreakerFailures    = 3
	ImageBreakerSlowCall    = 4 * time.Second
	ImageBreakerPause       = 10 * time.Second
	ImageFailureLogRate     = 5
)

// imagesArea lists the limits of reading the command of an image from its registry.
func imagesArea() Area {
	limits := imageQuestionLimits()
	limits = append(limits, imageLookupLimits()...)
	limits = append(limits, imageAnswerLimits()...)
	limits = append(limits, imageContentLimits()...)
	return Area{Title: "Image look-ups", Limits: append(limits, imageMemoryLimits()...)}
}

// imageQuestionLimits returns the limits of the images of one pod.
func imageQuestionLimits() []Limit {
	return []Limit{
		{Name: "ImageNameBytes", Value: Bytes(ImageNameBytes), Subject: "Name of an image",
			Exceeded: "The pod is rejected",
			Reason:   "The host of a registry, a repository (255) and a digest are far shorter"},
		{Name: "ImageRegistriesPerPod", Value: Count(ImageRegistriesPerPod),
			Subject: "Registries that are called for one pod",
			Exceeded: "The pod is rejected before any registry is called; the message names the first container " +
				"beyond the limit. Containers without a known reference are not injected, with a warning",
			Reason: "Each registry that does not answer delays the review by up to 5 seconds"},
		{Name: "ImagePullSecrets", Value: Count(ImagePullSecrets), Subject: "Pull secrets that are read for one pod",
			Exceeded: "Later entries of imagePullSecrets are skipped, with a log line",
			Reason:   "Each one is a read of the API server"},
		{Name: "ImagePullSecretBytes", Value: Bytes(ImagePullSecretBytes), Subject: "Content of a pull secret",
			Exceeded: "The pull secret is skipped", Reason: "Usual pull secrets have less than 10 KiB"},
		{Name: "ImageCredentials", Value: Count(ImageCredentials),
			Subject:  "Credentials that are tried at one registry for one image",
			Exceeded: "Later pull secrets are not tried",
			Reason:   "Registries lock accounts and addresses after repeated failures"},
	}
}

// imageLookupLimits returns the limits of look-ups in flight.
func imageLookupLimits() []Limit {
	return []Limit{
		{Name: "ImageLookups", Value: Count(ImageLookups), Subject: "Look-ups in flight",
			Exceeded: "A look-up waits. A look-up of the namespace with the most of them ends early when it has had " +
				"no result for " +
				Duration(ImageLookupGrace) + " and another namespace waits",
			Reason: "Each holds a connection, and its answers in memory (ImageAnswersBytes)"},
		{Name: "ImageLookupsPerNamespace", Value: Count(ImageLookupsPerNamespace),
			Subject: "Look-ups in flight for one namespace",
			Exceeded: "A look-up waits; the oldest one of the namespace ends early when it has had no result for " +
				Duration(ImageLookupGrace),
			Reason: "A quarter of all look-ups, so that one namespace cannot take all slots"},
		{Name: "ImageLookupsPerRegistry", Value: Count(ImageLookupsPerRegistry),
			Subject:  "Look-ups in flight for one namespace at one registry",
			Exceeded: "A look-up waits", Reason: "A slow registry delays only its own images"},
		{Name: "ImageLookupsWaiting", Value: Count(ImageLookupsWaiting),
			Subject:  "Waiting look-ups of one namespace",
			Exceeded: "The pod is rejected; its controller retries",
			Reason:   "Pods with the same image share one look-up"},
		{Name: "ImageLookupGrace", Value: Duration(ImageLookupGrace),
			Subject:  "Time for which a look-up keeps its slot while others wait",
			Exceeded: "The look-up ends and the pod is rejected; its controller retries",
			Reason:   "Registries usually answer all requests of a look-up in less than a second"},
		{Name: "ImageErrorCacheAge", Value: Duration(ImageErrorCacheAge),
			Subject: "Time for which an error of a registry (401, 403, 404, 429) is cached for the same " +
				"namespace, image and credentials",
			Exceeded: "The registry is called again",
			Reason:   "Saves the registry the retries of controllers, and a correction takes effect soon"},
	}
}

// imageAnswerLimits returns the limits of one call of a registry and its answer.
func imageAnswerLimits() []Limit {
	refused := "The pod is rejected, and the log has the cause"
	return []Limit{
		{Name: "ImageDialTime", Value: Duration(ImageDialTime),
			Subject:  "Name resolution and connection; TLS handshake",
			Exceeded: refused,
			Reason:   "Reachable registries take milliseconds"},
		{Name: "ImageAnswerTime", Value: Duration(ImageAnswerTime),
			Subject:  "One call of a registry or token server, with its whole answer",
			Exceeded: refused, Reason: "Half of the time for a look-up"},
		{Name: "ImageRedirects", Value: Count(ImageRedirects),
			Subject:  "Redirects of one call; none for token requests",
			Exceeded: refused,
			Reason:   "Registries redirect once, to their storage"},
		{Name: "ImageHeaderBytes", Value: Bytes(ImageHeaderBytes), Subject: "Headers of an answer", Exceeded: refused,
			Reason: "Usual answers have 1 KiB"},
		{Name: "ImageChallengeBytes", Value: Bytes(ImageChallengeBytes),
			Subject: "WWW-Authenticate headers of an answer", Exceeded: refused,
			Reason: "Usual challenges have 200 bytes; parsing is quadratic"},
		{Name: "ImageManifestBytes", Value: Bytes(ImageManifestBytes), Subject: "Manifest or index", Exceeded: refused,
			Reason: "Usual ones have less than 20 KiB"},
		{Name: "ImageConfigBytes", Value: Bytes(ImageConfigBytes), Subject: "Configuration of an image",
			Exceeded: refused,
			Reason:   "Usual ones have less than 20 KiB, and a few hundred KiB with a bill of materials in labels"},
		{Name: "ImageAnswersBytes", Value: Bytes(ImageAnswersBytes),
			Subject: "Answers that all look-ups hold at once. A namespace has at most half, and less while others " +
				"hold some",
			Exceeded: "The pod is rejected; its controller retries",
			Reason:   "Decoding takes about three times as much, which fits into the memory limit of the chart"},
		{Name: "ImageTokenBytes", Value: Bytes(ImageTokenBytes), Subject: "Answer of a token server", Exceeded: refused,
			Reason: "Usual tokens have less than 4 KiB"},
		{Name: "ImageErrorBytes", Value: Bytes(ImageErrorBytes), Subject: "Body of an error answer",
			Exceeded: "The rest is not read", Reason: "Only the code of the error is used"},
		{Name: "ImageAnswerElements", Value: Count(ImageAnswerElements),
			Subject:  "JSON elements of an answer or of a pull secret, counted before decoding",
			Exceeded: refused, Reason: "An image with 127 layers has about 1,000"},
		{Name: "ImageAnswerDepth", Value: Count(ImageAnswerDepth),
			Subject: "JSON nesting of an answer or of a pull secret", Exceeded: refused,
			Reason: "Manifests have 5 levels"},
	}
}

// imageContentLimits returns the limits of the content of an image.
func imageContentLimits() []Limit {
	return []Limit{
		{Name: "ImageManifests", Value: Count(ImageManifests),
			Subject:  "Manifests that are read for one image with several platforms",
			Exceeded: "The pod is rejected; kubernetes.io/arch in its nodeSelector reduces them to one",
			Reason:   "Images for all Linux platforms have 12"},
		{Name: "ImageIndexDepth", Value: Count(ImageIndexDepth), Subject: "Indexes inside indexes",
			Exceeded: "The pod is rejected",
			Reason:   "Builders nest indexes once"},
		{Name: "ImageCommandBytes", Value: Bytes(ImageCommandBytes),
			Subject:  "Entrypoint, command and references of an image together",
			Exceeded: "The pod is rejected; set command in the container",
			Reason:   "Linux passes at most 128 KiB in one argument, and the result becomes a part of the pod"},
	}
}

// imageMemoryLimits returns the limits of caches, circuit breakers and log lines.
func imageMemoryLimits() []Limit {
	return []Limit{
		{Name: "ImageCacheBytes", Value: Bytes(ImageCacheBytes), Subject: "Cached commands of images",
			Exceeded: "The least recently used are evicted",
			Reason:   "Room for more than 20,000 usual images"},
		{Name: "ImageTagCacheBytes", Value: Bytes(ImageTagCacheBytes), Subject: "Cached digests of tags",
			Exceeded: "The least recently used are evicted",
			Reason:   "Room for about 3,000"},
		{Name: "ImageErrorCacheBytes", Value: Bytes(ImageErrorCacheBytes),
			Subject:  "Cached errors of registries",
			Exceeded: "The least recently used are evicted", Reason: "Room for about 2,000"},
		{Name: "ImageRegistryTokens", Value: Count(ImageRegistryTokens),
			Subject:  "Cached tokens of Azure container registries",
			Exceeded: "The least recently used are evicted, and exchanged again",
			Reason:   "More registries than a cluster uses"},
		{Name: "ImageRegistryTokenBytes", Value: Bytes(ImageRegistryTokenBytes),
			Subject:  "Token of an Azure container registry",
			Exceeded: "The pod is rejected, and the log has the cause", Reason: "Usual tokens have 2 KiB"},
		{Name: "ImageBreakerHosts", Value: Count(ImageBreakerHosts), Subject: "Hosts with a circuit breaker",
			Exceeded: "The least recently used are evicted", Reason: "An entry has about 200 bytes"},
		{Name: "ImageBreakerFailures", Value: Count(ImageBreakerFailures),
			Subject:  "Consecutive slow failures of a host",
			Exceeded: "Calls of the host fail at once for " + Duration(ImageBreakerPause) + "; then one call tries it",
			Reason:   "One lost connection does not mean that a host is down"},
		{Name: "ImageBreakerSlowCall", Value: Duration(ImageBreakerSlowCall),
			Subject:  "Time after which a call without an answer is a slow failure",
			Exceeded: "The call counts toward the limit above",
			Reason: "Fast failures delay no pod, and callers that cancel early must not block a host for " +
				"others"},
		{Name: "ImageBreakerPause", Value: Duration(ImageBreakerPause),
			Subject:  "Time for which a host is not called after these failures",
			Exceeded: "One call tries it", Reason: "Pods start soon after a registry recovers"},
		{Name: "ImageFailureLogRate", Value: Rate(ImageFailureLogRate),
			Subject:  "Log lines about registries that could not be read",
			Exceeded: "The line is omitted, and the message to the pod's author says so",
			Reason:   "Everybody who can create pods can cause such lines"},
	}
}
