package limits

import (
	"slices"
	"time"
)

// SharedKeyNames limits the annotation with a resource's data keys on an output with several owners, in bytes.
const SharedKeyNames = 32 << 10

// StatusKeyRetry is the time between two attempts to read the key of status hashes while its Secret is missing.
const StatusKeyRetry = time.Minute

// Limits of conditions and events of resources.
const (
	// ConditionMessage limits the message of a condition, in bytes.
	ConditionMessage = 1024
	// EventNote limits the text of an event, in bytes.
	EventNote = 1000
	// SuccessEvents is the burst of events about successful syncs, and SuccessEventRate their rate per second.
	SuccessEvents    = 100
	SuccessEventRate = 1
	// FailureEvents is the burst of events about failures, and FailureEventRate their rate per second.
	FailureEvents    = 1000
	FailureEventRate = 10
)

// Limits of the work for one resource.
const (
	// ResourcesPerOutput limits the resources that write one Secret or ConfigMap.
	ResourcesPerOutput = 100
	// ParallelReads limits the concurrent reads of vault objects for one resource.
	ParallelReads = 8
	// UntriedTime limits the wait after a transient failure, whatever wait the vault requests.
	UntriedTime = 6 * time.Minute
	// QuietTime is how long the reads of a resource can be deferred before its conditions report it.
	QuietTime = time.Minute
	// ClaimWindow is the least time between two changes of status.syncedBy by installations that sync the same
	// resource.
	ClaimWindow = 30 * time.Minute
)

// controllerArea lists the limits of what AzureKeyVaultSecrets can cause.
func controllerArea() Area {
	return Area{Title: "Controller", Limits: slices.Concat(toldLimits(), workLimits())}
}

// toldLimits returns the limits of conditions and events.
func toldLimits() []Limit {
	return []Limit{
		{Name: "ConditionMessage", Value: Bytes(ConditionMessage), Bounds: "Message of a condition",
			Exceeded: "The message is truncated",
			Reason:   "Every watch of resources keeps statuses in memory"},
		{Name: "EventNote", Value: Bytes(EventNote), Bounds: "Text of an event", Exceeded: "The text is truncated",
			Reason: "The API server accepts 1 KiB"},
		{Name: "SuccessEvents", Value: Count(SuccessEvents), Bounds: "Burst of events about successful syncs",
			Exceeded: "The rate below applies; statuses have the same information",
			Reason:   "With thousands of resources, events would be a third of the API server's work"},
		{Name: "SuccessEventRate", Value: Rate(SuccessEventRate), Bounds: "Rate of events about successful syncs",
			Exceeded: "No event; statuses have the same information",
			Reason:   "As above"},
		{Name: "FailureEvents", Value: Count(FailureEvents), Bounds: "Burst of events about failures",
			Exceeded: "The rate below applies; statuses have the same information",
			Reason:   "A vault that thousands of resources read can fail for all of them"},
		{Name: "FailureEventRate", Value: Rate(FailureEventRate), Bounds: "Rate of events about failures",
			Exceeded: "No event; statuses have the same information",
			Reason:   "As above"},
	}
}

// workLimits returns the limits of the work for one resource.
func workLimits() []Limit {
	return []Limit{
		{Name: "ResourcesPerOutput", Value: Count(ResourcesPerOutput),
			Bounds:   "Resources that write one Secret or ConfigMap",
			Exceeded: "`TargetConflict` for further ones; use `spec.data`, or another name in `spec.output`",
			Reason:   "After each write, every one of them reads the object again"},
		{Name: "ParallelReads", Value: Count(ParallelReads),
			Bounds:   "Concurrent reads of vault objects for one resource",
			Exceeded: "Further reads wait",
			Reason:   "One resource must not use all calls that the vault allows"},
		{Name: "UntriedTime", Value: Duration(UntriedTime), Bounds: "Wait after a transient failure",
			Exceeded: "The controller retries",
			Reason:   "A vault that requests a wait of a day must not defer a resource for a day"},
		{Name: "QuietTime", Value: Duration(QuietTime),
			Bounds: "Time for which deferred reads of a resource are not reported; less if its last success is two " +
				"and a half intervals ago",
			Exceeded: "`Ready` is False with reason `Throttled`, and `Stale` is True",
			Reason:   "A short pause of a vault has no effect on users"},
		{Name: "ClaimWindow", Value: Duration(ClaimWindow),
			Bounds:   "Time between two changes of `status.syncedBy` by two installations that sync one resource",
			Exceeded: "The name in `status.syncedBy` stays",
			Reason:   "The installations would overwrite each other at each interval"},
		{Name: "SharedKeyNames", Value: Bytes(SharedKeyNames),
			Bounds:   "Names of a resource's data keys in an output with data of several owners",
			Exceeded: "`TargetConflict`; use another name in `spec.output`",
			Reason:   "The names are in an annotation, and all annotations of an object have at most 256 KiB"},
		{Name: "StatusKeyRetry", Value: Duration(StatusKeyRetry),
			Bounds:   "Interval between attempts to read or create the missing Secret with the key of status hashes",
			Exceeded: "Resources are synced, and their statuses have no hashes",
			Reason:   "Every sync needs the key, and thousands of syncs must not cause as many requests"},
	}
}
