package version

// version is set at link time (-X), so it cannot be a constant.
var version = "0.0.0-dev"

// String is the version of the program, as in the tag of its image.
func String() string { return version }
