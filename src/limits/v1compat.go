package limits

import "time"

// Limits of requests of pods that v1 injected. They are shared among addresses, because such a request is not
// authenticated until it has a certificate.
const (
	V1RequestTime      = 8 * time.Second
	V1RequestsAtOnce   = 32
	V1LookupsPerSecond = 20
	V1StepsPerSecond   = 200
	V1ReportsPerSecond = 20
	V1QueryBytes       = 1 << 10
	V1CertificateBytes = 64 << 10
	V1Pods             = 10_000
)

// v1Limits returns the limits of requests of pods that v1 injected.
func v1Limits() []Limit {
	return []Limit{
		{"V1RequestTime", Duration(V1RequestTime), "Time to process a request of a pod that 1.8 injected",
			"503; the pod retries", "The injector of 1.8 waits for ten seconds", ""},
		{"V1RequestsAtOnce", Count(V1RequestsAtOnce), "Concurrent such requests that call the API server",
			"They wait",
			"Each takes three or four reads" + addressShareNote, ""},
		{"V1LookupsPerSecond", Rate(V1LookupsPerSecond),
			"Such pods that are read while `legacyAuthService` is off",
			"The answer is the same, without an event or a log line about the pod",
			"The answer does not depend on the pod" + addressShareNote, ""},
		{"V1StepsPerSecond", Rate(V1StepsPerSecond),
			"Each of the two steps of such a request while `legacyAuthService` is on",
			"They wait, then 503; the pod retries",
			"The pods of a node that restarts send requests at the same time" + addressShareNote, ""},
		{"V1ReportsPerSecond", Rate(V1ReportsPerSecond), "Log lines and events about such pods",
			"They are omitted; metrics count all", "The log stays readable" + namespaceShareNote, ""},
		{"V1QueryBytes", Bytes(V1QueryBytes), "Query of such a request", "400",
			"It has the name of a Secret", ""},
		{"V1CertificateBytes", Bytes(V1CertificateBytes), "Certificate in the Secret of such a pod",
			"403, before it is parsed", "1.8 wrote less than 4 KiB", ""},
		{"V1Pods", Count(V1Pods), "Such pods with a record that their event is written",
			"The oldest is evicted, and can get another event", "Less than 2 MiB", ""},
	}
}
