package limits

import "time"

// Limits inside an injected pod: its waits, and the answers that it reads.
const (
	// WaitBeforeStart limits the wait of the init container for values in a pod that the kubelet restarts.
	WaitBeforeStart = 5 * time.Minute
	// WaitWithoutRestart limits the wait for values of a container that is not ready meanwhile, or not restarted.
	WaitWithoutRestart = time.Minute
	// WaitWhileReady limits the wait for values of a container that Kubernetes can count as ready.
	WaitWhileReady = 10 * time.Second
	// InjectorRetryAfter limits the wait that a server can request from the injector.
	InjectorRetryAfter = time.Minute
	// RetryWait limits one wait between retries that the user configured.
	RetryWait = time.Hour
	// AuthServiceTime limits one request to the auth service, from name resolution to the last byte.
	AuthServiceTime = 30 * time.Second
	// AuthServiceHeaderBytes and AuthServiceErrorBytes limit the header of an answer, and the body of one without
	// values.
	AuthServiceHeaderBytes = 32 << 10
	AuthServiceErrorBytes  = 64 << 10
	// APIServerTime, APIServerHeaderBytes and ResourceBytes limit a request for an AzureKeyVaultSecret without the auth
	// service.
	APIServerTime        = 10 * time.Second
	APIServerHeaderBytes = 32 << 10
	ResourceBytes        = 3 << 20
	// EnvironmentBytes limits the arguments and variables of a program together, while they are expanded.
	EnvironmentBytes = 6 << 20
	// TerminationMessageBytes limits the termination message.
	TerminationMessageBytes = 4 << 10
	// CheckedReferencesBytes limits the references that the init container checks, as written into its variable.
	CheckedReferencesBytes = 64 << 10
	// EnvFileValueBytes limits a value in an env file, and EnvFileBytes the env file of a container.
	EnvFileValueBytes = 32 << 10
	EnvFileBytes      = 64 << 10
	// StartupProbeFailures limits the failures of the startup probe of the env-injector, one per second.
	StartupProbeFailures = 24 * 60 * 60
)

// injectorArea lists the limits inside an injected pod.
func injectorArea() Area {
	waits := []Limit{
		{Name: "WaitBeforeStart", Value: Duration(WaitBeforeStart),
			Subject: "Wait of the init container for values, if the kubelet restarts it",
			Exceeded: "The init container exits with 75, `kubectl describe pod` shows the reason, and the kubelet " +
				"restarts it",
			Reason: "The pod is not ready meanwhile, so a rollout waits for it", Setting: "ENV_INJECTOR_TIMEOUT"},
		{Name: "WaitWithoutRestart", Value: Duration(WaitWithoutRestart),
			Subject: "Wait for values with `restartPolicy: Never`, in init containers, and in containers with a " +
				"startup or readiness probe",
			Exceeded: "The container exits with 75", Reason: "Longer than the failover of a vault or a replica",
			Setting: "ENV_INJECTOR_TIMEOUT"},
		{Name: "WaitWhileReady", Value: Duration(WaitWhileReady),
			Subject:  "Wait for values in any other container, requests included",
			Exceeded: "The container exits with 75, and the kubelet restarts it",
			Reason:   "Kubernetes counts it as ready while it waits", Setting: "ENV_INJECTOR_TIMEOUT"},
		{Name: "InjectorRetryAfter", Value: Duration(InjectorRetryAfter),
			Subject:  "Retry-After of a server, in an injected pod",
			Exceeded: "The injector retries after this time", Reason: "A server must not delay a pod for a day"},
		{Name: "RetryWait", Value: Duration(RetryWait),
			Subject:  "One wait of `ENV_INJECTOR_WAIT_BEFORE_RETRY`, doubled",
			Exceeded: "The injector waits this long", Reason: "Doubling would overflow"},
		{Name: "StartupProbeFailures", Value: Count(StartupProbeFailures),
			Subject:  "Failures of the startup probe that the env-injector adds, one per second",
			Exceeded: "The kubelet restarts the container", Reason: "A day; `ENV_INJECTOR_TIMEOUT` limits the wait"},
	}
	return Area{Title: "Injected pods", Limits: append(waits, injectorSizes()...)}
}

// injectorSizes returns the limits in bytes, and those of single requests.
func injectorSizes() []Limit {
	return []Limit{
		{Name: "AuthServiceTime", Value: Duration(AuthServiceTime), Subject: "One request to the auth service",
			Exceeded: "The injector retries", Reason: "A little longer than the auth service takes for a request"},
		{Name: "AuthServiceHeaderBytes", Value: Bytes(AuthServiceHeaderBytes),
			Subject:  "Header of an answer of the auth service",
			Exceeded: "The injector retries", Reason: "The auth service sends a few hundred bytes"},
		{Name: "AuthServiceErrorBytes", Value: Bytes(AuthServiceErrorBytes),
			Subject:  "Answer of the auth service without values",
			Exceeded: "The injector retries", Reason: "An error is one sentence, which can have a long list of keys"},
		{Name: "APIServerTime", Value: Duration(APIServerTime),
			Subject:  "One request of a pod for an AzureKeyVaultSecret, without the auth service",
			Exceeded: "The injector retries", Reason: "The API server answers a `get` within a second"},
		{Name: "APIServerHeaderBytes", Value: Bytes(APIServerHeaderBytes),
			Subject:  "Header of an answer of the API server, without the auth service",
			Exceeded: "The injector retries", Reason: "The API server sends about a kilobyte"},
		{Name: "ResourceBytes", Value: Bytes(ResourceBytes),
			Subject:  "AzureKeyVaultSecret that a pod reads, without the auth service",
			Exceeded: "The injector retries", Reason: "The API server stores no larger object"},
		{Name: "EnvironmentBytes", Value: Bytes(EnvironmentBytes),
			Subject:  "Arguments and variables of a program, while `$(NAME)` is expanded",
			Exceeded: "The container exits with 64, and the message names the variable",
			Reason:   "Linux passes at most this to a program, whatever its limits are"},
		{Name: "TerminationMessageBytes", Value: Bytes(TerminationMessageBytes),
			Subject:  "Termination message of a container that could not start its program",
			Exceeded: "The message is truncated", Reason: "The kubelet reads at most this"},
		{Name: "EnvFileValueBytes", Value: Bytes(EnvFileValueBytes),
			Subject:  "Value in a pod with `akv2k8s.io/delivery: envfile`",
			Exceeded: "The init container exits with 64 and names the variable",
			Reason:   "Kubernetes reads no longer value"},
		{Name: "EnvFileBytes", Value: Bytes(EnvFileBytes),
			Subject:  "All values of a container in such a pod",
			Exceeded: "The init container exits with 64 and names the container",
			Reason:   "Kubernetes reads no larger file"},
		{Name: "CheckedReferencesBytes", Value: Bytes(CheckedReferencesBytes),
			Subject:  "References that the init container checks",
			Exceeded: "The others are resolved only in the containers themselves",
			Reason:   "Linux passes 128 KiB in one variable"},
	}
}
