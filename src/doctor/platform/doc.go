// Package platform has the checks of Kubernetes itself: versions, nodes and clocks, and of what an installation needs
// before it exists.
//
// Floor 4. Checks of an installation belong in doctor/installation.
package platform
