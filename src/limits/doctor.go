package limits

import "time"

// Limits of kubectl akv2k8s doctor.
const (
	// DoctorTime is the default of --timeout. One check gets four fifths of that.
	DoctorTime = 10 * time.Second
	// DoctorParallel is the number of checks at the same time.
	DoctorParallel = 8
	// DoctorListPage and DoctorListItems limit the lists of a check.
	DoctorListPage  = 500
	DoctorListItems = 5_000
	// DoctorNamespaces limits the namespaces in which a check creates a pod as a dry run.
	DoctorNamespaces = 50
	// DoctorWebhookWait is how long the check of injection calls a webhook again that can't be reached.
	DoctorWebhookWait = 3 * time.Second
	// DoctorFindings limits the findings of one check.
	DoctorFindings = 20
	// DoctorMessageBytes limits a message of another program in a finding.
	DoctorMessageBytes = 600
	// DoctorRepeat is the pause between two runs with --wait, and DoctorAzurePoll between two looks at the Job.
	DoctorRepeat    = 3 * time.Second
	DoctorAzurePoll = time.Second
	// DoctorAzureTime limits the Job of --azure, and DoctorAzureReads the vault objects that it reads.
	DoctorAzureTime  = 2 * time.Minute
	DoctorAzureReads = 200
	// DoctorAzureToken limits the sign-in of this Job, with all repetitions.
	DoctorAzureToken = 5 * time.Second
	// DoctorAzureKept is how long the Job stays if the command can't delete it.
	DoctorAzureKept = 5 * time.Minute
	// DoctorAzureAnswerBytes limits the findings that the Job prints.
	DoctorAzureAnswerBytes = 1 << 20
)

// doctorArea lists the limits of kubectl akv2k8s doctor.
func doctorArea() Area {
	const more = "The rest is not checked; a finding says so"
	return Area{Title: "kubectl akv2k8s doctor", Limits: []Limit{
		{Name: "DoctorTime", Value: Duration(DoctorTime), Subject: "All checks together; one check gets four fifths",
			Exceeded: "Checks that have not ended are warnings", Reason: "A user waits for it", Setting: "--timeout"},
		{Name: "DoctorParallel", Value: Count(DoctorParallel), Subject: "Checks at the same time",
			Exceeded: "Further ones wait", Reason: "The API server's fair share of one user"},
		{Name: "DoctorListPage", Value: Count(DoctorListPage), Subject: "Objects in one page of a list",
			Exceeded: "The next page is requested", Reason: "As kubectl does"},
		{Name: "DoctorListItems", Value: Count(DoctorListItems), Subject: "Objects of one kind", Exceeded: more,
			Reason: "The nodes of the largest clusters"},
		{Name: "DoctorNamespaces", Value: Count(DoctorNamespaces),
			Subject:  "Namespaces in which a pod is created as a dry run",
			Exceeded: more, Reason: "Each is two requests, with all admission webhooks of the cluster"},
		{Name: "DoctorWebhookWait", Value: Duration(DoctorWebhookWait),
			Subject: "Repeated calls of a webhook that can't be reached", Exceeded: "The last error is a finding",
			Reason: "The service proxies get the endpoints of new pods within seconds"},
		{Name: "DoctorFindings", Value: Count(DoctorFindings), Subject: "Findings of one check",
			Exceeded: "The last finding has the number of the others", Reason: "A screen"},
		{Name: "DoctorMessageBytes", Value: Bytes(DoctorMessageBytes),
			Subject: "Message of another program in a finding", Exceeded: "It is truncated",
			Reason: "Webhooks can answer with any text"},
		{Name: "DoctorRepeat", Value: Duration(DoctorRepeat), Subject: "Pause between two runs with `--wait`",
			Exceeded: "The next run begins", Reason: "Pods become ready in seconds"},
		{Name: "DoctorAzurePoll", Value: Duration(DoctorAzurePoll),
			Subject:  "Pause between two requests of the Job's pod",
			Exceeded: "The next request is sent", Reason: "A user waits for it"},
		{Name: "DoctorAzureTime", Value: Duration(DoctorAzureTime), Subject: "The Job of `--azure`",
			Exceeded: "It ends, and the command fails", Reason: "An image may have to be pulled"},
		{Name: "DoctorAzureReads", Value: Count(DoctorAzureReads), Subject: "Vault objects that this Job reads",
			Exceeded: more, Reason: "A tenth of Azure's limit for ten seconds"},
		{Name: "DoctorAzureToken", Value: Duration(DoctorAzureToken), Subject: "Sign-in of this Job, with repetitions",
			Exceeded: "The last answer is a finding", Reason: "A user waits for it"},
		{Name: "DoctorAzureKept", Value: Duration(DoctorAzureKept),
			Subject:  "Time for which this Job is kept if the command can't delete it",
			Exceeded: "Kubernetes deletes it",
			Reason:   "A terminal can be closed"},
		{Name: "DoctorAzureAnswerBytes", Value: Bytes(DoctorAzureAnswerBytes), Subject: "Findings of this Job",
			Exceeded: "The command fails", Reason: "Several times the findings of all reads"},
	}}
}
