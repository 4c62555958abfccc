package limits

import (
	"slices"
	"time"
)

// SharedKeyNames bounds the note of a resource's data keys on an output that also holds data of others, in bytes.
const SharedKeyNames = 32 << 10

// StatusKeyRetry is the time between two attempts to read the key of status hashes while its Secret is missing.
const StatusKeyRetry = time.Minute

// Bounds of what is told about resources.
const (
	// ConditionMessage bounds the message of a condition, in bytes.
	ConditionMessage = 1024
	// EventNote bounds the text of an event, in bytes.
	EventNote = 1000
	// SuccessEvents are the events about good syncs at once, and SuccessEventRate those per second after that.
	SuccessEvents    = 100
	SuccessEventRate = 1
	// FailureEvents are the events about failures at once, and FailureEventRate those per second after that.
	FailureEvents    = 1000
	FailureEventRate = 10
)

// Bounds of the work that a resource causes.
const (
	// ResourcesPerOutput bounds the resources that feed one Secret or ConfigMap.
	ResourcesPerOutput = 100
	// ParallelReads bounds the objects of one resource that are read at once.
	ParallelReads = 8
	// UntriedTime bounds the wait after a failure that may mend itself, whatever the vault asks for.
	UntriedTime = 6 * time.Minute
	// QuietTime bounds how long the reads of a resource may be put off before its conditions say so.
	QuietTime = time.Minute
	// ClaimWindow is how often an installation overwrites the name of another one that syncs the same resource.
	ClaimWindow = 30 * time.Minute
)

// controllerArea lists the bounds of what AzureKeyVaultSecrets can cause.
func controllerArea() Area {
	return Area{Title: "Controller", Limits: slices.Concat(toldLimits(), workLimits())}
}

func toldLimits() []Limit {
	return []Limit{
		{Name: "ConditionMessage", Value: Bytes(ConditionMessage), Bounds: "message of a condition",
			Exceeded: "the message is shortened",
			Reason:   "statuses are kept in the memory of everybody who watches resources"},
		{Name: "EventNote", Value: Bytes(EventNote), Bounds: "text of an event", Exceeded: "the text is shortened",
			Reason: "the API server takes 1 KiB"},
		{Name: "SuccessEvents", Value: Count(SuccessEvents), Bounds: "events about good syncs at once",
			Exceeded: "`SuccessEventRate` holds; statuses say the same",
			Reason:   "when thousands of resources are synced, events would be a third of the API server's work"},
		{Name: "SuccessEventRate", Value: Rate(SuccessEventRate), Bounds: "events about good syncs after that",
			Exceeded: "no event; statuses say the same",
			Reason:   "as above"},
		{Name: "FailureEvents", Value: Count(FailureEvents), Bounds: "events about failures at once",
			Exceeded: "`FailureEventRate` holds; statuses say the same",
			Reason:   "a vault that thousands of resources read may fail for all of them"},
		{Name: "FailureEventRate", Value: Rate(FailureEventRate), Bounds: "events about failures after that",
			Exceeded: "no event; statuses say the same",
			Reason:   "as above"},
	}
}

func workLimits() []Limit {
	return []Limit{
		{Name: "ResourcesPerOutput", Value: Count(ResourcesPerOutput),
			Bounds:   "resources that feed one Secret or ConfigMap",
			Exceeded: "TargetConflict for further ones; use `spec.data`, or another name in `spec.output`",
			Reason:   "each write makes every one of them read the object again"},
		{Name: "ParallelReads", Value: Count(ParallelReads), Bounds: "objects of one resource that are read at once",
			Exceeded: "they wait for each other",
			Reason:   "one resource must not take all calls that the vault allows"},
		{Name: "UntriedTime", Value: Duration(UntriedTime), Bounds: "wait after a failure that may mend itself",
			Exceeded: "the resource is tried again",
			Reason:   "a vault that asks for a day must not keep a resource untried for a day"},
		{Name: "QuietTime", Value: Duration(QuietTime),
			Bounds: "time for which reads of a resource are put off without a word; less if its last success is " +
				"two and a half intervals ago",
			Exceeded: "`Ready` is False with reason `Throttled`, and `Stale` is True",
			Reason:   "a short pause of a vault concerns nobody, and a long one does"},
		{Name: "ClaimWindow", Value: Duration(ClaimWindow),
			Bounds: "how often two installations that sync the same resource write its status because " +
				"of each other", Exceeded: "the name in `status.syncedBy` stays for so long",
			Reason: "they would write in turns at each interval"},
		{Name: "SharedKeyNames", Value: Bytes(SharedKeyNames),
			Bounds:   "the names of a resource's data keys in an output that also holds data of others",
			Exceeded: "TargetConflict; choose another name in `spec.output`",
			Reason:   "they are kept in an annotation, and all annotations of an object may take 256 KiB"},
		{Name: "StatusKeyRetry", Value: Duration(StatusKeyRetry),
			Bounds:   "attempts to read or create the Secret with the key of status hashes while it is missing",
			Exceeded: "resources are synced, and their statuses have no hashes",
			Reason:   "every sync hashes, and thousands of them must not become as many requests"},
	}
}
