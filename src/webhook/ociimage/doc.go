// Package ociimage reads the entrypoint and command of a container image from its registry, with the credentials that
// the pod's node would use.
//
// Floor 3. The author of a pod chooses the registry, so every answer of a registry is untrusted: the package checks the
// address of each connection, limits the size of each answer, and copies no text of an answer into a message. What the
// webhook does with the command belongs in webhook/inject.
package ociimage
