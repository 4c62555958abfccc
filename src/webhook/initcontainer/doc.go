// Package initcontainer decides about the resources, the user and the security context of the init container that the
// webhook adds to a pod.
//
// Floor 1, pure. What the init container does belongs in inject and injector.
package initcontainer
