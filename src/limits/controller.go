package limits

import "time"

// SharedKeyNames bounds the note of a resource's data keys on an output that also holds data of others, in bytes.
const SharedKeyNames = 32 << 10

// StatusKeyRetry is the time between two attempts to read the key of status hashes while its Secret is missing.
const StatusKeyRetry = time.Minute

// controllerArea lists the bounds of what AzureKeyVaultSecrets can cause.
func controllerArea() Area {
	return Area{Title: "Controller", Limits: []Limit{
		{Name: "SharedKeyNames", Value: Bytes(SharedKeyNames), Bounds: "the names of a resource's data keys in an output that also holds data of others",
			Exceeded: "TargetConflict; choose another name in `spec.output`",
			Reason:   "they are kept in an annotation, and all annotations of an object may take 256 KiB"},
		{Name: "StatusKeyRetry", Value: Duration(StatusKeyRetry), Bounds: "attempts to read or create the Secret with the key of status hashes while it is missing",
			Exceeded: "resources are synced, and their statuses have no hashes",
			Reason:   "every sync hashes, and thousands of them must not become as many requests"},
	}}
}
