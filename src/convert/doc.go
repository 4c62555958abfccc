// Package convert turns manifests of other products, and of akv2k8s 1.x, into AzureKeyVaultSecrets and values of the
// chart. Each source format has a file, or a package, and an entry in newSources.
//
// What a manifest says and akv2k8s can't do becomes a comment at its place and a finding. So does every field that no
// converter reads: package manifest records what is read. A finding has the path of a field and names, but never the
// value of a field that can hold a secret.
//
// Floor 5: it calls no cluster and no vault, and reads no files.
package convert
