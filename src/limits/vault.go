package limits

import "time"

// Limits of answers of vaults, Entra ID and the metadata service.
const (
	// VaultValueBytes limits one value.
	VaultValueBytes = 64 << 10
	// VaultAnswerBytes limits one answer of a vault.
	VaultAnswerBytes = 2 << 20
	// VaultErrorBytes limits the part of an error answer that is parsed.
	VaultErrorBytes = 64 << 10
	// ListPages, ListEntries and ListBytes limit one list of a vault.
	ListPages   = 400
	ListEntries = 10_000
	ListBytes   = 16 << 20
	// SignInAnswerBytes limits one answer of Entra ID or the metadata service.
	SignInAnswerBytes = 256 << 10
	// ResponseHeaderBytes limits the headers of an answer.
	ResponseHeaderBytes = 64 << 10
	// VaultRetryAfter limits the wait that an answer can request.
	VaultRetryAfter = 5 * time.Minute
	// VaultReadTime limits one read, with its retries and its token.
	VaultReadTime = 20 * time.Second
)

// Limits of files with credentials.
const (
	// CloudConfigBytes limits azure.json and the environment file of a private cloud.
	CloudConfigBytes = 256 << 10
	// CredentialFileBytes limits the file of a certificate or token with which an identity signs in.
	CredentialFileBytes = 1 << 20
)

// Limits of caches and states of vaults and identities.
const (
	// VaultClients limits the cached clients of vaults.
	VaultClients = 1000
	// OtherTypeLookups limits the missing objects for which it is cached whether another type of the name exists.
	OtherTypeLookups = 500
	// CachedIdentities limits the ServiceAccounts with a cached credential.
	CachedIdentities = 1000
	// CachedAnswers and CachedAnswerBytes limit the cached answers of vaults.
	CachedAnswers     = 10_000
	CachedAnswerBytes = 64 << 20
	// CachedAnswerAge limits the age of a cached answer that a list can confirm.
	CachedAnswerAge = 2 * time.Hour
	// RefreshedLists limits the lists of vaults that are compared with cached answers.
	RefreshedLists = 2000
	// CircuitBreakers limits the circuit breakers, one for each pair of vault and identity.
	CircuitBreakers = 2000
	// RateLimitedVaults limits the rate limiters, one for each vault.
	RateLimitedVaults = 1000
	// MetricVaults limits the vaults with a label of their own in metrics.
	MetricVaults = 500
)

// Limits of calls in flight.
const (
	// CallsPerVault limits the concurrent calls of one vault.
	CallsPerVault = 32
	// CallsPerIdentity limits the concurrent calls of one identity at one vault, for each priority.
	CallsPerIdentity = 20
	// CallsPerNamespace limits the calls of one namespace among CallsPerIdentity.
	CallsPerNamespace = 16
)

// vaultArea lists the limits of answers of vaults and of their caches.
func vaultArea() Area {
	const forgotten, malformed = "The least recently used are evicted",
		"The read fails with `MalformedObject`; the output keeps its data"
	return Area{Title: "Vaults", Limits: []Limit{
		{"VaultValueBytes", Bytes(VaultValueBytes), "Value of an object", malformed, "Azure allows 25 KB", ""},
		{"VaultAnswerBytes", Bytes(VaultAnswerBytes), "One answer of a vault",
			"The read fails with `VaultUnavailable`",
			"A page of 25 objects with all tags that Azure allows, escaped, is smaller", ""},
		{"VaultErrorBytes", Bytes(VaultErrorBytes), "Part of an error answer that is searched for a code",
			"The rest is ignored", "Errors of Azure have about 1 KB", ""},
		{"ListPages", Count(ListPages), "Pages of one list", malformed, "A page has 25 objects", ""},
		{"ListEntries", Count(ListEntries), "Objects in one list", malformed,
			"Larger vaults need more calls than Azure allows", ""},
		{"ListBytes", Bytes(ListBytes), "Names and tags in one list", malformed,
			"10,000 objects with 1.6 KB of tags each", ""},
		{"SignInAnswerBytes", Bytes(SignInAnswerBytes), "One answer of Entra ID or the metadata service",
			"Signing in fails with `VaultUnavailable`", "Tokens have a few KB", ""},
		{"ResponseHeaderBytes", Bytes(ResponseHeaderBytes), "Headers of one answer",
			"The call fails with `VaultUnavailable`", "Headers of Azure have about 1 KB", ""},
		{"VaultRetryAfter", Duration(VaultRetryAfter), "Wait that an answer requests (`Retry-After`)",
			"The call is retried after this time", "A wrong header must not block a vault for a day", ""},
		{"VaultReadTime", Duration(VaultReadTime), "One read of a vault, with retries and token",
			"The read fails with `VaultUnavailable`", "Pods wait for the read", ""},
		{"CloudConfigBytes", Bytes(CloudConfigBytes), "azure.json, and the environment file of a private cloud",
			"The program rejects the file", "Usual files have about 2 KB", ""},
		{"CredentialFileBytes", Bytes(CredentialFileBytes), "File with a certificate or token to sign in with",
			"The program rejects the file", "A Kubernetes Secret holds at most this", ""},
		{"VaultClients", Count(VaultClients), "Cached clients of vaults, by vault, type and identity", forgotten,
			"About 4 KiB each; a vault that never answered has none", ""},
		{"OtherTypeLookups", Count(OtherTypeLookups), "Missing objects with a cached search for other types",
			"The search is repeated", "One or two extra calls each", ""},
		{"CachedIdentities", Count(CachedIdentities), "ServiceAccounts with a cached credential", "Some sign in again",
			"About 20 KiB each", ""},
		{"CachedAnswers", Count(CachedAnswers), "Cached answers of vaults", forgotten,
			"One for each object of a large installation", ""},
		{"CachedAnswerBytes", Bytes(CachedAnswerBytes), "Bytes of cached answers", forgotten,
			"At most a quarter of the default memory limit", ""},
		{"CachedAnswerAge", Duration(CachedAnswerAge), "Age of a cached answer that a list can confirm",
			"The object is read again", "Outages of vaults are usually shorter", ""},
		{"RefreshedLists", Count(RefreshedLists), "Lists that are compared with cached answers",
			"Objects of further vaults are read one by one", "Users can name any number of vaults", ""},
		{"CircuitBreakers", Count(CircuitBreakers), "Pairs of vault and identity with a circuit breaker",
			"Those without calls are evicted", "Users can name any number of vaults", ""},
		{"RateLimitedVaults", Count(RateLimitedVaults), "Vaults with a rate limiter", "Idle ones are evicted",
			"Users can name any number of vaults", ""},
		{"MetricVaults", Count(MetricVaults), "Vaults with a label of their own in metrics",
			"Further ones, and those that never answered, have the label `other`", "Each label has about 30 series",
			""},
		{"CallsPerVault", Count(CallsPerVault), "Concurrent calls of one vault", "Further calls wait",
			"More calls do not help at the limits of Azure", ""},
		{"CallsPerIdentity", Count(CallsPerIdentity),
			"Concurrent calls of one identity at one vault, for each priority",
			"Further calls wait for up to 2 seconds, and are then deferred",
			"A vault that does not answer blocks at most this many calls", ""},
		{"CallsPerNamespace", Count(CallsPerNamespace), "Calls of one namespace among these",
			"Further calls wait for another call of the namespace", "The rest is for other namespaces", ""},
	}}
}
