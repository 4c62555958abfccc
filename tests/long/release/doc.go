// Package release makes a release without pushing or signing it, and looks at what came of it.
//
// It takes minutes, so it is built with the tag cluster, though it needs none: make long SUITE=release.
package release
