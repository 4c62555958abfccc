// Package object has the checks of one AzureKeyVaultSecret or one pod: what Kubernetes and akv2k8s say about it, with
// the cause and the next step.
//
// Floor 4. Checks of all of them belong in doctor/namespaces.
package object
