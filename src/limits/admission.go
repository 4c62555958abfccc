package limits

import "time"

// Bounds of one admission review. They are counted in its text, before anything is decoded, in the review, the object
// and the old object each.
const (
	ReviewBytes      = 3 << 20
	ReviewDepth      = 64
	ReviewElements   = 200_000
	ReviewContainers = 500
	ReviewVariables  = 20_000
	ReviewListed     = 5_000
	// ReviewWeight and ReviewElementWeight are the bytes of memory that each byte and each element of a review is
	// counted as.
	ReviewWeight        = 8
	ReviewElementWeight = 128
)

// Bounds of what is answered.
const (
	InjectedPodBytes   = 3 << 20
	AdmissionWarnings  = 20
	AdmissionNameBytes = 253
	AdmissionLogRate   = 10
	AdmissionLogBurst  = 50
	// AdmissionMessageBytes bounds a whole refusal, whatever names are in it.
	AdmissionMessageBytes = 4 << 10
)

// Bounds of what is read for one review, and of what is remembered of it.
const (
	AdmissionSources     = 300
	MissingSourceAge     = time.Second
	NamespaceEnabledAge  = 5 * time.Second
	NamespaceDisabledAge = time.Second
	RecentAnswers        = 4096
	LimitRanges          = 16
	LimitRangeAge        = 5 * time.Second
)

// admissionArea lists the bounds of admission reviews and what is read for them.
func admissionArea() Area {
	const denied = "The pod is refused; the message names the limit."
	return Area{Title: "Admission webhook", Limits: append(readForReview(), []Limit{
		{Name: "ReviewBytes", Value: Bytes(ReviewBytes), Bounds: "Body of an admission review",
			Exceeded: "The request is refused with code 413 before more is read.",
			Reason:   "The API server takes no larger request, and etcd stores half of it."},
		{Name: "ReviewDepth", Value: Count(ReviewDepth), Bounds: "Nesting of the JSON of a review", Exceeded: denied,
			Reason: "A pod with managed fields is nested about 15 deep."},
		{Name: "ReviewElements", Value: Count(ReviewElements),
			Bounds: "Keys and values in a review, in its object and in its old object, each", Exceeded: denied,
			Reason: "20,000 variables with name and value are 100,000; the rest is for managed fields."},
		{Name: "ReviewContainers", Value: Count(ReviewContainers),
			Bounds: "Containers, init containers and ephemeral containers of a pod together", Exceeded: denied,
			Reason: "A decoded container takes more than 1 KiB, however short its text is."},
		{Name: "ReviewVariables", Value: Count(ReviewVariables), Bounds: "Entries of env and envFrom of a pod together",
			Exceeded: denied,
			Reason:   "Larger environments do not fit into what etcd stores of a pod."},
		{Name: "ReviewListed", Value: Count(ReviewListed),
			Bounds: "Objects in all other lists of a pod (volumes, mounts, ports, status) together", Exceeded: denied,
			Reason: "A decoded volume takes some 300 bytes, however short its text is."},
		{Name: "ReviewWeight", Value: Count(ReviewWeight),
			Bounds:   "Bytes of memory that each byte of a review is counted as while it is worked on",
			Exceeded: "If there is not so much left for reviews, the answer is 429 and the API server tries again.",
			Reason: "The text, its decoded form, the answer and its text, measured with the most expensive reviews " +
				"that the other limits allow."},
		{Name: "ReviewElementWeight", Value: Bytes(ReviewElementWeight),
			Bounds:   "Memory that each key and value of a review is counted as, besides its text",
			Exceeded: "As above.", Reason: "Maps and lists of small values take more memory than their text."},
		{Name: "InjectedPodBytes", Value: Bytes(InjectedPodBytes), Bounds: "Size of a pod with what the webhook adds",
			Exceeded: denied,
			Reason:   "The API server takes no larger object, and etcd stores half of it."},
		{Name: "AdmissionWarnings", Value: Count(AdmissionWarnings), Bounds: "Warnings in one answer",
			Exceeded: "The last one says how many more there are.",
			Reason:   "The API server shows 4 KiB of warnings."},
		{Name: "AdmissionNameBytes", Value: Bytes(AdmissionNameBytes), Bounds: "A name in a message or log line",
			Exceeded: "It is cut off.",
			Reason:   "No name of Kubernetes is longer, but a review is seen before its names are checked."},
		{Name: "AdmissionLogRate", Value: Rate(AdmissionLogRate),
			Bounds:   "Log lines about reviews, those of the API server and all others apart",
			Exceeded: "Lines are left out; the next one says how many.",
			Reason:   "Text that others word must not fill the log."},
		{Name: "AdmissionLogBurst", Value: Count(AdmissionLogBurst), Bounds: "Log lines about reviews at once",
			Exceeded: "As above.", Reason: "A rollout creates many pods at once."},
		{Name: "AdmissionMessageBytes", Value: Bytes(AdmissionMessageBytes),
			Bounds: "Message of a refusal, and its log line", Exceeded: "It is cut off.",
			Reason: "Names of registries and their answers come on top of names in the pod."},
	}...)}
}

func readForReview() []Limit {
	return []Limit{
		{Name: "AdmissionSources", Value: Count(AdmissionSources),
			Bounds:   "ConfigMaps and Secrets that the environment of one pod comes from",
			Exceeded: "The pod is refused; the message names the limit.",
			Reason:   "Each is a read of the API server."},
		{Name: "MissingSourceAge", Value: Duration(MissingSourceAge),
			Bounds:   "Time for which a ConfigMap or Secret that does not exist is not looked for again",
			Exceeded: "It is read again.",
			Reason:   "Many pods, or requests, name the same one."},
		{Name: "NamespaceEnabledAge", Value: Duration(NamespaceEnabledAge),
			Bounds: "Time for which a namespace is known to have the label", Exceeded: "It is read again.",
			Reason: "Saves a read for each pod of a rollout."},
		{Name: "NamespaceDisabledAge", Value: Duration(NamespaceDisabledAge),
			Bounds: "Time for which a namespace is known to lack the label; requests of a known API server have it " +
				"read again", Exceeded: "It is read again.",
			Reason: "Forged requests cost one read a second, and a new label holds at once."},
		{Name: "LimitRanges", Value: Count(LimitRanges),
			Bounds:   "LimitRanges of a namespace that the init container is fitted into",
			Exceeded: "Others are not read; the API server says what does not fit.",
			Reason:   "A namespace has one, or a few."},
		{Name: "LimitRangeAge", Value: Duration(LimitRangeAge), Bounds: "Time for which they are remembered",
			Exceeded: "They are read again.", Reason: "Saves a read for each pod of a rollout."},
		{Name: "RecentAnswers", Value: Count(RecentAnswers), Bounds: "Answers of each kind that are remembered so",
			Exceeded: "All are forgotten.", Reason: "Some 200 bytes each."},
	}
}
