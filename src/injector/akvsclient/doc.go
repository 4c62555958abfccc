// Package akvsclient reads AzureKeyVaultSecrets from the API server with the pod's own token, for pods that don't use
// the auth service.
//
// Floor 3, standard library only: it runs in injected pods, so k8s.io does not belong here.
package akvsclient
