package diagnosis

import "github.com/akv2k8s/akv2k8s/src/fault"

// registryAnswers are about looking for the command of an image. The cause names registry, answer and credentials
// before these words.
func registryAnswers() []Answer {
	const pull = "give the pod an image pull secret for {registry}, or for a registry of Azure the role AcrPull to " +
		"the identity of the env-injector; or write the container's command"
	row := func(status string, kind fault.Kind, cause, next string) Answer {
		return Answer{Registry, status, "", kind, cause, next}
	}
	return []Answer{
		row("401", fault.Denied, "the credentials are missing or wrong", pull),
		row("403", fault.Denied, "the credentials may not pull the image", pull),
		row("404", fault.NotFound, "the image or its tag is not there, or is hidden from these credentials",
			"correct the image's name and tag; or write the container's command"),
		row("429", fault.Throttled, "too many requests",
			"try again in a few minutes; pull with credentials, for which registries allow more, or write the "+
				"container's command"),
		row("5xx", fault.Unavailable, "the registry returned a server error",
			"try again; if it goes on, look at the registry, or write the container's command"),
		row("", fault.Unavailable, "the registry answered with an unexpected status",
			"look at what answers at {registry}; or write the container's command"),
	}
}
