package limits

import (
	"slices"
	"time"
)

// SharedKeyNamesBytes limits the annotation with a resource's data keys on an output with several owners, in bytes.
const SharedKeyNamesBytes = 32 << 10

// StatusKeyRetry is the time between two attempts to read the key of status hashes while its Secret is missing.
const StatusKeyRetry = time.Minute

// Limits of conditions and events of resources.
const (
	// ConditionMessageBytes limits the message of a condition, in bytes.
	ConditionMessageBytes = 1024
	// EventNoteBytes limits the text of an event, in bytes.
	EventNoteBytes = 1000
	// SuccessEventBurst is the burst of events about successful syncs, and SuccessEventRate their rate per second.
	SuccessEventBurst = 100
	SuccessEventRate  = 1
	// FailureEventBurst is the burst of events about failures, and FailureEventRate their rate per second.
	FailureEventBurst = 1000
	FailureEventRate  = 10
)

// Limits of the work for one resource.
const (
	// ResourcesPerOutput limits the resources that write one Secret or ConfigMap.
	ResourcesPerOutput = 100
	// ParallelReads limits the concurrent reads of vault objects for one resource.
	ParallelReads = 8
	// SyncObjectsBytes limits the vault objects of one resource together.
	SyncObjectsBytes = 4 << 20
	// TransientRetryTime limits the wait after a transient failure, whatever wait the vault requests.
	TransientRetryTime = 6 * time.Minute
	// DeferralGrace is how long the reads of a resource can be deferred before its conditions report it.
	DeferralGrace = time.Minute
	// SyncedByInterval is the least time between two changes of status.syncedBy by installations that sync the same
	// resource.
	SyncedByInterval = 30 * time.Minute
	// FirstReadTime is the time over which the first reads of resources that only pods use are spread after the
	// controller starts.
	FirstReadTime = 5 * time.Minute
	// RefreshRequestInterval is the least time between two refreshes that the annotation of a resource requests.
	RefreshRequestInterval = time.Second
	// RefreshRequests limits these refreshes of all resources, per second.
	RefreshRequests = 100
	// RefreshRequestBytes limits the value of that annotation in the status, in bytes.
	RefreshRequestBytes = 64
)

// controllerArea lists the limits of what AzureKeyVaultSecrets can cause.
func controllerArea() Area {
	return Area{Title: "Controller",
		Limits: slices.Concat(reportLimits(), workLimits(), watchLimits(), restartLimits())}
}

// reportLimits returns the limits of conditions and events.
func reportLimits() []Limit {
	return []Limit{
		{Name: "ConditionMessageBytes", Value: Bytes(ConditionMessageBytes), Subject: "Message of a condition",
			Exceeded: "The message is truncated",
			Reason:   "Every watch of resources keeps statuses in memory"},
		{Name: "EventNoteBytes", Value: Bytes(EventNoteBytes), Subject: "Text of an event",
			Exceeded: "The text is truncated",
			Reason:   "The API server accepts 1 KiB"},
		{Name: "SuccessEventBurst", Value: Count(SuccessEventBurst), Subject: "Burst of events about successful syncs",
			Exceeded: "The rate below applies; statuses have the same information",
			Reason:   "With thousands of resources, events would be a third of the API server's work"},
		{Name: "SuccessEventRate", Value: Rate(SuccessEventRate), Subject: "Rate of events about successful syncs",
			Exceeded: "No event; statuses have the same information",
			Reason:   "As above"},
		{Name: "FailureEventBurst", Value: Count(FailureEventBurst), Subject: "Burst of events about failures",
			Exceeded: "The rate below applies; statuses have the same information",
			Reason:   "A vault that thousands of resources read can fail for all of them"},
		{Name: "FailureEventRate", Value: Rate(FailureEventRate), Subject: "Rate of events about failures",
			Exceeded: "No event; statuses have the same information",
			Reason:   "As above"},
	}
}

