package limits

import (
	"slices"
	"time"
)

// Limits of an output or a variable.
const (
	// OutputBytes limits the values of one Secret or ConfigMap together.
	OutputBytes = 1 << 20
	// PodValueBytes limits one value of a pod, and each intermediate value of its transforms.
	PodValueBytes = 6 << 20
	// Transforms limits the transforms of one value.
	Transforms = 16
)

// Limits of objects with several entries.
const (
	// MultiKeyBytes limits the JSON or YAML of an object with several entries.
	MultiKeyBytes = 128 << 10
	// MultiKeyEntries limits the entries of one object.
	MultiKeyEntries = 1000
	// MultiKeyDepth limits the levels of lists and mappings in an entry.
	MultiKeyDepth = 1000
	// YAMLNodes limits the visited nodes of one YAML document, including those that aliases and merge keys repeat.
	YAMLNodes = 50_000
)

// Limits of spec.data and spec.dataFrom.
const (
	// DataItems limits the objects that spec.data names.
	DataItems = 100
	// DataFromSearches limits the searches of spec.dataFrom.
	DataFromSearches = 20
	// FoundSecrets limits the secrets that the searches of one resource find.
	FoundSecrets = 500
	// ExpressionBytes limits the text of a regular expression and of a rewrite's target.
	ExpressionBytes = 256
	// ExpressionInstructions limits the instructions of a compiled regular expression.
	ExpressionInstructions = 256
	// SearchSteps limits the steps of all searches of one resource: instructions of the expressions times bytes of the
	// names.
	SearchSteps = 50_000_000
)

// Limits of certificates and keys.
const (
	// CertificateBytes limits a PFX or PEM.
	CertificateBytes = 1 << 20
	// Certificates limits the certificates of one PFX or PEM.
	Certificates = 200
	// PEMBlocks limits the blocks of one PEM.
	PEMBlocks = 1000
	// PrivateKeyBytes limits the DER of a private key.
	PrivateKeyBytes = 16 << 10
	// KeyDerivationRounds limits the rounds of all key derivations of one file.
	KeyDerivationRounds = 200_000
	// OutputKeyDerivationRounds limits them for all files of one output.
	OutputKeyDerivationRounds = 5_000_000
	// ScryptBytes limits the memory of a key derivation by scrypt.
	ScryptBytes = 32 << 20
	// DERElements limits the elements of one layer of a PFX.
	DERElements = 20_000
	// DERLevels limits the levels of these elements.
	DERLevels = 32
	// NestedSafes limits the levels of safes in safes.
	NestedSafes = 4
	// KeyScanLevels limits the layers of encoding in which a private key is searched.
	KeyScanLevels = 4
	// KeyScanBytes limits the content of these layers of all values of one output.
	KeyScanBytes = 8 << 20
	// KeystorePasswordBytes limits the password of a PFX or JKS that is written.
	KeystorePasswordBytes = 1 << 10
)

// Limits of the pool in which decoding runs.
const (
	// DecodeTime limits one decoding. After it, the worker serves others.
	DecodeTime = 10 * time.Second
	// StuckDecodes limits the goroutines of one namespace that exceeded DecodeTime and have not ended.
	StuckDecodes = 2
	// TotalStuckDecodes limits these goroutines in all namespaces.
	TotalStuckDecodes = 16
	// QueuedDecodes limits the queued decodings of one namespace.
	QueuedDecodes = 256
	// DecodeCacheBytes limits the cache of decoded output.
	DecodeCacheBytes = 16 << 20
)

// decodeArea lists the limits of decoding a vault's content.
func decodeArea() Area {
	return Area{Title: "Decoding", Limits: slices.Concat(outputLimits(), certificateLimits(), searchLimits(),
		poolLimits())}
}

