package limits

import "time"

// Limits of the port that the API server calls, for one address unless the name or table says otherwise.
const (
	WebhookConnections          = 500
	WebhookConnectionsPerSecond = 250
	WebhookRequests             = 500
	WebhookRequestsPerSecond    = 500
	WebhookRequestsBurst        = 1000
	WebhookTotalConnections     = 1000
	WebhookMemory               = 64 << 20
	WebhookReservedMemory       = 64 << 20
)

// Limits of the port that pods call, for one address unless the name or table says otherwise.
const (
	AuthConnections          = 250
	AuthConnectionsPerSecond = 100
	AuthRequests             = 32
	AuthRequestsPerSecond    = 100
	AuthRequestsBurst        = 250
	AuthTotalConnections     = 2000
)

// Limits of the port of health checks and metrics, for one address unless the name or table says otherwise.
const (
	HealthConnections       = 32
	HealthRequests          = 4
	HealthRequestsPerSecond = 10
	HealthRequestsBurst     = 20
	HealthTotalConnections  = 256
	MetricsAge              = time.Second
)

// Limits of every port.
const (
	RequestHeaderBytes  = 32 << 10
	RequestReadTime     = 10 * time.Second
	AnswerWriteTime     = 10 * time.Second
	RememberedAddresses = 4096
	AddressPrefixBits   = 64
	HTTP2Streams        = 250
	HTTP2ReceiveBytes   = 256 << 10
)

// portsArea lists the limits of connections and requests on every port.
func portsArea() Area {
	return Area{Title: "Ports", Limits: append(append(webhookPort(), authPort()...),
		append(healthPort(), everyPort()...)...)}
}

// Texts of several rows.
const (
	connectionsClosed = "New connections are closed"
	requestRejected   = "The answer is 429; the caller retries after a second"
)

// webhookPort returns the limits of the port that the API server calls.
func webhookPort() []Limit {
	return []Limit{
		{Name: "WebhookConnections", Value: Count(WebhookConnections),
			Subject: "Open connections of one address to the webhook", Exceeded: connectionsClosed,
			Reason: "An API server has one connection to each replica; several API servers can share one address, " +
				"through a tunnel"},
		{Name: "WebhookConnectionsPerSecond", Value: Rate(WebhookConnectionsPerSecond),
			Subject: "New connections of one address to the webhook", Exceeded: connectionsClosed,
			Reason: "While there is no connection, each waiting request can open another"},
		{Name: "WebhookRequests", Value: Count(WebhookRequests),
			Subject: "Concurrent requests of one address to the webhook", Exceeded: requestRejected,
			Reason: "Far more than an API server has in flight"},
		{Name: "WebhookRequestsPerSecond", Value: Rate(WebhookRequestsPerSecond),
			Subject: "Requests of one address to the webhook", Exceeded: requestRejected,
			Reason: "The largest clusters create a few hundred pods per second"},
		{Name: "WebhookRequestsBurst", Value: Count(WebhookRequestsBurst),
			Subject: "Burst of requests of one address to the webhook", Exceeded: requestRejected,
			Reason: "A rollout starts many pods at once"},
		{Name: "WebhookTotalConnections", Value: Count(WebhookTotalConnections),
			Subject:  "Open connections to the webhook of all addresses except the API server's",
			Exceeded: "The oldest connection of the address with the most connections is closed",
			Reason:   "A TLS connection takes about 50 KiB"},
		{Name: "WebhookMemory", Value: Bytes(WebhookMemory),
			Subject: "Memory of all reviews that do not come from a known API server; one address gets at most half " +
				"of what is free",
			Exceeded: requestRejected,
			Reason:   "A part of the memory limit of the env-injector, enough for hundreds of usual pods at once"},
		{Name: "WebhookReservedMemory", Value: Bytes(WebhookReservedMemory),
			Subject: "Additional memory for reviews of the API server alone", Exceeded: requestRejected,
			Reason: "Other clients cannot block the API server: it has memory for one review of the largest size, " +
				"or for hundreds of usual ones"},
	}
}

