package limits

import "time"

// Limits of one request to the auth service.
const (
	TokenBytes              = 16 << 10
	AuthRequestBytes        = 1 << 20
	AuthRequestBodyTime     = 5 * time.Second
	AuthRequestTime         = 25 * time.Second
	VariablesPerRequest     = 20_000
	VariableNameBytes       = 1 << 10
	ReferencesPerRequest    = 2000
	ResourcesPerRequest     = 500
	ParallelReadsPerRequest = 32
	ObjectBytesPerRequest   = 16 << 20
	AuthAnswerBytes         = 16 << 20
	AuthAnswerChunkTime     = 5 * time.Second
	AuthAnswerTime          = 20 * time.Second
	NameBytesInMessages     = 253
	AuthMessageBytes        = 2 << 10
	AuthIdentificationTime  = 10 * time.Second
)

// Limits of all requests to the auth service together. Each is shared among namespaces, or among addresses until the
// pod is identified.
const (
	AuthIdentificationsAtOnce    = 32
	AuthIdentificationsPerSecond = 1000
	AuthRequestsBytes            = 24 << 20
	AuthSlots                    = 256
	AuthSlotsPerPod              = 8
	AuthAnswersBytes             = 48 << 20
	AuthResourceReadsPerSecond   = 1000
	AuthAbsentResourceTime       = time.Second
	AuthAbsentResources          = 4096
	AuthLogLinesPerSecond        = 100
	AuthEventsPerSecond          = 10
	AuthEventInterval            = 10 * time.Minute
	AuthEventPods                = 4096
)

// authServiceArea lists the limits of requests of pods to the auth service.
func authServiceArea() Area {
	return Area{Title: "Auth service", Limits: append(append(requestLimits(), sharedLimits()...), v1Limits()...)}
}

const (
	retryAfterOneSecond = "429; the injector retries after a second"
	namespaceShareNote  = ". One namespace gets at most half, two get a third each, and so on; the rest stays free " +
		"for others"
)

// requestLimits returns the limits of one request.
func requestLimits() []Limit {
	return []Limit{
		{"TokenBytes", Bytes(TokenBytes), "Token of a pod", "401, without a call of the API server",
			"A projected token has about 1 KiB", ""},
		{"AuthRequestBytes", Bytes(AuthRequestBytes), "Body of a request", "400, before more is read",
			"It holds the references of a pod, and a pod has at most 1.5 MiB", ""},
		{"AuthRequestBodyTime", Duration(AuthRequestBodyTime), "Time to send the body of a request",
			"400, and the connection is closed",
			"Injectors send it at once", ""},
		{"AuthRequestTime", Duration(AuthRequestTime), "Time to process one request, without sending the answer",
			"503; the injector retries",
			"Injectors wait for 30 seconds", ""},
		{"VariablesPerRequest", Count(VariablesPerRequest),
			"Variables of one request; at most as many as the pod's spec has",
			"400, before any is resolved", "Admission allows as many in a pod", ""},
		{"VariableNameBytes", Bytes(VariableNameBytes), "Name of one variable", "400",
			"Names of variables rarely have more than 50 bytes", ""},
		{"ReferencesPerRequest", Count(ReferencesPerRequest), "Different references of one request",
			"400; the pod does not start",
			"Each of them is decoded", ""},
		{"ResourcesPerRequest", Count(ResourcesPerRequest), "AzureKeyVaultSecrets that one request names",
			"400; the pod does not start",
			"Each of them takes up to one read of the API server and one of the vault", ""},
		{"ObjectBytesPerRequest", Bytes(ObjectBytesPerRequest), "Vault objects that the references of one request name",
			"400; the pod does not start",
			"They are in memory until the answer is sent. Six hundred secrets of the largest size", ""},
		{"ParallelReadsPerRequest", Count(ParallelReadsPerRequest),
			"Concurrent reads of the API server, or of vaults, for one request", "Further reads wait",
			"The limits of each vault are shared fairly in addition", ""},
		{"AuthAnswerBytes", Bytes(AuthAnswerBytes), "Answer that the injector reads",
			"The injector discards the answer and retries",
			"The largest environment in base64 has 8 MiB", ""},
		{"AuthAnswerChunkTime", Duration(AuthAnswerChunkTime),
			"Time for a pod to read the next 32 KiB of its answer",
			"The connection is closed", "Injectors read at once", ""},
		{"AuthAnswerTime", Duration(AuthAnswerTime), "Time for a pod to read its whole answer",
			"The connection is closed",
			"8 MiB take less than a second in a cluster", ""},
		{"NameBytesInMessages", Bytes(NameBytesInMessages), "Name in a message or log line", "The name is truncated",
			"The longest name in Kubernetes", ""},
		{"AuthMessageBytes", Bytes(AuthMessageBytes), "Error message, in the answer and in the log",
			"The message is truncated",
			"The longest messages list data keys", ""},
		{"AuthIdentificationTime", Duration(AuthIdentificationTime), "Time for the API server to identify the pod",
			"503; the injector retries",
			"The API server answers in milliseconds", ""},
	}
}