// outputLimits returns the limits of outputs and of objects with several entries.
func outputLimits() []Limit {
	return []Limit{
		{Name: "OutputBytes", Value: Bytes(OutputBytes),
			Subject:  "Values of one Secret or ConfigMap together, counted while they are decoded",
			Exceeded: "The output keeps its data; the condition says `MalformedObject` and names the object",
			Reason:   "Kubernetes stores at most this in one object"},
		{Name: "PodValueBytes", Value: Bytes(PodValueBytes),
			Subject:  "One value of a pod, and each intermediate value of its transforms",
			Exceeded: "The container does not start; its log names the variable",
			Reason:   "Linux passes at most this to a program"},
		{Name: "Transforms", Value: Count(Transforms), Subject: "Transforms of one value",
			Exceeded: "`InvalidSpec`", Reason: "The schema of the resource; each `base64encode` adds a third"},
		{Name: "MultiKeyBytes", Value: Bytes(MultiKeyBytes), Subject: "JSON or YAML of a multi-key-value-secret",
			Exceeded: "`MalformedObject`",
			Reason:   "Five times the size of a secret in Key Vault; a parsed byte takes about 130 bytes of memory"},
		{Name: "MultiKeyEntries", Value: Count(MultiKeyEntries), Subject: "Entries of a multi-key-value-secret",
			Exceeded: "`MalformedObject`", Reason: "A Secret of 1 MiB with 1 KiB per value"},
		{Name: "MultiKeyDepth", Value: Count(MultiKeyDepth), Subject: "Levels of lists and mappings in one entry",
			Exceeded: "`MalformedObject`", Reason: "Each level takes stack; configurations have a few levels"},
		{Name: "YAMLNodes", Value: Count(YAMLNodes),
			Subject:  "Visited nodes of a YAML document, including those that aliases and merge keys repeat",
			Exceeded: "`MalformedObject`", Reason: "Aliases of aliases grow exponentially"},
	}
}

// searchLimits returns the limits of spec.data and spec.dataFrom.
func searchLimits() []Limit {
	return []Limit{
		{Name: "DataItems", Value: Count(DataItems), Subject: "Objects in `spec.data`", Exceeded: "`InvalidSpec`",
			Reason: "The schema of the resource"},
		{Name: "DataFromSearches", Value: Count(DataFromSearches), Subject: "Searches in `spec.dataFrom`",
			Exceeded: "`InvalidSpec`",
			Reason:   "The schema of the resource"},
		{Name: "FoundSecrets", Value: Count(FoundSecrets), Subject: "Secrets that the searches of one resource find",
			Exceeded: "`MalformedObject`; narrow the searches",
			Reason:   "Each one is a read of the vault and a key of one Secret"},
		{Name: "ExpressionBytes", Value: Bytes(ExpressionBytes), Subject: "Regular expression or rewrite target",
			Exceeded: "`InvalidSpec`",
			Reason:   "Names in Key Vault have at most 127 characters"},
		{Name: "ExpressionInstructions", Value: Count(ExpressionInstructions) + " instructions",
			Subject:  "A compiled regular expression; `x{100}` counts as 100",
			Exceeded: "`InvalidSpec`; use fewer or smaller counts", Reason: "Matching takes time in proportion to it"},
		{Name: "SearchSteps", Value: Count(SearchSteps),
			Subject:  "Work of all searches of a resource: instructions times bytes of the names in the vault",
			Exceeded: "`InvalidSpec`; use `prefix` or a simpler expression",
			Reason:   "About one second of one processor"},
	}
}

// poolLimits returns the limits of the pool in which decoding runs.
func poolLimits() []Limit {
	return []Limit{
		{Name: "DecodeTime", Value: Duration(DecodeTime), Subject: "Decoding of one output or variable",
			Exceeded: "`Throttled`; the worker serves others, and the decoding is retried later",
			Reason:   "The other limits together allow about five seconds on an idle processor"},
		{Name: "StuckDecodes", Value: Count(StuckDecodes),
			Subject:  "Decodings of one namespace that exceeded this time and have not ended",
			Exceeded: "`Throttled` for the namespace until one ends",
			Reason:   "A goroutine cannot be killed, and must not take workers from other namespaces"},
		{Name: "TotalStuckDecodes", Value: Count(TotalStuckDecodes), Subject: "Such decodings of all namespaces",
			Exceeded: "Further ones keep their workers",
			Reason:   "They share the processor with the rest of the program"},
		{Name: "QueuedDecodes", Value: Count(QueuedDecodes),
			Subject: "Queued decodings of one namespace; a namespace has at most half of the workers, and " +
				"namespaces take turns",
			Exceeded: "`Throttled`", Reason: "More than the resources of a namespace that are refreshed at once"},
		{Name: "DecodeCacheBytes", Value: Bytes(DecodeCacheBytes),
			Subject:  "Cache of decoded output",
			Exceeded: "The least recently used output is wiped, and decoded again when it is needed",
			Reason: "16 outputs of the largest size, or thousands of usual ones, within the memory limit of the " +
				"chart"},
	}
}