// authPort returns the limits of the port that pods call.
func authPort() []Limit {
	return []Limit{
		{Name: "AuthConnections", Value: Count(AuthConnections),
			Subject: "Open connections of one address to the auth service", Exceeded: connectionsClosed,
			Reason: "All pods of a node can have its address, and start at the same time"},
		{Name: "AuthConnectionsPerSecond", Value: Rate(AuthConnectionsPerSecond),
			Subject: "New connections of one address to the auth service", Exceeded: connectionsClosed,
			Reason: "Each costs a TLS handshake"},
		{Name: "AuthRequests", Value: Count(AuthRequests),
			Subject: "Concurrent requests of one address to the auth service", Exceeded: requestRejected,
			Reason: "One for each container that starts"},
		{Name: "AuthRequestsPerSecond", Value: Rate(AuthRequestsPerSecond),
			Subject: "Requests of one address to the auth service", Exceeded: requestRejected,
			Reason: "A node starts fewer containers per second"},
		{Name: "AuthRequestsBurst", Value: Count(AuthRequestsBurst),
			Subject: "Burst of requests of one address to the auth service", Exceeded: requestRejected,
			Reason: "The usual limit of pods on a node"},
		{Name: "AuthTotalConnections", Value: Count(AuthTotalConnections),
			Subject:  "Open connections to the auth service of all addresses",
			Exceeded: "The oldest connection of the address with the most connections is closed",
			Reason:   "A TLS connection takes about 50 KiB"},
	}
}

// healthPort returns the limits of the port of health checks and metrics.
func healthPort() []Limit {
	return []Limit{
		{Name: "HealthConnections", Value: Count(HealthConnections),
			Subject:  "Open connections of one address to the port of health checks and metrics",
			Exceeded: "The oldest connection of the address is closed, and the new one is served",
			Reason: "The kubelet opens a connection for each probe. Pods with hostNetwork have its address, so new " +
				"connections are never rejected"},
		{Name: "HealthRequests", Value: Count(HealthRequests),
			Subject:  "Concurrent requests of one address to that port; /healthz and /readyz do not count",
			Exceeded: requestRejected,
			Reason:   "Prometheus has one request in flight"},
		{Name: "HealthRequestsPerSecond", Value: Rate(HealthRequestsPerSecond),
			Subject:  "Requests of one address to that port; /healthz and /readyz do not count",
			Exceeded: requestRejected,
			Reason:   "Prometheus sends a request every few seconds"},
		{Name: "HealthRequestsBurst", Value: Count(HealthRequestsBurst),
			Subject: "Burst of such requests", Exceeded: requestRejected,
			Reason: "Several scrapers can have one address"},
		{Name: "HealthTotalConnections", Value: Count(HealthTotalConnections),
			Subject: "Open connections to that port of all addresses",
			Exceeded: "The oldest connection of the address with the most connections is closed, and the new one is " +
				"served",
			Reason: "A connection takes about 10 KiB"},
		{Name: "MetricsAge", Value: Duration(MetricsAge),
			Subject:  "Time for which the answer of /metrics is cached",
			Exceeded: "The metrics are gathered again, once for all clients",
			Reason:   "The cost is that of one request per second, for any number of clients"},
	}
}

// everyPort returns the limits of all ports.
func everyPort() []Limit {
	return []Limit{
		{Name: "RequestHeaderBytes", Value: Bytes(RequestHeaderBytes), Subject: "Headers of a request",
			Exceeded: "The answer is 431", Reason: "Larger than the longest accepted token"},
		{Name: "RequestReadTime", Value: Duration(RequestReadTime),
			Subject:  "TLS handshake, and time to send a request",
			Exceeded: "The connection is closed",
			Reason:   "The API server has the same time limit for a handshake; an overloaded machine needs it"},
		{Name: "AnswerWriteTime", Value: Duration(AnswerWriteTime), Subject: "Time for the client to read an answer",
			Exceeded: "The connection is closed", Reason: "An unread answer takes memory"},
		{Name: "RememberedAddresses", Value: Count(RememberedAddresses),
			Subject: "Idle addresses with a tracked rate", Exceeded: "The address that was idle longest is evicted",
			Reason: "About 200 bytes each. Addresses with open connections are never evicted"},
		{Name: "AddressPrefixBits", Value: Count(AddressPrefixBits),
			Subject:  "Prefix length of IPv6 addresses that count as one address for all of these limits",
			Exceeded: "Addresses with the same prefix share their limits",
			Reason:   "A node, and often a pod, has all addresses of such a prefix"},
		{Name: "HTTP2Streams", Value: Count(HTTP2Streams), Subject: "Concurrent requests in one HTTP/2 connection",
			Exceeded: "The client waits", Reason: "The default of Go's servers"},
		{Name: "HTTP2ReceiveBytes", Value: Bytes(HTTP2ReceiveBytes),
			Subject:  "Unread bytes of request bodies of an HTTP/2 connection",
			Exceeded: "The client waits",
			Reason:   "The default of 1 MiB would be 1 GiB for all connections"},
	}
}
