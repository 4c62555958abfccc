package diagnosis

import "github.com/akv2k8s/akv2k8s/src/fault"

// Codes of this package for answers of the metadata service, which distinguishes them by text alone.
const (
	// ManyIdentities is a 400: the node has several user-assigned identities, and the request named none.
	ManyIdentities = "ManyIdentities"
	// NotJSON is an answer that is not in the form of the source.
	NotJSON = "NotJSON"
)

// metadataNextStep is the next step for an answer that may come from a proxy of the metadata service.
const metadataNextStep = "akv2k8s retries; if the error persists, check the node, and what redirects " +
	"169.254.169.254: a proxy, or aad-pod-identity (then set the value addAzurePodIdentityException)"

func metadataAnswers() []Answer {
	return []Answer{
		{Metadata, "400", "", fault.Unauthenticated, "the identity is not assigned to this node",
			"assign it to the node's virtual machine scale set, or check its id{hint}; an assignment takes up to a " +
				"minute"},
		{Metadata, "400", ManyIdentities, fault.Unauthenticated,
			"the node has several user-assigned identities, and none was selected",
			"set {variable} to the client id of the identity that can read the vault{hint}"},
		{Metadata, "403", "", fault.Unauthenticated, "the metadata service denies this pod a token",
			"allow the pod to reach 169.254.169.254, which a policy of the cluster denies, or use workload identity"},
		{Metadata, "404", "", fault.Unavailable, "the metadata service answered 404", metadataNextStep},
		{Metadata, "410", "", fault.Unavailable, "the metadata service answered 410: it is being updated",
			metadataNextStep},
		{Metadata, "429", "", fault.Throttled, "the metadata service answered 429: too many requests from this node",
			"akv2k8s retries; find out what else on the node requests tokens from it"},
		{Metadata, "5xx", "", fault.Unavailable, "the metadata service answered {status}", metadataNextStep},
		{Metadata, "200", "", fault.Unavailable, "the metadata service answered without a token", metadataNextStep},
		{Metadata, "", NotJSON, fault.Unavailable,
			"something other than the node's metadata service answered at 169.254.169.254{via}",
			"add 169.254.169.254 to NO_PROXY, and check what redirects it: a proxy, or aad-pod-identity (then set " +
				"the value addAzurePodIdentityException)"},
		{Metadata, "", "", fault.Unavailable, "the metadata service answered {status}", metadataNextStep},
	}
}

func intermediaryAnswers() []Answer {
	const open = "allow {host} in the proxy or firewall, or correct HTTPS_PROXY and NO_PROXY of the pod"
	return []Answer{
		{Intermediary, "3xx", "", fault.Unavailable,
			"something between this pod and {host} redirects to another page{via}",
			open},
		{Intermediary, "401", "", fault.Unavailable,
			"something between this pod and {host} requires its own sign-in{via}",
			open},
		{Intermediary, "403", "", fault.Unavailable, "something between this pod and {host} blocked the request{via}",
			open},
		{Intermediary, "407", "", fault.Unavailable, "a proxy between this pod and {host} requires a sign-in{via}",
			"set user and password in HTTPS_PROXY, or " + open},
		{Intermediary, "429", "", fault.Throttled,
			"{host}, or something between this pod and it, answered that there are too many requests{via}",
			"akv2k8s retries more slowly"},
		{Intermediary, "5xx", "", fault.Unavailable,
			"{host}, or something between this pod and it, returned a server error{via}",
			"akv2k8s retries; if the error persists, " + open},
		{Intermediary, "", TooLarge, fault.Unavailable, "the answer for {host} exceeds {limit}{via}",
			"check what answers at {host}: " + open},
		{Intermediary, "", "", fault.Unavailable, "something between this pod and {host} answered in its place{via}",
			open},
	}
}

// Codes of this package for failed connections and incomplete answers.
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
			"check the cluster's DNS, and network policies between it and the pod; akv2k8s retries"),
		row(ProxyNotFound, "the name of the proxy, {proxy}, does not resolve",
			"correct HTTPS_PROXY, or the DNS of the cluster"),
		row(UnknownAuthority, "the certificate of {host} is signed by an unknown authority",
			"if a proxy inspects TLS, add its CA to the value global.extraCACertificates"),
		row(WrongCertificate, "the certificate of the answer is not for {host}",
			"check the DNS entry of {host} and proxies in between"),
		row(Timeout, "{host} did not answer in time", path),
		row(Canceled, "the request was canceled", "akv2k8s tries again when the value is needed"),
		row(ConnectionFailed, "the connection to {host} failed", path),
		row("", "there was no answer from {host}", path),
	}
}
