package limits

import "time"

// Limits of spec.rolloutRestart, and of restarts.
const (
	// RestartWorkloads limits the workloads that spec.rolloutRestart names.
	RestartWorkloads = 20
	// RestartLabels limits the labels and expressions of its selector, RestartLabelValues the values of an expression.
	RestartLabels      = 32
	RestartLabelValues = 32
	// RestartSources limits the ConfigMaps and Secrets that are searched for references after one change.
	RestartSources = 200
	// RestartsAtOnce is the default of the restarted workloads whose pods are being replaced.
	RestartsAtOnce = 10
	// RestartPasses limits how often workloads are listed for restarts, per second.
	RestartPasses = 20
	// UnfinishedRolloutTime is how long a restart waits for the last rollout of its workload, and holds its place.
	UnfinishedRolloutTime = 15 * time.Minute
	// WorkloadStatuses limits the workloads in a status.
	WorkloadStatuses = 50
)

// restartLimits returns the limits of restarts.
func restartLimits() []Limit {
	const shared = "; of these, one namespace gets at most half"
	return []Limit{
		{Name: "RestartWorkloads", Value: Count(RestartWorkloads),
			Subject:  "Workloads in `spec.rolloutRestart.workloads`",
			Exceeded: "`InvalidSpec`; use a selector", Reason: "The schema of the resource"},
		{Name: "RestartLabels", Value: Count(RestartLabels),
			Subject:  "Labels and expressions in `spec.rolloutRestart.selector`",
			Exceeded: "`InvalidSpec`", Reason: "The schema of the resource"},
		{Name: "RestartLabelValues", Value: Count(RestartLabelValues), Subject: "Values of one of these expressions",
			Exceeded: "`InvalidSpec`", Reason: "The schema of the resource"},
		{Name: "RestartSources", Value: Count(RestartSources),
			Subject:  "ConfigMaps and Secrets that are searched for references after a change",
			Exceeded: "Workloads with further ones are not found; an event says so. List them, or use a selector",
			Reason:   "Each is a request to the API server"},
		{Name: "RestartsAtOnce", Value: Count(RestartsAtOnce),
			Subject:  "Restarted workloads whose pods are being replaced" + shared,
			Exceeded: "Further restarts wait; `status.workloads` says so",
			Reason:   "Restarts cost the cluster room, and can fail together",
			Setting:  "controller.rolloutRestart.maxConcurrent"},
		{Name: "RestartPasses", Value: Rate(RestartPasses),
			Subject:  "Searches for the workloads of a change" + shared,
			Exceeded: "Further ones wait", Reason: "Each lists the workloads of a namespace"},
		{Name: "UnfinishedRolloutTime", Value: Duration(UnfinishedRolloutTime),
			Subject:  "Time for which a restart waits for the last rollout of its workload to finish",
			Exceeded: "The workload is restarted, unless it is paused",
			Reason:   "A rollout can hang because its pods have an old value, which only a restart replaces"},
		{Name: "WorkloadStatuses", Value: Count(WorkloadStatuses), Subject: "Workloads in `status.workloads`",
			Exceeded: "`status.moreWorkloads` has the number of the others",
			Reason:   "Every watch of resources keeps statuses in memory"},
	}
}
