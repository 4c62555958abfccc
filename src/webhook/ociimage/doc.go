// Package ociimage finds out what a container image runs: its entrypoint and command, from its registry, with the
// credentials that the pod's node would use.
//
// Floor 3. Whoever creates a pod chooses the registry, so everything that a registry says is a stranger's word: where
// connections go is guarded, answers are bounded, and none of their text reaches a message. What a pod does with the
// command belongs in webhook/inject.
package ociimage
