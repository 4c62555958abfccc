package limits

import "time"

// Bounds of the port that the API server calls, for one address each unless they say otherwise.
const (
	WebhookConnections          = 500
	WebhookConnectionsPerSecond = 250
	WebhookRequests             = 500
	WebhookRequestsPerSecond    = 500
	WebhookRequestsBurst        = 1000
	WebhookAllConnections       = 1000
	WebhookMemory               = 64 << 20
	WebhookReservedMemory       = 64 << 20
)

// Bounds of the port that pods call, for one address each unless they say otherwise.
const (
	AuthConnections          = 250
	AuthConnectionsPerSecond = 100
	AuthRequests             = 32
	AuthRequestsPerSecond    = 100
	AuthRequestsBurst        = 250
	AuthAllConnections       = 2000
)

// Bounds of the port of health checks and metrics, for one address each unless they say otherwise.
const (
	HealthConnections       = 32
	HealthRequests          = 4
	HealthRequestsPerSecond = 10
	HealthRequestsBurst     = 20
	HealthAllConnections    = 256
	MetricsAge              = time.Second
)

// Bounds of every port.
const (
	RequestHeaderBytes  = 32 << 10
	RequestReadTime     = 10 * time.Second
	AnswerWriteTime     = 10 * time.Second
	RememberedAddresses = 4096
	AddressPrefixBits   = 64
	HTTP2Streams        = 250
	HTTP2ReceiveBytes   = 256 << 10
)

// portsArea lists the bounds of connections and requests on every port.
func portsArea() Area {
	return Area{Title: "Ports", Limits: append(append(webhookPort(), authPort()...),
		append(healthPort(), everyPort()...)...)}
}

// Texts that several rows share.
const (
	closed  = "New connections are closed."
	refused = "The answer is 429; the caller tries again after a second."
)

func webhookPort() []Limit {
	return []Limit{
		{Name: "WebhookConnections", Value: Count(WebhookConnections),
			Bounds: "Open connections of one address to the webhook", Exceeded: closed,
			Reason: "An API server has one connection to each replica; several may come from one address, through a " +
				"tunnel."},
		{Name: "WebhookConnectionsPerSecond", Value: Rate(WebhookConnectionsPerSecond),
			Bounds: "New connections of one address to the webhook", Exceeded: closed,
			Reason: "While there is no connection yet, each request that waits for it may try to make another."},
		{Name: "WebhookRequests", Value: Count(WebhookRequests),
			Bounds: "Concurrent requests of one address to the webhook", Exceeded: refused,
			Reason: "Far above what an API server has on its way."},
		{Name: "WebhookRequestsPerSecond", Value: Rate(WebhookRequestsPerSecond),
			Bounds: "Requests of one address to the webhook", Exceeded: refused,
			Reason: "The largest clusters create some hundred pods a second."},
		{Name: "WebhookRequestsBurst", Value: Count(WebhookRequestsBurst),
			Bounds: "Requests of one address to the webhook at once, before that rate holds", Exceeded: refused,
			Reason: "A rollout begins with many pods."},
		{Name: "WebhookAllConnections", Value: Count(WebhookAllConnections),
			Bounds:   "Open connections to the webhook of all addresses but the API server's",
			Exceeded: "The oldest connection of the address that has most is closed.",
			Reason:   "A TLS connection takes about 50 KiB."},
		{Name: "WebhookMemory", Value: Bytes(WebhookMemory),
			Bounds: "Memory of all reviews together that do not come from a known API server; one address gets at " +
				"most half of what is free",
			Exceeded: refused,
			Reason: "A part of the memory limit of the env-injector; it is enough for hundreds of ordinary pods at " +
				"once."},
		{Name: "WebhookReservedMemory", Value: Bytes(WebhookReservedMemory),
			Bounds: "Memory for reviews of the API server on top of that", Exceeded: refused,
			Reason: "Whatever others send, the API server is answered: at least one review of the largest size, or " +
				"hundreds of ordinary ones."},
	}
}

