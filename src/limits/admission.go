package limits

import "time"

// Limits of one admission review. They are counted in its text before anything is decoded, in the review, the object
// and the old object separately.
const (
	ReviewBytes      = 3 << 20
	ReviewDepth      = 64
	ReviewElements   = 200_000
	ReviewContainers = 500
	ReviewVariables  = 20_000
	ReviewListItems  = 5_000
	// ReviewMemoryFactor and ReviewElementMemory are the bytes of memory that are reserved for each byte and each
	// element of a review.
	ReviewMemoryFactor  = 8
	ReviewElementMemory = 128
)

// Limits of answers.
const (
	InjectedPodBytes   = 3 << 20
	AdmissionWarnings  = 20
	AdmissionNameBytes = 253
	AdmissionLogRate   = 10
	AdmissionLogBurst  = 50
	// AdmissionMessageBytes limits the whole message of a rejected pod, including all names.
	AdmissionMessageBytes = 4 << 10
)

// Limits of the files that a pod requests.
const (
	// FilesAnnotationBytes limits one annotation that lists files.
	FilesAnnotationBytes = 32 << 10
	// PodFiles limits the files and folders of a pod, and PodFileDirectories the directories that hold them. Containers
	// with the same files in a directory share it; with different files, each has its own.
	PodFiles           = 200
	PodFileDirectories = 20
	// FilePathBytes and FilePathLevels limit the path of a file.
	FilePathBytes  = 1 << 10
	FilePathLevels = 32
	// FilesRecordBytes limits the JSON of wire.PodFiles.
	FilesRecordBytes = 120 << 10
	// OnChangeURLBytes limits the URL that is called after a change of files.
	OnChangeURLBytes = 1 << 10
)

// Limits of reads for one review, and of cached reads.
const (
	AdmissionSources = 300
	MissingSourceAge = time.Second
	// UntrustedSourceReadsPerSecond limits reads of ConfigMaps and Secrets for reviews of unknown senders.
	UntrustedSourceReadsPerSecond = 1000
	NamespaceEnabledAge           = 5 * time.Second
	NamespaceDisabledAge          = time.Second
	AdmissionCacheEntries         = 4096
	LimitRanges                   = 16
	LimitRangeAge                 = 5 * time.Second
	NodeSelectorTexts             = 500
	ServerVersionAge              = 10 * time.Minute
	ImageDenialDelay              = 3 * time.Second
	ImageDenialPause              = 500 * time.Millisecond
	ImageDenialAge                = time.Hour
	PodsInNamespace               = 2000
)

