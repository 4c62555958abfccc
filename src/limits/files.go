package limits

import "time"

// Limits of the files of a pod: of the answer of the auth service, and of the files container that writes them.
const (
	// FilesBytes limits the content of all files of a pod together, FilesInAnswer their number, and FilesAnswerBytes
	// the answer that has them.
	FilesBytes       = 4 << 20
	FilesInAnswer    = 2000
	FilesAnswerBytes = 8 << 20
	// FilesETagBytes limits the ETag of an answer.
	FilesETagBytes = 256
	// FilesRefreshMin and FilesRefreshMax limit the time between two requests. FilesRefreshDefault is that time if
	// neither the pod nor a resource has one, and the maximum age of the values that such a request gets.
	FilesRefreshMin     = time.Minute
	FilesRefreshDefault = 5 * time.Minute
	FilesRefreshMax     = 24 * time.Hour
	// FilesRequestTime limits one request of a running files container, with and without the auth service.
	FilesRequestTime = 2 * time.Minute
	// FilesRetryWait limits the wait after a request that failed.
	FilesRetryWait = 10 * time.Minute
	// FilesWarningInterval is the minimum time between two warnings about the files.
	FilesWarningInterval = time.Minute
	// OnChangeTries and OnChangeTime limit the calls of a pod's on-change URL after one change, and OnChangeAnswerBytes
	// the header of its answer, and the part of the body that is read.
	OnChangeTries       = 5
	OnChangeTime        = 5 * time.Second
	OnChangeAnswerBytes = 4 << 10
)

// filesArea lists the limits of files.
func filesArea() Area {
	const keepsFiles = "The answer is discarded, the old files stay, and the files container retries"
	sizes := []Limit{
		{Name: "FilesBytes", Value: Bytes(FilesBytes), Subject: "Content of all files of a pod", Exceeded: keepsFiles,
			Reason: "The files are in the memory of the node, for a moment twice"},
		{Name: "FilesInAnswer", Value: Count(FilesInAnswer),
			Subject: "Files of a pod, those of folders included", Exceeded: keepsFiles,
			Reason: "A folder usually has three"},
		{Name: "FilesAnswerBytes", Value: Bytes(FilesAnswerBytes), Subject: "Answer with the files of a pod",
			Exceeded: keepsFiles, Reason: "The largest files in base64, with their paths"},
		{Name: "FilesETagBytes", Value: Bytes(FilesETagBytes), Subject: "ETag of such an answer",
			Exceeded: "The ETag is ignored, and the next answer has all files again", Reason: "A hash has 64 bytes"},
	}
	return Area{Title: "Files of pods", Limits: append(append(sizes, filesTimes()...), onChangeLimits()...)}
}

// filesTimes returns the limits of the requests of the files container.
func filesTimes() []Limit {
	const isUsed = "This time is used"
	return []Limit{
		{Name: "FilesRefreshMin", Value: Duration(FilesRefreshMin),
			Subject: "Shortest time between two requests for the files of a pod", Exceeded: isUsed,
			Reason: "10,000 pods send at most 170 requests per second", Setting: "akv2k8s.io/refresh-interval"},
		{Name: "FilesRefreshDefault", Value: Duration(FilesRefreshDefault),
			Subject: "That time, if neither the pod nor a resource has one; maximum age of the values that such a " +
				"request gets", Exceeded: "The vault is read",
			Reason: "Pods share the reads of the vault during this time", Setting: "akv2k8s.io/refresh-interval"},
		{Name: "FilesRefreshMax", Value: Duration(FilesRefreshMax), Subject: "Longest time between two such requests",
			Exceeded: isUsed, Reason: "A wrong answer must not end the refreshes of a pod"},
		{Name: "FilesRequestTime", Value: Duration(FilesRequestTime), Subject: "One such request of a running pod",
			Exceeded: "The old files stay, and the files container retries",
			Reason:   "Without the auth service, the pod reads each vault object itself"},
		{Name: "FilesRetryWait", Value: Duration(FilesRetryWait),
			Subject:  "Wait after a request that failed; at most the time between two requests",
			Exceeded: "The files container retries after this time",
			Reason:   "Files are fresh again soon after an outage, and a tenth of the requests of 10,000 pods come at once"},
		{Name: "FilesWarningInterval", Value: Duration(FilesWarningInterval),
			Subject:  "Time between two warnings of a files container about failed requests",
			Exceeded: "Lines are omitted, and the next line has their number", Reason: "The log stays readable"},
	}
}

// onChangeLimits returns the limits of calls of the program of the pod.
func onChangeLimits() []Limit {
	return []Limit{
		{Name: "OnChangeTries", Value: Count(OnChangeTries), Subject: "Calls of the on-change URL for one change",
			Exceeded: "The log of the files container has a warning",
			Reason:   "With the waits between them, a program has 15 seconds to answer with 2xx"},
		{Name: "OnChangeTime", Value: Duration(OnChangeTime), Subject: "One call of that URL",
			Exceeded: "The files container retries", Reason: "The program is in the same pod"},
		{Name: "OnChangeAnswerBytes", Value: Bytes(OnChangeAnswerBytes),
			Subject:  "Header of its answer, and separately the part of the body that is read",
			Exceeded: "The rest is not read", Reason: "Only the status is used"},
	}
}
