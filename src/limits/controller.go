package limits

// SharedKeyNames bounds the note of a resource's data keys on an output that also holds data of others, in bytes.
const SharedKeyNames = 32 << 10

// controllerArea lists the bounds of what AzureKeyVaultSecrets can cause.
func controllerArea() Area {
	return Area{Title: "Controller", Limits: []Limit{
		{Name: "SharedKeyNames", Value: Bytes(SharedKeyNames), Bounds: "the names of a resource's data keys in an output that also holds data of others",
			Exceeded: "TargetConflict; choose another name in `spec.output`",
			Reason:   "they are kept in an annotation, and all annotations of an object may take 256 KiB"},
	}}
}
