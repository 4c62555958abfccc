// Package admission says whether the API server sends a pod to a webhook of akv2k8s, by the webhook configurations of
// the cluster and the labels of the pod and its namespace.
//
// Floor 4. What the webhook then does belongs in webhook/inject.
package admission
