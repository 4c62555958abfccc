// Package version holds the version of the program, which the build sets.
//
// Floor 0, standard library only.
package version
