// Package azurejob runs the checks of doctor/azure in the cluster: a Job with the image, the ServiceAccount, the
// environment and the network of the controller, which is deleted afterwards.
//
// Floor 4. It calls with the rights of the user who runs kubectl akv2k8s doctor --azure.
package azurejob
