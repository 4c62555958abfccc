package diagnosis

import "github.com/akv2k8s/akv2k8s/src/fault"

// Codes of our own for a 400 of the metadata service, which tells them apart by text alone.
const (
	// ManyIdentities means that the node has several user-assigned identities, and the request named none.
	ManyIdentities = "ManyIdentities"
	// NotJSON is an answer in another form than the source's own.
	NotJSON = "NotJSON"
)

// redirected names what stands in front of the metadata service on some clusters.
const redirected = "it is tried again; if it goes on, look at the node, and at what redirects 169.254.169.254: a " +
	"proxy, or aad-pod-identity, where the value addAzurePodIdentityException helps"

func metadataAnswers() []Answer {
	return []Answer{
		{Metadata, "400", "", fault.Unauthenticated, "the identity is not assigned to this node",
			"assign it to the node's virtual machine scale set, or check its id{hint}; an assignment may take a minute"},
		{Metadata, "400", ManyIdentities, fault.Unauthenticated,
			"the node has several user-assigned identities, and none was chosen",
			"set {variable} to the client id of the one that may read the vault{hint}"},
		{Metadata, "403", "", fault.Unauthenticated, "the metadata service refuses this pod",
			"allow the pod to reach 169.254.169.254, which a policy of the cluster forbids, or use workload identity"},
		{Metadata, "404", "", fault.Unavailable, "the metadata service answers 404", redirected},
		{Metadata, "410", "", fault.Unavailable, "the metadata service answers 410, as it does while it is updated",
			redirected},
		{Metadata, "429", "", fault.Throttled, "the metadata service answers 429: too many requests from this node",
			"it is tried again; look at what else on the node asks it for tokens"},
		{Metadata, "5xx", "", fault.Unavailable, "the metadata service answers {status}", redirected},
		{Metadata, "200", "", fault.Unavailable, "the metadata service answers without a token", redirected},
		{Metadata, "", NotJSON, fault.Unavailable,
			"something else than the node's metadata service answers at 169.254.169.254{via}",
			"put 169.254.169.254 into NO_PROXY, and look at what redirects it: a proxy, or aad-pod-identity, where " +
				"the value addAzurePodIdentityException helps"},
		{Metadata, "", "", fault.Unavailable, "the metadata service answers {status}", redirected},
	}
}

func betweenAnswers() []Answer {
	const open = "let the proxy or firewall pass {host}, or correct HTTPS_PROXY and NO_PROXY of the pod"
	return []Answer{
		{Between, "3xx", "", fault.Unavailable, "something between this pod and {host} redirects to another page{via}",
			open},
		{Between, "401", "", fault.Unavailable, "something between this pod and {host} wants a sign-in of its own{via}",
			open},
		{Between, "403", "", fault.Unavailable, "something between this pod and {host} blocked the request{via}", open},
		{Between, "407", "", fault.Unavailable, "a proxy between this pod and {host} wants a sign-in{via}",
			"give user and password in HTTPS_PROXY, or " + open},
		{Between, "429", "", fault.Throttled,
			"{host}, or something between this pod and it, answers that there are too many requests{via}",
			"it is tried again more slowly"},
		{Between, "5xx", "", fault.Unavailable,
			"{host}, or something between this pod and it, returned a server error{via}",
			"it is tried again; if it goes on, " + open},
		{Between, "", TooLarge, fault.Unavailable, "what answered for {host} sent more than {limit}{via}",
			"check what answers at {host}: " + open},
		{Between, "", "", fault.Unavailable, "something between this pod and {host} answered in its place{via}", open},
	}
}

// Codes of rows about what came, or did not come, over the network.
const (
	TooLarge         = "TooLarge"
	NameNotFound     = "NameNotFound"
	DNSFailure       = "DNSFailure"
	UnknownAuthority = "UnknownAuthority"
	WrongCertificate = "WrongCertificate"
	Timeout          = "Timeout"
	Canceled         = "Canceled"
	ConnectionFailed = "ConnectionFailed"
	ProxyNotFound    = "ProxyNotFound"
)

func networkAnswers() []Answer {
	row := func(code, cause, next string) Answer {
		return Answer{Network, "", code, fault.Unavailable, cause, next}
	}
	const path = "check network policies, firewalls, HTTPS_PROXY and the route from the cluster to {host}"
	return []Answer{
		row(NameNotFound, "the name {host} does not resolve",
			"check the name, the DNS of the cluster, and the private DNS zone {zone} if the vault has a private "+
				"endpoint"),
		row(DNSFailure, "the DNS did not answer for {host}",
			"check the cluster's DNS and network policies that keep it from the pod; it is tried again"),
		row(ProxyNotFound, "the name of the proxy, {proxy}, does not resolve",
			"correct HTTPS_PROXY, or the DNS of the cluster"),
		row(UnknownAuthority, "the certificate of {host} is signed by an unknown authority",
			"if a proxy inspects TLS, add its CA to the value global.extraCACertificates"),
		row(WrongCertificate, "the certificate that answered is not for {host}",
			"check the DNS entry of {host} and proxies in between"),
		row(Timeout, "{host} did not answer in time", path),
		row(Canceled, "the request was given up", "it is tried again when somebody needs the value"),
		row(ConnectionFailed, "the connection to {host} failed", path),
		row("", "there was no answer from {host}", path),
	}
}