// sharedLimits returns the limits of all requests together.
func sharedLimits() []Limit {
	return []Limit{
		{"AuthIdentificationsAtOnce", Count(AuthIdentificationsAtOnce),
			"Concurrent requests whose pod the API server identifies",
			"They wait for at most " + Duration(AuthIdentificationTime) + ", then " + retryAfterOneSecond,
			"Each takes three reads" + addressShareNote, ""},
		{"AuthIdentificationsPerSecond", Rate(AuthIdentificationsPerSecond), "The same, per second",
			retryAfterOneSecond,
			"The largest clusters start fewer pods" + addressShareNote, ""},
		{"AuthRequestsBytes", Bytes(AuthRequestsBytes),
			"Bodies of all requests in progress, and the variables of their pods", retryAfterOneSecond,
			"A request usually has less than 20 KiB" + namespaceShareNote, ""},
		{"AuthSlots", Count(AuthSlots), "Requests in progress, until their answers are sent", retryAfterOneSecond,
			"A request that waits for a vault costs little" + namespaceShareNote +
				", also while their vaults do not answer", ""},
		{"AuthSlotsPerPod", Count(AuthSlotsPerPod), "Requests in progress of one pod", retryAfterOneSecond,
			"One for each container that starts", ""},
		{"AuthAnswersBytes", Bytes(AuthAnswersBytes),
			"Vault objects, and values in answers that are being prepared or sent",
			retryAfterOneSecond,
			"A fifth of the env-injector's memory" + namespaceShareNote, ""},
		{"AuthResourceReadsPerSecond", Rate(AuthResourceReadsPerSecond),
			"Reads of AzureKeyVaultSecrets that are not in the cache", retryAfterOneSecond,
			"Only missing or new ones are not in the cache" + namespaceShareNote, ""},
		{"AuthAbsentResourceTime", Duration(AuthAbsentResourceTime),
			"Time for which the absence of an AzureKeyVaultSecret is cached",
			"It is read again",
			"A pod that waits for it starts soon after its creation", ""},
		{"AuthAbsentResources", Count(AuthAbsentResources), "Missing AzureKeyVaultSecrets in the cache",
			"The oldest is evicted, and read again",
			"Less than 2 MiB", ""},
		{"AuthLogLinesPerSecond", Rate(AuthLogLinesPerSecond), "Log lines about requests, at most one for each",
			"Lines are omitted, and the next line has their number; metrics count all",
			"The log stays readable, and no disk fills up" + namespaceShareNote, ""},
		{"AuthEventsPerSecond", Rate(AuthEventsPerSecond), "Events about pods", "Events are omitted",
			"Events are stored in etcd" + namespaceShareNote, ""},
		{"AuthEventInterval", Duration(AuthEventInterval), "Time between two events about one pod",
			"Events are omitted", "Kubernetes keeps an event for an hour", ""},
		{"AuthEventPods", Count(AuthEventPods), "Pods with a cached time of the last event",
			"The oldest is evicted", "Less than 1 MiB", ""},
	}
}

const addressShareNote = ". One address gets at most half, two get a third each, and so on"