// workLimits returns the limits of the work for one resource.
func workLimits() []Limit {
	return []Limit{
		{Name: "ResourcesPerOutput", Value: Count(ResourcesPerOutput),
			Subject:  "Resources that write one Secret or ConfigMap",
			Exceeded: "`TargetConflict` for further ones; use `spec.data`, or another name in `spec.output`",
			Reason:   "After each write, every one of them reads the object again"},
		{Name: "ParallelReads", Value: Count(ParallelReads),
			Subject:  "Concurrent reads of vault objects for one resource",
			Exceeded: "Further reads wait",
			Reason:   "One resource must not use all calls that the vault allows"},
		{Name: "SyncObjectsBytes", Value: Bytes(SyncObjectsBytes), Subject: "Vault objects of one resource together",
			Exceeded: "`MalformedObject`; the outputs keep their data",
			Reason:   "They are in memory while they are decoded, and a Secret holds 1 MiB"},
		{Name: "TransientRetryTime", Value: Duration(TransientRetryTime), Subject: "Wait after a transient failure",
			Exceeded: "The controller retries",
			Reason:   "A vault that requests a wait of a day must not defer a resource for a day"},
		{Name: "DeferralGrace", Value: Duration(DeferralGrace),
			Subject: "Time for which deferred reads of a resource are not reported; less if its last success is two " +
				"and a half intervals ago",
			Exceeded: "`Ready` is False with reason `Throttled`, and `Stale` is True",
			Reason:   "A short pause of a vault has no effect on users"},
		{Name: "SyncedByInterval", Value: Duration(SyncedByInterval),
			Subject:  "Time between two changes of `status.syncedBy` by two installations that sync one resource",
			Exceeded: "The name in `status.syncedBy` stays",
			Reason:   "The installations would overwrite each other at each interval"},
		{Name: "SharedKeyNamesBytes", Value: Bytes(SharedKeyNamesBytes),
			Subject:  "Names of a resource's data keys in an output with data of several owners",
			Exceeded: "`TargetConflict`; use another name in `spec.output`",
			Reason:   "The names are in an annotation, and all annotations of an object have at most 256 KiB"},
		{Name: "StatusKeyRetry", Value: Duration(StatusKeyRetry),
			Subject:  "Interval between attempts to read or create the missing Secret with the key of status hashes",
			Exceeded: "Resources are synced, and their statuses have no hashes",
			Reason:   "Every sync needs the key, and thousands of syncs must not cause as many requests"},
	}
}

// watchLimits returns the limits of resources without outputs, and of refreshes on demand.
func watchLimits() []Limit {
	return []Limit{
		{Name: "FirstReadTime", Value: Duration(FirstReadTime),
			Subject: "Time over which the first reads of resources without outputs are spread after the controller " +
				"starts; new resources are read at once",
			Exceeded: "Not applicable; every resource is read within this time if its vault allows it",
			Reason:   "Thousands of them must not delay resources with outputs"},
		{Name: "RefreshRequestInterval", Value: Duration(RefreshRequestInterval),
			Subject:  "Time between two refreshes of a resource that `akv2k8s.io/refresh` requests",
			Exceeded: "The latest value counts when the time is over",
			Reason:   "Such a refresh reads the vault past every cache"},
		{Name: "RefreshRequests", Value: Rate(RefreshRequests),
			Subject:  "Such refreshes of all resources; of these, one namespace gets at most half",
			Exceeded: "The refresh comes a second or two later",
			Reason:   "They have priority over other refreshes, which one tenant must not delay"},
		{Name: "RefreshRequestBytes", Value: Bytes(RefreshRequestBytes),
			Subject:  "Value of `akv2k8s.io/refresh` in `status.refresh`",
			Exceeded: "`status.refresh` has the SHA-256 of the value: `sha256:` and 64 characters",
			Reason:   "An annotation can have 256 KiB"},
	}
}
