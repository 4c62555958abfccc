package limits

import (
	"slices"
	"time"
)

// Bounds of what an output or a variable may become.
const (
	// OutputBytes bounds the values of one Secret or ConfigMap together.
	OutputBytes = 1 << 20
	// PodValueBytes bounds one value of a pod, and each intermediate value on the way to it.
	PodValueBytes = 6 << 20
	// Transforms bounds the transforms of one value.
	Transforms = 16
)

// Bounds of objects with several entries.
const (
	// StructuredBytes bounds the JSON or YAML of an object with several entries.
	StructuredBytes = 128 << 10
	// Entries bounds the entries of one object.
	Entries = 1000
	// NestedLevels bounds how deep an entry is nested.
	NestedLevels = 1000
	// YAMLNodes bounds the nodes that are visited in one YAML document, with those that aliases and merge keys repeat.
	YAMLNodes = 50_000
)

// Bounds of spec.data and spec.dataFrom.
const (
	// DataItems bounds the objects that spec.data names.
	DataItems = 100
	// Searches bounds the searches of spec.dataFrom.
	Searches = 20
	// FoundSecrets bounds the secrets that the searches of one resource find.
	FoundSecrets = 500
	// ExpressionBytes bounds the text of a regular expression and of a rewrite's target.
	ExpressionBytes = 256
	// ExpressionProgram bounds the instructions of a compiled regular expression.
	ExpressionProgram = 256
	// SearchSteps bounds the steps of all searches of one resource: instructions of the expressions times bytes of the
	// names.
	SearchSteps = 50_000_000
)

// Bounds of certificates and keys.
const (
	// CertificateBytes bounds a PFX or PEM.
	CertificateBytes = 1 << 20
	// Certificates bounds the certificates of one PFX or PEM.
	Certificates = 200
	// PEMBlocks bounds the blocks of one PEM.
	PEMBlocks = 1000
	// PrivateKeyBytes bounds the DER of a private key.
	PrivateKeyBytes = 16 << 10
	// KeyDerivationRounds bounds the rounds of all key derivations of one file.
	KeyDerivationRounds = 200_000
	// ScryptBytes bounds the memory of a key derivation by scrypt.
	ScryptBytes = 32 << 20
	// DERElements bounds the elements of one layer of a PFX.
	DERElements = 20_000
	// DERLevels bounds how deep they are nested.
	DERLevels = 32
	// NestedSafes bounds how deep safes are nested in safes.
	NestedSafes = 4
	// PeelLevels bounds the layers of encoding below which a private key is looked for.
	PeelLevels = 4
	// PeelBytes bounds what is looked at for that.
	PeelBytes = 8 << 20
)

// Bounds of the pool in which decoding runs.
const (
	// DecodeTime is how long decoding may take before its worker serves others.
	DecodeTime = 10 * time.Second
	// StuckDecodes bounds the goroutines of one namespace that took longer and have not ended.
	StuckDecodes = 2
	// AllStuckDecodes bounds them in all namespaces.
	AllStuckDecodes = 16
	// WaitingDecodes bounds what one namespace has waiting.
	WaitingDecodes = 256
	// DecodedBytes bounds the decoded output that is remembered.
	DecodedBytes = 16 << 20
)

// decodeArea lists the bounds of what is made of a vault's content.
func decodeArea() Area {
	return Area{Title: "Decoding", Limits: slices.Concat(outputLimits(), certificateLimits(), searchLimits(),
		poolLimits())}
}

func outputLimits() []Limit {
	return []Limit{
		{Name: "OutputBytes", Value: Bytes(OutputBytes),
			Bounds:   "Values of one Secret or ConfigMap together, counted while they are made",
			Exceeded: "The output keeps its data; the condition says `MalformedObject` and names the object",
			Reason:   "Kubernetes stores no more in one object"},
		{Name: "PodValueBytes", Value: Bytes(PodValueBytes),
			Bounds:   "One value of a pod, and each intermediate value that transforms make",
			Exceeded: "The container does not start; its log names the variable",
			Reason:   "Linux passes no more on to a program"},
		{Name: "Transforms", Value: Count(Transforms), Bounds: "Transforms of one value",
			Exceeded: "`InvalidSpec`", Reason: "The schema of the resource; each base64encode adds a third"},
		{Name: "StructuredBytes", Value: Bytes(StructuredBytes), Bounds: "JSON or YAML of a multi-key-value-secret",
			Exceeded: "`MalformedObject`",
			Reason:   "Five times what Key Vault stores in a secret; a parsed byte takes about 130 bytes of memory"},
		{Name: "Entries", Value: Count(Entries), Bounds: "Entries of a multi-key-value-secret",
			Exceeded: "`MalformedObject`", Reason: "A Secret of 1 MiB with 1 KiB per value"},
		{Name: "NestedLevels", Value: Count(NestedLevels), Bounds: "Levels of lists and mappings in one entry",
			Exceeded: "`MalformedObject`", Reason: "Each level takes stack; no configuration has more than a few"},
		{Name: "YAMLNodes", Value: Count(YAMLNodes),
			Bounds:   "Nodes visited in a YAML document, with what aliases and merge keys repeat",
			Exceeded: "`MalformedObject`", Reason: "Aliases of aliases grow exponentially"},
	}
}