// admissionArea lists the limits of admission reviews and of the reads for them.
func admissionArea() Area {
	const denied = "The pod is rejected; the message names the limit"
	return Area{Title: "Admission webhook", Limits: append(append(readForReview(), filesForReview()...), []Limit{
		{Name: "ReviewBytes", Value: Bytes(ReviewBytes), Subject: "Body of an admission review",
			Exceeded: "The request is rejected with 413 before more is read",
			Reason:   "The API server accepts no larger request, and etcd stores half of it"},
		{Name: "ReviewDepth", Value: Count(ReviewDepth), Subject: "Nesting of the JSON of a review", Exceeded: denied,
			Reason: "A pod with managed fields has about 15 levels"},
		{Name: "ReviewElements", Value: Count(ReviewElements),
			Subject: "Keys and values in a review, in its object and in its old object, separately", Exceeded: denied,
			Reason: "20,000 variables with name and value are 100,000; the rest is for managed fields"},
		{Name: "ReviewContainers", Value: Count(ReviewContainers),
			Subject: "Containers, init containers and ephemeral containers of a pod together", Exceeded: denied,
			Reason: "A decoded container takes more than 1 KiB, however short its text is"},
		{Name: "ReviewVariables", Value: Count(ReviewVariables),
			Subject:  "Entries of env and envFrom of a pod together",
			Exceeded: denied,
			Reason:   "etcd does not store a pod with a larger environment"},
		{Name: "ReviewListItems", Value: Count(ReviewListItems),
			Subject: "Objects in all other lists of a pod (volumes, mounts, ports, status) together", Exceeded: denied,
			Reason: "A decoded volume takes about 300 bytes, however short its text is"},
		{Name: "ReviewMemoryFactor", Value: Count(ReviewMemoryFactor),
			Subject:  "Bytes of memory that are reserved for each byte of a review while it is processed",
			Exceeded: "If the memory for reviews is used up, the answer is 429 and the API server retries",
			Reason: "The text, its decoded form, the answer and its text, measured with the most expensive reviews " +
				"that the other limits allow"},
		{Name: "ReviewElementMemory", Value: Bytes(ReviewElementMemory),
			Subject:  "Memory that is reserved for each key and value of a review, besides its text",
			Exceeded: "As above", Reason: "Maps and lists of small values take more memory than their text"},
		{Name: "InjectedPodBytes", Value: Bytes(InjectedPodBytes), Subject: "Size of a pod with what the webhook adds",
			Exceeded: denied,
			Reason:   "The API server accepts no larger object, and etcd stores half of it"},
		{Name: "AdmissionWarnings", Value: Count(AdmissionWarnings), Subject: "Warnings in one answer",
			Exceeded: "The last warning has the number of omitted ones",
			Reason:   "The API server displays 4 KiB of warnings"},
		{Name: "AdmissionNameBytes", Value: Bytes(AdmissionNameBytes), Subject: "A name in a message or log line",
			Exceeded: "The name is truncated",
			Reason:   "Kubernetes has no longer names, but the review comes before names are validated"},
		{Name: "AdmissionLogRate", Value: Rate(AdmissionLogRate),
			Subject:  "Log lines about reviews of the API server, and separately about all other reviews",
			Exceeded: "Lines are omitted; the next line has their number",
			Reason:   "Clients must not fill the log"},
		{Name: "AdmissionLogBurst", Value: Count(AdmissionLogBurst), Subject: "Burst of log lines about reviews",
			Exceeded: "As above", Reason: "A rollout creates many pods at once"},
		{Name: "AdmissionMessageBytes", Value: Bytes(AdmissionMessageBytes),
			Subject: "Message of a rejected pod, and its log line", Exceeded: "The message is truncated",
			Reason: "The message has names of registries and their answers in addition to names in the pod"},
	}...)}
}

// filesForReview returns the limits of the files that a pod requests.
func filesForReview() []Limit {
	const denied = "The pod is rejected; the message names the limit"
	return []Limit{
		{Name: "FilesAnnotationBytes", Value: Bytes(FilesAnnotationBytes), Subject: "Annotation that lists files",
			Exceeded: denied, Reason: "200 files with options have about 24 KiB"},
		{Name: "PodFiles", Value: Count(PodFiles),
			Subject:  "Files and folders of a pod; those that a container has with other content count again",
			Exceeded: denied,
			Reason:   "Each is a reference that is kept fresh; a folder or a file of format `json` has many values"},
		{Name: "PodFileDirectories", Value: Count(PodFileDirectories),
			Subject:  "Directories with files in a pod; those that a container has with other content count again",
			Exceeded: denied,
			Reason:   "Each is a mount and is replaced on its own"},
		{Name: "FilePathBytes", Value: Bytes(FilePathBytes), Subject: "Path of a file", Exceeded: denied,
			Reason: "Linux opens paths of at most 4 KiB, and programs put something in front"},
		{Name: "FilePathLevels", Value: Count(FilePathLevels), Subject: "Levels of the path of a file",
			Exceeded: denied,
			Reason:   "The time of the checks grows with it; usual paths have fewer than ten"},
		{Name: "FilesRecordBytes", Value: Bytes(FilesRecordBytes),
			Subject: "The files of a pod, as the webhook records them in one variable", Exceeded: denied,
			Reason: "Linux passes 128 KiB in one variable"},
		{Name: "OnChangeURLBytes", Value: Bytes(OnChangeURLBytes), Subject: "URL of `akv2k8s.io/on-change`",
			Exceeded: denied, Reason: "Usual URLs of a reload have fewer than 100 bytes"},
	}
}

