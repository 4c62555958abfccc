package diagnosis

import "github.com/akv2k8s/akv2k8s/src/fault"

// registryAnswers returns the answers of a registry to reading the command of an image. ociimage writes the registry,
// the answer and the credentials before the cause.
func registryAnswers() []Answer {
	const pull = "give the pod an image pull secret for {registry}; for an Azure container registry, grant AcrPull " +
		"to the identity of the env-injector; or set the container's command"
	row := func(status string, kind fault.Kind, cause, next string) Answer {
		return Answer{Registry, status, "", kind, cause, next}
	}
	return []Answer{
		row("401", fault.Denied, "the credentials are missing or wrong", pull),
		row("403", fault.Denied, "the credentials do not allow pulling the image", pull),
		row("404", fault.NotFound, "the image or its tag does not exist, or these credentials have no access to it",
			"correct the image's name and tag; or set the container's command"),
		row("429", fault.Throttled, "too many requests",
			"try again in a few minutes; pull with credentials, for which registries allow more, or set the "+
				"container's command"),
		row("5xx", fault.Unavailable, "the registry returned a server error",
			"try again; if the error persists, check the registry, or set the container's command"),
		row("", fault.Unavailable, "the registry answered with an unexpected status",
			"check what answers at {registry}; or set the container's command"),
	}
}