func searchLimits() []Limit {
	return []Limit{
		{Name: "DataItems", Value: Count(DataItems), Bounds: "Objects in `spec.data`", Exceeded: "`InvalidSpec`",
			Reason: "The schema of the resource"},
		{Name: "Searches", Value: Count(Searches), Bounds: "Searches in `spec.dataFrom`", Exceeded: "`InvalidSpec`",
			Reason: "The schema of the resource"},
		{Name: "FoundSecrets", Value: Count(FoundSecrets), Bounds: "Secrets that the searches of one resource find",
			Exceeded: "`MalformedObject`; narrow the searches",
			Reason:   "Each one is a read of the vault, and a key of one Secret"},
		{Name: "ExpressionBytes", Value: Bytes(ExpressionBytes), Bounds: "Regular expression or rewrite target",
			Exceeded: "`InvalidSpec`",
			Reason:   "Names of Key Vault have at most 127 characters"},
		{Name: "ExpressionProgram", Value: Count(ExpressionProgram) + " instructions",
			Bounds:   "A compiled regular expression; `x{100}` counts as 100",
			Exceeded: "`InvalidSpec`; use fewer or smaller counts", Reason: "Matching takes time in proportion to it"},
		{Name: "SearchSteps", Value: Count(SearchSteps),
			Bounds:   "Work of all searches of a resource: instructions times bytes of the names in the vault",
			Exceeded: "`InvalidSpec`; use `prefix` or a simpler expression",
			Reason:   "About one second of one processor"},
	}
}

func poolLimits() []Limit {
	return []Limit{
		{Name: "DecodeTime", Value: Duration(DecodeTime), Bounds: "Decoding of one output or variable",
			Exceeded: "`Throttled`; its worker serves others, and it is tried again later",
			Reason:   "All other bounds together allow about two seconds"},
		{Name: "StuckDecodes", Value: Count(StuckDecodes),
			Bounds:   "Decodings of one namespace that took longer and have not ended",
			Exceeded: "`Throttled` for the namespace until one ends",
			Reason:   "A goroutine can't be killed; other namespaces must not pay for it"},
		{Name: "AllStuckDecodes", Value: Count(AllStuckDecodes), Bounds: "Such decodings of all namespaces",
			Exceeded: "Further ones keep their workers",
			Reason:   "They share the processor with the rest of the program"},
		{Name: "WaitingDecodes", Value: Count(WaitingDecodes),
			Bounds: "Decodings of one namespace that wait for a worker; a namespace has at most half of the " +
				"workers, and namespaces take turns",
			Exceeded: "`Throttled`", Reason: "More than all resources of a namespace that are refreshed at once"},
		{Name: "DecodedBytes", Value: Bytes(DecodedBytes),
			Bounds:   "Decoded output that is remembered while nothing changed",
			Exceeded: "What was used the longest time ago is wiped, and decoded again when it is needed",
			Reason: "16 outputs of the largest size, or thousands of ordinary ones, within the memory limit of the " +
				"chart"},
	}
}

func certificateLimits() []Limit {
	return []Limit{
		{Name: "CertificateBytes", Value: Bytes(CertificateBytes), Bounds: "A PFX or PEM, after base64",
			Exceeded: "`MalformedObject`", Reason: "Key Vault stores 25 KiB, Kubernetes 1 MiB"},
		{Name: "Certificates", Value: Count(Certificates), Bounds: "Certificates in a PFX or PEM",
			Exceeded: "`MalformedObject`", Reason: "All public roots together are fewer"},
		{Name: "PEMBlocks", Value: Count(PEMBlocks), Bounds: "Blocks in a PEM, of any type",
			Exceeded: "`MalformedObject`, or the program refuses to start for `extraCACertificates`",
			Reason:   "Bundles of companies have a few hundred"},
		{Name: "PrivateKeyBytes", Value: Bytes(PrivateKeyBytes), Bounds: "A private key in DER",
			Exceeded: "`MalformedObject`",
			Reason:   "RSA of 16,384 bits has 9 KiB; checking a key takes time with the third power of its size"},
		{Name: "KeyDerivationRounds", Value: Count(KeyDerivationRounds),
			Bounds: "Rounds of all key derivations of a file: its MAC, every encrypted safe and every key, also " +
				"inside encrypted layers; scrypt counts N·r·p / 4",
			Exceeded: "`MalformedObject`; export it again with fewer, such as `openssl pkcs12 -export -iter 2048`",
			Reason:   "About 0.1 seconds; common tools use 2,048 to 30,000"},
		{Name: "ScryptBytes", Value: Bytes(ScryptBytes), Bounds: "Memory of a key derivation by scrypt",
			Exceeded: "`MalformedObject`", Reason: "OpenSSL uses half of it"},
		{Name: "DERElements", Value: Count(DERElements), Bounds: "Elements in one layer of a PFX",
			Exceeded: "`MalformedObject`", Reason: "200 certificates with attributes have 6,000"},
		{Name: "DERLevels", Value: Count(DERLevels), Bounds: "Levels of elements in one layer of a PFX",
			Exceeded: "`MalformedObject`", Reason: "The standard needs ten"},
		{Name: "NestedSafes", Value: Count(NestedSafes), Bounds: "Levels of safes in safes",
			Exceeded: "`MalformedObject`", Reason: "Common tools nest none"},
		{Name: "PeelLevels", Value: Count(PeelLevels),
			Bounds: "Layers of encoding (base64, hexadecimal, JSON strings, gzip, …) in which a private key in a " +
				"ConfigMap is found",
			Exceeded: "The value is taken: this guards against accidents, and is not a boundary",
			Reason:   "Tools encode a key once or twice"},
		{Name: "PeelBytes", Value: Bytes(PeelBytes), Bounds: "Content of all these layers of one value",
			Exceeded: "`MalformedObject`", Reason: "Eight times the largest ConfigMap"},
	}
}
