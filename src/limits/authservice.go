package limits

import "time"

// Bounds of one request to the auth service.
const (
	TokenBytes             = 16 << 10
	AuthRequestBytes       = 1 << 20
	AuthRequestBodyTime    = 5 * time.Second
	AuthRequestTime        = 25 * time.Second
	VariablesPerRequest    = 20_000
	VariableNameBytes      = 1 << 10
	ReferencesPerRequest   = 2000
	ResourcesPerRequest    = 500
	ReadsAtOncePerRequest  = 32
	AuthAnswerBytes        = 16 << 20
	AuthAnswerPartTime     = 5 * time.Second
	AuthAnswerTime         = 20 * time.Second
	NameBytesInMessages    = 253
	AuthMessageBytes       = 2 << 10
	AuthIdentificationTime = 10 * time.Second
)

// Bounds of all requests to the auth service together. Namespaces, or addresses while it is not known who asks, share
// each of them.
const (
	AuthIdentificationsAtOnce    = 32
	AuthIdentificationsPerSecond = 1000
	AuthRequestsBytes            = 24 << 20
	AuthPlaces                   = 256
	AuthPlacesPerPod             = 8
	AuthAnswersBytes             = 48 << 20
	AuthResourceReadsPerSecond   = 1000
	AuthAbsentTime               = time.Second
	AuthAbsentNames              = 4096
	AuthLogLinesPerSecond        = 100
	AuthEventsPerSecond          = 10
	AuthEventInterval            = 10 * time.Minute
	AuthEventPods                = 4096
)

// Bounds of requests of pods that akv2k8s 1.8 injected, which prove nothing until they show a certificate. Addresses
// share them.
const (
	LegacyTime             = 8 * time.Second
	LegacyRequestsAtOnce   = 32
	LegacyLookupsPerSecond = 20
	LegacyStepsPerSecond   = 200
	LegacyReportsPerSecond = 20
	LegacyQueryBytes       = 1 << 10
	LegacyCertificateBytes = 64 << 10
	LegacyPods             = 10_000
)

// authServiceArea lists the bounds of requests of pods to the auth service.
func authServiceArea() Area {
	return Area{Title: "Auth service", Limits: append(append(requestLimits(), sharedLimits()...), legacyLimits()...)}
}

const (
	again  = "429; the injector asks again after a second"
	shares = " One namespace gets at most half, two a third each, and so on, so that some stay free for others"
)

func requestLimits() []Limit {
	return []Limit{
		{"TokenBytes", Bytes(TokenBytes), "a pod's token", "401; the API server is not asked",
			"a projected token has about 1 KiB", ""},
		{"AuthRequestBytes", Bytes(AuthRequestBytes), "the body of a request", "400, before more is read",
			"references of a pod, and a pod has at most 1.5 MiB", ""},
		{"AuthRequestBodyTime", Duration(AuthRequestBodyTime), "the time to send the body of a request",
			"400, and the connection is closed",
			"injectors send it at once", ""},
		{"AuthRequestTime", Duration(AuthRequestTime), "the work for one request, without sending the answer",
			"503; the injector asks again",
			"injectors wait for 30 seconds", ""},
		{"VariablesPerRequest", Count(VariablesPerRequest),
			"variables of one request; there are never more than the pod's spec has",
			"400, before any is looked up", "as many as admission lets a pod have", ""},
		{"VariableNameBytes", Bytes(VariableNameBytes), "the name of one variable", "400",
			"names of variables have rarely more than 50 bytes", ""},
		{"ReferencesPerRequest", Count(ReferencesPerRequest), "different references of one request",
			"400; the pod does not start",
			"each of them is decoded", ""},
		{"ResourcesPerRequest", Count(ResourcesPerRequest), "AzureKeyVaultSecrets that one request names",
			"400; the pod does not start",
			"each of them is up to one read of the API server and one of the vault", ""},
		{"ReadsAtOncePerRequest", Count(ReadsAtOncePerRequest),
			"reads of the API server, or of vaults, at once for one request", "the others wait",
			"the vault's own limits are shared fairly behind it", ""},
		{"AuthAnswerBytes", Bytes(AuthAnswerBytes), "what the injector reads of an answer",
			"the injector gives up on the answer, and asks again",
			"the largest environment in base64 has 8 MiB", ""},
		{"AuthAnswerPartTime", Duration(AuthAnswerPartTime),
			"the time in which a pod has to take the next 32 KiB of its answer",
			"the connection is closed", "injectors read at once", ""},
		{"AuthAnswerTime", Duration(AuthAnswerTime), "the time in which a pod has to take its whole answer",
			"the connection is closed",
			"8 MiB take less than a second in a cluster", ""},
		{"NameBytesInMessages", Bytes(NameBytesInMessages), "a name in messages and log lines", "the rest is cut",
			"the longest name of Kubernetes", ""},
		{"AuthMessageBytes", Bytes(AuthMessageBytes), "the message of a refusal, in the answer and in the log",
			"the rest is cut",
			"the longest messages list data keys", ""},
		{"AuthIdentificationTime", Duration(AuthIdentificationTime), "the API server's time to say which pod asks",
			"503; the injector asks again",
			"the API server answers in milliseconds", ""},
	}
}

