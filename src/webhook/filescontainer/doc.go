// Package filescontainer decides about the files of a pod, and adds the container that writes them: a sidecar that
// keeps them fresh, or an init container if they are written once.
//
// Floor 3, pure. What the annotations mean belongs in webhook/podfiles, and variables in webhook/inject.
package filescontainer
