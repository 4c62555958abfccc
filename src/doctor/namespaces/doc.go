// Package namespaces has the checks of the namespaces with resources and injected pods: whether pods are injected
// there, what denies them, how the injector gets into them, and which resources are not in sync.
//
// Floor 4. Checks of one resource or pod belong in doctor/object.
package namespaces
