package limits

import "time"

// Bounds inside an injected pod: its waits, and what it reads from others.
const (
	// WaitBeforeStart bounds the wait of the init container for values in a pod that the kubelet restarts.
	WaitBeforeStart = 5 * time.Minute
	// WaitWithoutRestart bounds the wait for values where nothing counts as ready meanwhile, or nothing restarts.
	WaitWithoutRestart = time.Minute
	// WaitWhileReady bounds the wait for values of a container that Kubernetes may count as ready.
	WaitWhileReady = 10 * time.Second
	// RetryAfterTime bounds what a server may ask the injector to wait.
	RetryAfterTime = time.Minute
	// RetryWait bounds one wait between retries that the user configured.
	RetryWait = time.Hour
	// AuthServiceTime bounds one request to the auth service, from name resolution to the last byte.
	AuthServiceTime = 30 * time.Second
	// AuthServiceHeaderBytes and AuthServiceErrorBytes bound the header of an answer, and the body of one without
	// values.
	AuthServiceHeaderBytes = 32 << 10
	AuthServiceErrorBytes  = 64 << 10
	// APIServerTime, APIServerHeaderBytes and ResourceBytes bound a request for an AzureKeyVaultSecret without the auth
	// service.
	APIServerTime        = 10 * time.Second
	APIServerHeaderBytes = 32 << 10
	ResourceBytes        = 3 << 20
	// EnvironmentBytes bounds the arguments and variables of a program together, while they are expanded.
	EnvironmentBytes = 6 << 20
	// TerminationMessageBytes bounds the termination message.
	TerminationMessageBytes = 4 << 10
	// CheckedReferencesBytes bounds the references that the init container checks, as written into its variable.
	CheckedReferencesBytes = 64 << 10
	// StartupProbeFailures bounds how often the startup probe of the env-injector may fail, once per second.
	StartupProbeFailures = 24 * 60 * 60
)

// injectorArea lists the bounds of what happens inside an injected pod.
func injectorArea() Area {
	waits := []Limit{
		{Name: "WaitBeforeStart", Value: Duration(WaitBeforeStart),
			Bounds: "Wait of the init container for values, where the kubelet restarts it",
			Exceeded: "The init container ends with 75, `kubectl describe pod` shows the reason, and the kubelet " +
				"restarts it",
			Reason: "The pod is not ready meanwhile, so a rollout waits with it", Setting: "ENV_INJECTOR_TIMEOUT"},
		{Name: "WaitWithoutRestart", Value: Duration(WaitWithoutRestart),
			Bounds: "Wait for values with `restartPolicy: Never`, in init containers, and in containers with a " +
				"startup or readiness probe",
			Exceeded: "The container ends with 75", Reason: "Longer than a vault or a replica is away in a failover",
			Setting: "ENV_INJECTOR_TIMEOUT"},
		{Name: "WaitWhileReady", Value: Duration(WaitWhileReady),
			Bounds:   "Wait for values in any other container, requests included",
			Exceeded: "The container ends with 75, and the kubelet restarts it",
			Reason:   "Kubernetes counts it as ready while it waits", Setting: "ENV_INJECTOR_TIMEOUT"},
		{Name: "RetryAfterTime", Value: Duration(RetryAfterTime), Bounds: "Retry-After of a server, in an injected pod",
			Exceeded: "The injector retries after this time", Reason: "A server must not stop a pod for a day"},
		{Name: "RetryWait", Value: Duration(RetryWait), Bounds: "One wait by `ENV_INJECTOR_WAIT_BEFORE_RETRY`, doubled",
			Exceeded: "The injector waits this long", Reason: "Doubling would overflow"},
		{Name: "StartupProbeFailures", Value: Count(StartupProbeFailures),
			Bounds:   "Failures of the startup probe that the env-injector adds, one per second",
			Exceeded: "The kubelet restarts the container", Reason: "A day; the probe follows `ENV_INJECTOR_TIMEOUT`"},
	}
	return Area{Title: "Injected pods", Limits: append(waits, injectorSizes()...)}
}

// injectorSizes are the bounds in bytes, and those of single requests.
func injectorSizes() []Limit {
	return []Limit{
		{Name: "AuthServiceTime", Value: Duration(AuthServiceTime), Bounds: "One request to the auth service",
			Exceeded: "The injector retries", Reason: "A little longer than the auth service works on a request"},
		{Name: "AuthServiceHeaderBytes", Value: Bytes(AuthServiceHeaderBytes),
			Bounds:   "Header of an answer of the auth service",
			Exceeded: "The injector retries", Reason: "The auth service sends a few hundred bytes"},
		{Name: "AuthServiceErrorBytes", Value: Bytes(AuthServiceErrorBytes),
			Bounds:   "Answer of the auth service that has no values",
			Exceeded: "The injector retries", Reason: "An error is one sentence, which may name a long list of keys"},
		{Name: "APIServerTime", Value: Duration(APIServerTime),
			Bounds:   "One request of a pod for an AzureKeyVaultSecret, without the auth service",
			Exceeded: "The injector retries", Reason: "The API server answers a `get` within a second"},
		{Name: "APIServerHeaderBytes", Value: Bytes(APIServerHeaderBytes),
			Bounds:   "Header of an answer of the API server, without the auth service",
			Exceeded: "The injector retries", Reason: "The API server sends about a kilobyte"},
		{Name: "ResourceBytes", Value: Bytes(ResourceBytes),
			Bounds:   "AzureKeyVaultSecret that a pod reads, without the auth service",
			Exceeded: "The injector retries", Reason: "The API server stores none that is larger"},
		{Name: "EnvironmentBytes", Value: Bytes(EnvironmentBytes),
			Bounds:   "Arguments and variables of a program, while `$(NAME)` is expanded",
			Exceeded: "The container ends with 64, and the message names the variable",
			Reason:   "Linux passes no more on, whatever its limits are"},
		{Name: "TerminationMessageBytes", Value: Bytes(TerminationMessageBytes),
			Bounds:   "Termination message of a container that could not start its program",
			Exceeded: "The message is cut", Reason: "The kubelet reads no more"},
		{Name: "CheckedReferencesBytes", Value: Bytes(CheckedReferencesBytes),
			Bounds:   "References that the init container checks",
			Exceeded: "The rest is first resolved in the containers themselves",
			Reason:   "Linux passes 128 KiB on in one variable"},
	}
}