func authPort() []Limit {
	return []Limit{
		{Name: "AuthConnections", Value: Count(AuthConnections),
			Bounds: "Open connections of one address to the auth service", Exceeded: closed,
			Reason: "The pods of a node may all have its address, and start at the same time."},
		{Name: "AuthConnectionsPerSecond", Value: Rate(AuthConnectionsPerSecond),
			Bounds: "New connections of one address to the auth service", Exceeded: closed,
			Reason: "Each costs a TLS handshake."},
		{Name: "AuthRequests", Value: Count(AuthRequests),
			Bounds: "Concurrent requests of one address to the auth service", Exceeded: refused,
			Reason: "One for each container that starts."},
		{Name: "AuthRequestsPerSecond", Value: Rate(AuthRequestsPerSecond),
			Bounds: "Requests of one address to the auth service", Exceeded: refused,
			Reason: "A node does not start more containers in a second."},
		{Name: "AuthRequestsBurst", Value: Count(AuthRequestsBurst),
			Bounds: "Requests of one address to the auth service at once, before that rate holds", Exceeded: refused,
			Reason: "The most pods that a node usually has."},
		{Name: "AuthAllConnections", Value: Count(AuthAllConnections),
			Bounds:   "Open connections to the auth service of all addresses",
			Exceeded: "The oldest connection of the address that has most is closed.",
			Reason:   "A TLS connection takes about 50 KiB."},
	}
}

func healthPort() []Limit {
	return []Limit{
		{Name: "HealthConnections", Value: Count(HealthConnections),
			Bounds:   "Open connections of one address to the port of health checks and metrics",
			Exceeded: "Its oldest connection is closed, and the new one is answered.",
			Reason: "The kubelet makes a connection for each probe. Pods with hostNetwork have its address, so new " +
				"connections are never refused."},
		{Name: "HealthRequests", Value: Count(HealthRequests),
			Bounds:   "Concurrent requests of one address to that port; /healthz and /readyz do not count",
			Exceeded: refused,
			Reason:   "Prometheus has one on its way."},
		{Name: "HealthRequestsPerSecond", Value: Rate(HealthRequestsPerSecond),
			Bounds: "Requests of one address to that port; /healthz and /readyz do not count", Exceeded: refused,
			Reason: "Prometheus asks once in some seconds."},
		{Name: "HealthRequestsBurst", Value: Count(HealthRequestsBurst),
			Bounds: "Such requests at once, before that rate holds", Exceeded: refused,
			Reason: "Several scrapers may share an address."},
		{Name: "HealthAllConnections", Value: Count(HealthAllConnections),
			Bounds:   "Open connections to that port of all addresses",
			Exceeded: "The oldest connection of the address that has most is closed, and the new one is answered.",
			Reason:   "A connection takes about 10 KiB."},
		{Name: "MetricsAge", Value: Duration(MetricsAge),
			Bounds:   "Time for which /metrics answers with the text that it made last",
			Exceeded: "The text is made again, once for all who ask.",
			Reason:   "However many ask, the cost is that of one a second."},
	}
}

func everyPort() []Limit {
	return []Limit{
		{Name: "RequestHeaderBytes", Value: Bytes(RequestHeaderBytes), Bounds: "Headers of a request",
			Exceeded: "The answer is 431.", Reason: "The longest token that is read fits in."},
		{Name: "RequestReadTime", Value: Duration(RequestReadTime), Bounds: "TLS handshake, and time to send a request",
			Exceeded: "The connection is closed.",
			Reason: "As long as the API server takes for its side of a handshake; a machine that is overloaded " +
				"needs it."},
		{Name: "AnswerWriteTime", Value: Duration(AnswerWriteTime), Bounds: "Time to take an answer",
			Exceeded: "The connection is closed.", Reason: "An answer that nobody reads takes memory."},
		{Name: "RememberedAddresses", Value: Count(RememberedAddresses),
			Bounds: "Idle addresses whose rate is remembered", Exceeded: "The one that was idle longest is forgotten.",
			Reason: "Some 200 bytes each. Addresses with open connections are never forgotten."},
		{Name: "AddressPrefixBits", Value: Count(AddressPrefixBits),
			Bounds:   "Bits of an IPv6 address that make one address for all of these limits",
			Exceeded: "Addresses that have them in common share their limits.",
			Reason:   "A node, and often a pod, has all addresses below such a prefix."},
		{Name: "HTTP2Streams", Value: Count(HTTP2Streams), Bounds: "Concurrent requests in one HTTP/2 connection",
			Exceeded: "The client waits.", Reason: "What Go's servers have by default."},
		{Name: "HTTP2ReceiveBytes", Value: Bytes(HTTP2ReceiveBytes),
			Bounds:   "Bytes of request bodies that an HTTP/2 connection has sent and nobody has read yet",
			Exceeded: "The client waits.",
			Reason:   "The default of 1 MiB would be 1 GiB for all connections."},
	}
}