// certificateLimits returns the limits of certificates and keys.
func certificateLimits() []Limit {
	return []Limit{
		{Name: "CertificateBytes", Value: Bytes(CertificateBytes), Subject: "A PFX or PEM, after base64",
			Exceeded: "`MalformedObject`", Reason: "Key Vault stores 25 KiB, Kubernetes 1 MiB"},
		{Name: "Certificates", Value: Count(Certificates), Subject: "Certificates in a PFX or PEM",
			Exceeded: "`MalformedObject`", Reason: "More than all public roots together"},
		{Name: "PEMBlocks", Value: Count(PEMBlocks), Subject: "Blocks in a PEM, of any type",
			Exceeded: "`MalformedObject`; for `extraCACertificates`, the program does not start",
			Reason:   "CA bundles of companies have a few hundred"},
		{Name: "PrivateKeyBytes", Value: Bytes(PrivateKeyBytes), Subject: "A private key in DER",
			Exceeded: "`MalformedObject`",
			Reason:   "RSA of 16,384 bits has 9 KiB; the time to check a key grows with the third power of its size"},
		{Name: "KeyDerivationRounds", Value: Count(KeyDerivationRounds),
			Subject: "Rounds of all key derivations of a file: its MAC, every encrypted safe and every key, also " +
				"inside encrypted layers; scrypt counts N·r·p / 4",
			Exceeded: "`MalformedObject`; export it with fewer rounds, such as `openssl pkcs12 -export -iter 2048`",
			Reason:   "About 0.1 seconds; common tools use 2,048 to 30,000"},
		{Name: "OutputKeyDerivationRounds", Value: Count(OutputKeyDerivationRounds),
			Subject:  "Rounds of all files of one output, also those in which a private key is searched",
			Exceeded: "`MalformedObject`; use several resources, or export the certificates again with fewer rounds",
			Reason:   "About 2.5 seconds; 500 certificates as Key Vault exports them need about 3,000,000"},
		{Name: "ScryptBytes", Value: Bytes(ScryptBytes), Subject: "Memory of a key derivation by scrypt",
			Exceeded: "`MalformedObject`", Reason: "Twice the memory that OpenSSL uses"},
		{Name: "DERElements", Value: Count(DERElements), Subject: "Elements in one layer of a PFX",
			Exceeded: "`MalformedObject`", Reason: "200 certificates with attributes have 6,000"},
		{Name: "DERLevels", Value: Count(DERLevels), Subject: "Levels of elements in one layer of a PFX",
			Exceeded: "`MalformedObject`", Reason: "The standard needs ten"},
		{Name: "NestedSafes", Value: Count(NestedSafes), Subject: "Levels of safes in safes",
			Exceeded: "`MalformedObject`", Reason: "Common tools do not nest safes"},
		{Name: "KeyScanLevels", Value: Count(KeyScanLevels),
			Subject: "Layers of encoding (base64, hexadecimal, JSON strings, gzip, …) in which a private key in a " +
				"ConfigMap is found",
			Exceeded: "The value is accepted: the check prevents accidents, and is not a security boundary",
			Reason:   "Tools encode a key once or twice"},
		{Name: "KeyScanBytes", Value: Bytes(KeyScanBytes),
			Subject:  "Content of all these layers of all values of one output",
			Exceeded: "`MalformedObject`", Reason: "Eight times the largest ConfigMap"},
		{Name: "KeystorePasswordBytes", Value: Bytes(KeystorePasswordBytes),
			Subject:  "Password of a PFX or JKS that is written",
			Exceeded: "Not in use yet: nothing writes such files. `MalformedObject`",
			Reason:   "A longer value is a file that was selected by mistake"},
	}
}
