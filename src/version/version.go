package version

// version is set at link time (-X), so it can't be a constant.
var version = "0.0.0-dev"

// String is the version of the program, which is also the tag of its image.
func String() string { return version }