// readForReview returns the limits of reads of the API server for reviews.
func readForReview() []Limit {
	return []Limit{
		{Name: "AdmissionSources", Value: Count(AdmissionSources),
			Subject:  "ConfigMaps and Secrets that are sources of the environment of one pod",
			Exceeded: "The pod is rejected; the message names the limit",
			Reason:   "Each is a read of the API server"},
		{Name: "UntrustedSourceReadsPerSecond", Value: Rate(UntrustedSourceReadsPerSecond),
			Subject: "Reads of ConfigMaps and Secrets for reviews that are not known to come from the API server, in all " +
				"namespaces; each has a share",
			Exceeded: "The pod is rejected with the advice to try again",
			Reason:   "Any pod can send a review that names a namespace with injection and many sources"},
		{Name: "MissingSourceAge", Value: Duration(MissingSourceAge),
			Subject:  "Time for which the absence of a ConfigMap or Secret is cached",
			Exceeded: "It is read again",
			Reason:   "Many pods, or requests, name the same one"},
		{Name: "NamespaceEnabledAge", Value: Duration(NamespaceEnabledAge),
			Subject: "Time for which the label of a namespace is cached", Exceeded: "The namespace is read again",
			Reason: "Saves a read for each pod of a rollout"},
		{Name: "NamespaceDisabledAge", Value: Duration(NamespaceDisabledAge),
			Subject: "Time for which the absence of that label is cached; requests of a known API server bypass " +
				"the cache", Exceeded: "The namespace is read again",
			Reason: "Forged requests cost one read per second, and a new label takes effect at once"},
		{Name: "LimitRanges", Value: Count(LimitRanges),
			Subject:  "LimitRanges of a namespace that the resources of the init container respect",
			Exceeded: "Others are not read; the API server rejects a pod that violates them",
			Reason:   "A namespace has one or a few"},
		{Name: "LimitRangeAge", Value: Duration(LimitRangeAge), Subject: "Time for which LimitRanges are cached",
			Exceeded: "They are read again", Reason: "Saves a read for each pod of a rollout"},
		{Name: "NodeSelectorTexts", Value: Count(NodeSelectorTexts),
			Subject:  "Texts in a pod's nodeSelector, required node affinity and tolerations",
			Exceeded: "The pod gets an init container, unless it demands an image volume",
			Reason:   "They are compared with every node; usual pods have fewer than 20"},
		{Name: "ServerVersionAge", Value: Duration(ServerVersionAge),
			Subject:  "Time for which the version of the API server is cached",
			Exceeded: "It is read again", Reason: "It changes with an upgrade of the cluster"},
		{Name: "ImageDenialDelay", Value: Duration(ImageDenialDelay),
			Subject:  "Time after which a controller that keeps creating pods with image volumes is checked",
			Exceeded: "If none of its pods exists, the pods of its namespace get init containers",
			Reason:   "A policy denies such pods after the webhook, and the controller tries again within seconds"},
		{Name: "ImageDenialPause", Value: Duration(ImageDenialPause),
			Subject:  "Time between two such checks",
			Exceeded: "A later attempt of the controller is checked",
			Reason:   "Anyone who reaches the port can cause them"},
		{Name: "ImageDenialAge", Value: Duration(ImageDenialAge),
			Subject:  "Time for which such a namespace gets init containers",
			Exceeded: "An image volume is tried again", Reason: "Policies change rarely"},
		{Name: "PodsInNamespace", Value: Count(PodsInNamespace), Subject: "Pods of a namespace that such a check reads",
			Exceeded: "The pods count as created", Reason: "Only their metadata is read, about 2 KiB each"},
		{Name: "AdmissionCacheEntries", Value: Count(AdmissionCacheEntries),
			Subject:  "Cached answers of each of these kinds",
			Exceeded: "The cache is cleared", Reason: "About 200 bytes each"},
	}
}
