// Package recipe defines Recipe, the validated spec of an AzureKeyVaultSecret: the vault objects to read and the
// outputs to create from them. It is independent of API versions and of Kubernetes. The controller, the broker and the
// injector all work from a Recipe.
//
// Floor 1, standard library only. Parsing a resource belongs in recipe/fromapi, decoding objects in recipe/decode.
package recipe