func sharedLimits() []Limit {
	return []Limit{
		{"AuthIdentificationsAtOnce", Count(AuthIdentificationsAtOnce),
			"requests at once for which the API server is asked which pod it is",
			"they wait for " + Duration(AuthIdentificationTime) + " at most, then " + again,
			"each is three reads." + addresses, ""},
		{"AuthIdentificationsPerSecond", Rate(AuthIdentificationsPerSecond), "the same, in a second", again,
			"more than the largest clusters start pods." + addresses, ""},
		{"AuthRequestsBytes", Bytes(AuthRequestsBytes),
			"bodies of all requests that are worked on, and the variables of their pods", again,
			"usually less than 20 KiB a request." + shares, ""},
		{"AuthPlaces", Count(AuthPlaces), "requests that are worked on, until their answers are sent", again,
			"a request that waits for a vault costs little." + shares + ", whatever their vaults do", ""},
		{"AuthPlacesPerPod", Count(AuthPlacesPerPod), "the same, of one pod", again,
			"one for each container that starts", ""},
		{"AuthAnswersBytes", Bytes(AuthAnswersBytes), "values in answers that are being made or sent", again,
			"a fifth of the env-injector's memory." + shares, ""},
		{"AuthResourceReadsPerSecond", Rate(AuthResourceReadsPerSecond),
			"reads of AzureKeyVaultSecrets that are not in the cache", again,
			"only those that are missing, or a moment old, are read." + shares, ""},
		{"AuthAbsentTime", Duration(AuthAbsentTime), "how long it is remembered that an AzureKeyVaultSecret is missing",
			"it is read again",
			"short enough for whoever waits for it", ""},
		{"AuthAbsentNames", Count(AuthAbsentNames), "how many missing AzureKeyVaultSecrets are remembered",
			"the oldest is forgotten, and read again",
			"less than 2 MiB", ""},
		{"AuthLogLinesPerSecond", Rate(AuthLogLinesPerSecond), "log lines about requests, at most one for each",
			"not written, and the next line says how many; metrics count all",
			"readable, and no disk fills up." + shares, ""},
		{"AuthEventsPerSecond", Rate(AuthEventsPerSecond), "events about pods", "not written",
			"events are kept in etcd." + shares, ""},
		{"AuthEventInterval", Duration(AuthEventInterval), "the time between two events about one pod", "not written",
			"an event is shown for an hour", ""},
		{"AuthEventPods", Count(AuthEventPods), "pods for which the time of the last event is remembered",
			"the oldest is forgotten", "less than 1 MiB", ""},
	}
}

const addresses = " One address gets at most half, two a third each, and so on"

func legacyLimits() []Limit {
	return []Limit{
		{"LegacyTime", Duration(LegacyTime), "the work for a request of a pod that 1.8 injected", "503; it asks again",
			"the injector of 1.8 waits for ten seconds", ""},
		{"LegacyRequestsAtOnce", Count(LegacyRequestsAtOnce), "such requests at once for which the API server is asked",
			"they wait",
			"each is three or four reads." + addresses, ""},
		{"LegacyLookupsPerSecond", Rate(LegacyLookupsPerSecond),
			"such pods that are looked up while `legacyAuthService` is off",
			"the answer is the same; nobody is told of the pod",
			"the answer never depends on it." + addresses, ""},
		{"LegacyStepsPerSecond", Rate(LegacyStepsPerSecond), "each of the two steps while `legacyAuthService` is on",
			"they wait, then 503; the pod asks again",
			"the pods of a node that comes back ask at once." + addresses, ""},
		{"LegacyReportsPerSecond", Rate(LegacyReportsPerSecond), "log lines and events about such pods",
			"not written; metrics count all", "readable." + shares, ""},
		{"LegacyQueryBytes", Bytes(LegacyQueryBytes), "the query of such a request", "400",
			"it has the name of a Secret", ""},
		{"LegacyCertificateBytes", Bytes(LegacyCertificateBytes), "a certificate in the Secret of such a pod",
			"403, before it is parsed", "1.8 wrote less than 4 KiB", ""},
		{"LegacyPods", Count(LegacyPods), "such pods that are remembered, so that there is one event for each",
			"the oldest is forgotten, and may get another", "less than 2 MiB", ""},
	}
}
