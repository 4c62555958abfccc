package limits

import "time"

// Limits of the commands of kubectl akv2k8s that talk to a cluster.
const (
	ClusterQPS            = 50
	ClusterBurst          = 100
	ClusterRequestTimeout = 30 * time.Second
	// ClusterListPage is the number of objects of one LIST request, ClusterListItems that of all pages of a list.
	ClusterListPage  = 500
	ClusterListItems = 50_000
	// CompletionTimeout limits a completion of the shell, and CompletionNames the names that it reads.
	CompletionTimeout = 2 * time.Second
	CompletionNames   = 500
	// RefreshWait is the default of the time that refresh waits, RefreshPoll the time between two reads of the status.
	RefreshWait = time.Minute
	RefreshPoll = 500 * time.Millisecond
)

// clusterArea lists the limits of the commands that talk to a cluster.
func clusterArea() Area {
	return Area{Title: "kubectl akv2k8s in a cluster", Limits: []Limit{
		{Name: "ClusterQPS", Value: Rate(ClusterQPS), Subject: "Requests of one command to the API server",
			Exceeded: "Requests wait", Reason: "As kubectl"},
		{Name: "ClusterBurst", Value: Count(ClusterBurst), Subject: "Requests of one command at once",
			Exceeded: "Requests wait", Reason: "Most commands send fewer than 20 requests"},
		{Name: "ClusterRequestTimeout", Value: Duration(ClusterRequestTimeout), Subject: "One request",
			Exceeded: "The command fails and names the API server", Reason: "A user waits for it",
			Setting: "--request-timeout"},
		{Name: "ClusterListPage", Value: Count(ClusterListPage), Subject: "Objects of one LIST request",
			Exceeded: "The rest follows in further requests", Reason: "As kubectl"},
		{Name: "ClusterListItems", Value: Count(ClusterListItems), Subject: "Objects of a list",
			Exceeded: "The command says that the rest is missing", Reason: "More than the installation syncs"},
		{Name: "CompletionTimeout", Value: Duration(CompletionTimeout), Subject: "Completion of a name in the shell",
			Exceeded: "No names are offered", Reason: "The shell waits for it"},
		{Name: "CompletionNames", Value: Count(CompletionNames), Subject: "Names that a completion reads",
			Exceeded: "Further names are not offered", Reason: "One request, and more than fit on a screen"},
		{Name: "RefreshWait", Value: Duration(RefreshWait), Subject: "Time that refresh waits for the controller",
			Exceeded: "The command fails with the condition of the resource",
			Reason:   "A read takes seconds, and retries about half a minute", Setting: "--timeout"},
		{Name: "RefreshPoll", Value: Duration(RefreshPoll), Subject: "Time between two reads of a status by refresh",
			Exceeded: "It is not shorter", Reason: "A user waits for it"},
	}}
}
