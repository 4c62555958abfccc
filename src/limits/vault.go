package limits

import "time"

// Bounds of what vaults, Entra ID and the metadata service may send.
const (
	// VaultValueBytes is the most bytes of one value.
	VaultValueBytes = 64 << 10
	// VaultAnswerBytes is the most bytes of one answer of a vault.
	VaultAnswerBytes = 2 << 20
	// VaultErrorBytes is the most bytes of an error answer that are looked into.
	VaultErrorBytes = 64 << 10
	// ListPages, ListEntries and ListBytes bound one list of a vault.
	ListPages   = 400
	ListEntries = 10_000
	ListBytes   = 16 << 20
	// SignInAnswerBytes is the most bytes of one answer of Entra ID or the metadata service.
	SignInAnswerBytes = 256 << 10
	// ResponseHeaderBytes is the most bytes of the headers of an answer.
	ResponseHeaderBytes = 64 << 10
	// RetryAfter is the longest wait that an answer can ask for.
	RetryAfter = 5 * time.Minute
	// VaultReadTime is how long one read may take, with its retries and its token.
	VaultReadTime = 20 * time.Second
)

// Bounds of files that say how to sign in.
const (
	// CloudConfigBytes is the most bytes of azure.json, and of the environment file of a private cloud.
	CloudConfigBytes = 256 << 10
	// CredentialFileBytes is the most bytes of a certificate or token that an identity signs in with.
	CredentialFileBytes = 1 << 20
)

// Bounds of what is remembered of vaults and identities.
const (
	// VaultClients is the most clients of vaults that are kept.
	VaultClients = 1000
	// OtherTypes is the most missing objects of which it is known whether there is another type of the name.
	OtherTypes = 500
	// ReadIdentities is the most ServiceAccounts whose sign-in is kept.
	ReadIdentities = 1000
	// RememberedAnswers and RememberedBytes bound the answers of vaults in memory.
	RememberedAnswers = 10_000
	RememberedBytes   = 64 << 20
	// RememberedTime is the longest that an answer stays in memory for the sake of a list that may confirm it.
	RememberedTime = 2 * time.Hour
	// WatchedLists is the most lists of vaults that are compared with what is known of their objects.
	WatchedLists = 2000
	// BreakerKeys is the most pairs of vault and identity whose silence is remembered.
	BreakerKeys = 2000
	// GovernedVaults is the most vaults whose pace is remembered.
	GovernedVaults = 1000
	// MetricVaults is the most vaults with metrics of their own.
	MetricVaults = 500
)

// Bounds of calls that are on their way.
const (
	// CallsPerVault is the most calls of one vault at once.
	CallsPerVault = 32
	// CallsPerIdentity is the most calls of one identity at one vault, for each priority.
	CallsPerIdentity = 20
	// CallsPerNamespace is the most of these that one namespace has at once.
	CallsPerNamespace = 16
)

// vaultArea lists the bounds of what vaults answer and what is remembered of them.
func vaultArea() Area {
	const forgotten, malformed = "The ones that were used least recently are forgotten.",
		"The read fails with `MalformedObject`; what was synced stays."
	return Area{Title: "Vaults", Limits: []Limit{
		{"VaultValueBytes", Bytes(VaultValueBytes), "Value of an object", malformed, "Azure allows 25 KB.", ""},
		{"VaultAnswerBytes", Bytes(VaultAnswerBytes), "One answer of a vault",
			"The read fails with `VaultUnavailable`.",
			"A page of 25 objects with all tags that Azure allows, escaped, fits.", ""},
		{"VaultErrorBytes", Bytes(VaultErrorBytes), "Error answer that is looked into for a code",
			"The rest is ignored.", "Azure's have about 1 KB.", ""},
		{"ListPages", Count(ListPages), "Pages of one list", malformed, "25 objects a page.", ""},
		{"ListEntries", Count(ListEntries), "Objects in one list", malformed,
			"Larger vaults cost more calls than Azure allows.", ""},
		{"ListBytes", Bytes(ListBytes), "Names and tags in one list", malformed,
			"10,000 objects with 1.6 KB of tags each.", ""},
		{"SignInAnswerBytes", Bytes(SignInAnswerBytes), "One answer of Entra ID or the metadata service",
			"Signing in fails with `VaultUnavailable`.", "Tokens have a few KB.", ""},
		{"ResponseHeaderBytes", Bytes(ResponseHeaderBytes), "Headers of one answer",
			"The call fails with `VaultUnavailable`.", "Azure's have about 1 KB.", ""},
		{"RetryAfter", Duration(RetryAfter), "Wait that an answer asks for (`Retry-After`)",
			"It is tried again after that time.", "A wrong header must not stop a vault for a day.", ""},
		{"VaultReadTime", Duration(VaultReadTime), "One read of a vault, with retries and token",
			"The read fails with `VaultUnavailable`.", "Pods wait for it.", ""},
		{"CloudConfigBytes", Bytes(CloudConfigBytes), "azure.json, and the environment file of a private cloud",
			"The program refuses the file.", "Real ones have about 2 KB.", ""},
		{"CredentialFileBytes", Bytes(CredentialFileBytes), "File with a certificate or token to sign in with",
			"The program refuses the file.", "A Kubernetes Secret holds no more.", ""},
		{"VaultClients", Count(VaultClients), "Clients of vaults that are kept, by vault, type and identity", forgotten,
			"About 4 KiB each; none for a vault that never answered.", ""},
		{"OtherTypes", Count(OtherTypes), "Missing objects that were looked for under other types",
			"They are looked for again.", "One extra call or two for each.", ""},
		{"ReadIdentities", Count(ReadIdentities), "ServiceAccounts whose sign-in is kept", "Some sign in once more.",
			"About 20 KiB each.", ""},
		{"RememberedAnswers", Count(RememberedAnswers), "Answers of vaults in memory", forgotten,
			"One for each object of a large installation.", ""},
		{"RememberedBytes", Bytes(RememberedBytes), "Bytes of answers in memory", forgotten,
			"A quarter of the default memory limit at most.", ""},
		{"RememberedTime", Duration(RememberedTime), "Age of an answer in memory that a list may confirm",
			"It is read again.", "Vaults are mostly back by then.", ""},
		{"WatchedLists", Count(WatchedLists), "Lists that are compared with what is known of their objects",
			"Objects of further vaults are read one by one.", "Users name vaults.", ""},
		{"BreakerKeys", Count(BreakerKeys), "Pairs of vault and identity whose silence is remembered",
			"Those without calls are forgotten.", "Users name vaults.", ""},
		{"GovernedVaults", Count(GovernedVaults), "Vaults whose pace is remembered", "Those that rest are forgotten.",
			"Users name vaults.", ""},
		{"MetricVaults", Count(MetricVaults), "Vaults with metrics of their own",
			"Further ones, and those that never answered, share the name `other`.", "Each name is about 30 series.",
			""},
		{"CallsPerVault", Count(CallsPerVault), "Calls of one vault at once", "They wait for their turn.",
			"More gain nothing at the limits of Azure.", ""},
		{"CallsPerIdentity", Count(CallsPerIdentity), "Calls of one identity at one vault at once, for each priority",
			"They wait up to 2 seconds and then come back later.", "A vault that is silent holds no more.", ""},
		{"CallsPerNamespace", Count(CallsPerNamespace), "Calls of one namespace among these",
			"They wait for another one of the namespace.", "The rest is for other namespaces.", ""},
	}}
}
