// Package akvsclient reads one AzureKeyVaultSecret with the pod's own token, for pods that don't use the auth service.
//
// Floor 3, standard library only: it is linked into every pod.
package akvsclient
